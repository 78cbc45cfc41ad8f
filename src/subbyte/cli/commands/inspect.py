"""``subbyte inspect``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from subbyte.cli import options
from subbyte.cli.console import OUT, Column, byte_size, check_outputs, print_table, write_json
from subbyte.extras import compress_extra

_COLUMNS: dict[str, Column] = {
    "layer": "text",
    "op": "word",
    "method": "word",
    "shape": "number",
    "bits": "number",
    "bytes": "number",
    "activations": "text",
    "reason": "text",
}

_KINDS = ("multiplications", "additions")


def command(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The network to look into.")],
    json: options.JsonFile = None,
) -> None:
    """Show the bytes of every layer of a network, and of the rest of the file.

    **bits per weight** counts everything that is stored for a layer's weight: codes, codebooks,
    signs, gains, scales and padding. Over the whole file it also counts the constants of 1,024
    numbers and more that are not coded, which are named below. The parts add up to the size of the
    file.

    Example:

    ```
    subbyte inspect small.onnx
    ```
    """
    check_outputs(json, networks=[model])
    with compress_extra("subbyte inspect"):
        from subbyte.report import inspect

        result = inspect(model)
    write_json(json, result.to_dict())
    columns = dict(_COLUMNS)
    if not any(layer["reason"] for layer in result.layers):
        del columns["reason"]
    rows = [_row(layer)[: len(columns)] for layer in result.layers]
    print_table(str(model), columns, rows)
    OUT.print(
        f"{result.weight_count:,} weights at {result.bits_per_weight:.3f} bits; "
        f"file {byte_size(result.file_bytes)} = "
        + " + ".join(f"{name} {byte_size(size)}" for name, size in result.parts.items()),
        soft_wrap=True,
    )
    for constant in result.uncoded:
        OUT.print(
            f"not coded: {constant['name']}, {byte_size(constant['bytes'])} of "
            f"{constant['type'].lower()} ({constant['reason']})",
            soft_wrap=True,
            markup=False,
        )
    if result.operations is not None:
        _print_operations(result.operations)
    if result.planes is not None:
        _print_planes(result.planes)


def _print_operations(operations: Mapping[str, Any]) -> None:
    """Before and after, for one sample."""
    total = {"name": "all coded layers", "rank": "", **operations["total"]}
    rows = [
        [
            row["name"],
            str(row["rank"]),
            *(f"{row['dense_' + kind]:,} -> {row[kind]:,}" for kind in _KINDS),
        ]
        for row in [*operations["layers"], total]
    ]
    columns: dict[str, Column] = {"layer": "text", "rank": "number"}
    columns |= dict.fromkeys(_KINDS, "number")
    print_table("Operations for one sample, as a matrix -> as ternary factors", columns, rows)


def _print_planes(planes: Mapping[str, Any]) -> None:
    """Composite layers: bits a weight as stored, as CBDNet counts them, and by entropy."""
    total = {"name": "all composite layers", "planes": "", "factored": "", **planes["total"]}
    kinds = ("stored_bits", "paper_bits", "entropy_bits")
    rows = [
        [
            row["name"],
            str(row["planes"]),
            str(row["factored"]),
            *(f"{row[kind]:.2f}" for kind in kinds),
        ]
        for row in [*planes["layers"], total]
    ]
    columns: dict[str, Column] = {"layer": "text"}
    columns |= dict.fromkeys(("planes", "factored", "stored", "paper", "entropy"), "number")
    print_table("Bits a weight: as stored, as the paper counts, by entropy", columns, rows)


def _row(layer: Mapping[str, Any]) -> list[str]:
    return [
        layer["name"],
        layer["op"],
        layer["method"],
        "x".join(map(str, layer["shape"])),
        f"{layer['bits_per_weight']:.2f}",
        byte_size(layer["bytes"]),
        layer["activations"],
        layer["reason"],
    ]
