"""A plan as a file: TOML that a person can read and edit."""

from __future__ import annotations

import codecs
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from subbyte.errors import OptionError
from subbyte.files import read_regular
from subbyte.graph.network import Network, Weighted
from subbyte.graph.weight_layout import traits_of
from subbyte.methods import EIGHT_BITS, METHODS, MethodOptions, trained_options
from subbyte.methods.options import Value

Plan = dict[str, MethodOptions]
"""The options of each layer, by the name of its weight initializer."""


def planned_layers(network: Network) -> list[Weighted]:
    """The reader that every coded weight is planned for, in the order in which they run.

    It is the first layer that reads the weight, or the first of the nodes that read it unpacked
    where none does.
    """
    found: dict[str, Weighted] = {}
    entries: list[Weighted] = [*network.layers, *network.unpacked]
    for entry in entries:
        found.setdefault(entry.weight, entry)
    chosen = {entry.name for entry in found.values()}
    return [entry for entry in network.weighted if entry.name in chosen]


def read_plan(path: Path, layers: Sequence[Weighted]) -> Plan:
    """Read a plan: ``[layers."NAME"]`` tables with ``method`` and its options.

    NAME is the layer's node name. Layers the file does not name are kept at 8 bits; layers that
    were trained binary keep the options that they were trained for.
    """
    return parse_plan(read_text(path), layers, str(path))


def read_text(path: Path) -> str:
    """The plan file's text, or `OptionError`; editors write UTF-16 too, and marks of byte order."""
    try:
        data = read_regular(path)
        wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return data.decode("utf-16" if wide else "utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        reason = error.strerror or str(error)
        raise OptionError("cannot read the plan", where=str(path), got=reason) from error
    except UnicodeDecodeError as error:
        raise OptionError("plan is not a text file", where=str(path)) from error


def parse_plan(text: str, layers: Sequence[Weighted], where: str) -> Plan:
    """`read_plan` on text; ``where`` names its origin in errors."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise OptionError("plan is not TOML", where=where, got=error) from error
    tables = data.get("layers", {})
    if not isinstance(tables, dict) or set(data) - {"layers"}:
        raise OptionError('plan: expected only [layers."NAME"] tables', where=where)
    by_name = {layer.name: layer for layer in layers}
    plan: Plan = {
        layer.weight: trained_options(layer.binarization) if layer.binarization else EIGHT_BITS
        for layer in layers
    }
    for name, table in tables.items():
        if name not in by_name:
            raise OptionError("plan: no such layer in the network", where=f"{where}: {name}")
        found = _layer_options(table, f"{where}: {name}", by_name[name])
        plan[by_name[name].weight] = found
    return plan


def _layer_options(table: Any, where: str, layer: Weighted) -> MethodOptions:
    """The options that a layer's table has, checked against the layer."""
    name = table.get("method") if isinstance(table, dict) else table
    if not isinstance(name, str) or name not in METHODS:
        raise OptionError(
            "plan: unknown method", where=where, expected=" or ".join(METHODS), got=name
        )
    method, given = METHODS[name], {key: value for key, value in table.items() if key != "method"}
    try:
        found = method.options(**method.checked(given))
        method.check(traits_of(layer), found)
    except OptionError as error:
        raise OptionError(
            f"plan: {error.what}", where=where, expected=error.expected, got=error.got
        ) from error
    if layer.binarization is not None and found != trained_options(layer.binarization):
        trained = trained_options(layer.binarization)
        said = ", ".join(f"{key} {value}" for key, value in trained.values().items())
        raise OptionError(
            "plan: the layer was trained binary",
            where=where,
            expected=f"method {trained.method}, {said}",
            got=found,
        )
    return found


def write_plan(
    plan: Plan,
    layers: Sequence[Weighted],
    head: Sequence[str] = (),
    notes: Mapping[str, str] | None = None,
) -> str:
    """The plan as TOML text that `read_plan` reads and a person can edit.

    ``head``: comments above all layers, ``notes``: one beside a layer, by weight name.
    """
    lines = ["# How each layer is coded; edit and pass to: subbyte compress --plan"]
    lines += [*(f"# {_plain(line)}" for line in head), ""]
    for layer in layers:
        options = plan[layer.weight]
        note = (notes or {}).get(layer.weight)
        comment = "" if note is None else f"  # {_plain(note)}"
        lines.append(f"[layers.{_quoted(layer.name)}]{comment}")
        lines.append(f'method = "{options.method}"')
        lines += [f"{key} = {_toml(value)}" for key, value in options.values().items()]
        lines.append("")
    return "\n".join(lines)


def _toml(value: Value) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _quoted(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_plain(escaped)}"'


def _plain(text: str) -> str:
    """TOML takes no control characters as they are, in strings and in comments."""
    return "".join(c if c >= " " and c != "\x7f" else f"\\u{ord(c):04x}" for c in text)
