"""A plan as a file: TOML that a person can read and edit."""

from __future__ import annotations

import codecs
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from subbyte.compression.encoding.layer import LayerOptions
from subbyte.errors import OptionError
from subbyte.files import read_regular
from subbyte.graph.network import Network, Unpacked, Weighted
from subbyte.graph.weight_layout import has_binary_form
from subbyte.methods import Binarization
from subbyte.methods.binary.form import BinaryOptions
from subbyte.methods.composite.form import CompositeOptions
from subbyte.methods.product.form import ProductOptions
from subbyte.methods.scalar.form import ScalarOptions
from subbyte.methods.ternary.form import TernaryOptions, check_rank

Plan = dict[str, LayerOptions]
"""The options of each layer, by the name of its weight initializer."""

EIGHT_BITS = ScalarOptions(8)

_KEYS: Mapping[str, Mapping[str, type]] = {
    "product": {"group": int, "words": int, "gain": int, "shared": bool, "procedure": str},
    "scalar": {"bits": int, "exact": bool},
    "ternary": {"rank": int},
    "composite": {"planes": int, "procedure": str, "bits": float, "bottleneck": float},
    "binary": {"order": int, "scales": str, "procedure": str},
}
_MAKE: Mapping[str, Callable[..., LayerOptions]] = {
    "product": ProductOptions,
    "scalar": ScalarOptions,
    "ternary": TernaryOptions,
    "composite": CompositeOptions,
    "binary": BinaryOptions,
}


def planned_layers(network: Network) -> list[Weighted]:
    """What every coded weight is planned for, in the order in which they run: the first layer
    that reads it, or the first of the nodes that read it unpacked where none does."""
    found: dict[str, Weighted] = {}
    entries: list[Weighted] = [*network.layers, *network.unpacked]
    for entry in entries:
        found.setdefault(entry.weight, entry)
    chosen = {entry.name for entry in found.values()}
    return [entry for entry in network.weighted if entry.name in chosen]


def read_plan(path: Path, layers: Sequence[Weighted]) -> Plan:
    """Read a plan: ``[layers."NAME"]`` tables with ``method`` and its options.

    NAME is the layer's node name. Layers the file does not name are kept at 8 bits, those
    that were trained binary at what they were trained for.
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
        groups = by_name[name].shape.groups
        if isinstance(found, ProductOptions) and found.shared and groups > 1:
            raise OptionError(
                "plan: a shared codebook is for layers without convolution groups",
                where=f"{where}: {name}",
                expected="shared = false",
                got=f"shared = true with {groups} groups",
            )
        _check_binary(by_name[name], found, f"{where}: {name}")
        plan[by_name[name].weight] = found
    return plan


def trained_options(binarization: Binarization) -> BinaryOptions:
    """Of a layer trained binary: the paper's encoding, with what it was trained for."""
    return BinaryOptions(binarization.order, binarization.scales, "paper")


def _check_binary(layer: Weighted, options: LayerOptions, where: str) -> None:
    """Raise `OptionError` where the layer has no such binary form, or was trained for another."""
    if layer.binarization is not None and options != trained_options(layer.binarization):
        trained = layer.binarization
        raise OptionError(
            "plan: the layer was trained binary",
            where=where,
            expected=f"method binary, order {trained.order}, scales {trained.scales}, "
            "procedure paper",
            got=options,
        )
    if not isinstance(options, BinaryOptions):
        return
    if isinstance(layer, Unpacked) or not has_binary_form(layer):
        raise OptionError(
            "plan: the layer has no binary form",
            where=where,
            expected="a 2-D convolution with pads, or a linear layer with its weight on the right",
            got=layer.op,
        )
    if layer.op == "Linear" and options.scales != "column":
        raise OptionError(
            "plan: a row of a linear layer is one column",
            where=where,
            expected="scales column",
            got=options.scales,
        )


def _layer_options(table: Any, where: str, layer: Weighted) -> LayerOptions:
    if not isinstance(table, dict) or table.get("method") not in tuple(_KEYS):
        got = table.get("method") if isinstance(table, dict) else table
        raise OptionError("plan: unknown method", where=where, expected=" or ".join(_KEYS), got=got)
    keys = _KEYS[table["method"]]
    values = {key: value for key, value in table.items() if key != "method"}
    for key, value in values.items():
        if key not in keys:
            raise OptionError(f"plan: unknown option {key}", where=where, expected=", ".join(keys))
        if keys[key] is float and type(value) is int:
            continue
        if type(value) is not keys[key]:
            raise OptionError(
                f"plan: {key} has the wrong type",
                where=where,
                expected=keys[key].__name__,
                got=value,
            )
    if table["method"] == "ternary" and "rank" not in values:
        raise OptionError("plan: a ternary layer needs its rank", where=where)
    try:
        found = _MAKE[table["method"]](**values)
        if isinstance(found, TernaryOptions):
            check_rank(layer.shape, found)
        return found
    except OptionError as error:
        raise OptionError(
            f"plan: {error.what}", where=where, expected=error.expected, got=error.got
        ) from error


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
        if isinstance(options, ProductOptions):
            shared = "true" if options.shared else "false"
            lines += [
                'method = "product"',
                f"group = {options.group}",
                f"words = {options.words}",
                f"gain = {options.gain}",
                f"shared = {shared}",
                f'procedure = "{options.procedure}"',
            ]
        elif isinstance(options, TernaryOptions):
            lines += ['method = "ternary"', f"rank = {options.rank}"]
        elif isinstance(options, CompositeOptions):
            lines += [
                'method = "composite"',
                f"planes = {options.planes}",
                f'procedure = "{options.procedure}"',
                f"bits = {float(options.bits)!r}",
                f"bottleneck = {float(options.bottleneck)!r}",
            ]
        elif isinstance(options, BinaryOptions):
            lines += [
                'method = "binary"',
                f"order = {options.order}",
                f'scales = "{options.scales}"',
                f'procedure = "{options.procedure}"',
            ]
        else:
            lines += ['method = "scalar"', f"bits = {options.bits}"]
            lines += ["exact = true"] if options.exact else []
        lines.append("")
    return "\n".join(lines)


def _quoted(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_plain(escaped)}"'


def _plain(text: str) -> str:
    """TOML takes no control characters as they are, in strings and in comments."""
    return "".join(c if c >= " " and c != "\x7f" else f"\\u{ord(c):04x}" for c in text)
