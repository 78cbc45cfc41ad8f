"""``subbyte inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from subbyte.cli import options
from subbyte.cli.console import OUT, byte_size, check_outputs, print_table, write_json
from subbyte.extras import compress_extra


def command(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The network to look into.")],
    json: options.JsonFile = None,
) -> None:
    """Show what every layer of a network takes, and what the rest of the file is.

    **bits per weight** counts all that is stored for a layer's weight: codes, codebooks,
    signs, gains, scales and padding. The parts add up to the size of the file.

    Example:

    ```
    subbyte inspect small.onnx
    ```
    """
    check_outputs(json)
    with compress_extra("subbyte inspect"):
        from subbyte.report import inspect

        result = inspect(model)
    write_json(json, result)
    explained = any(layer["reason"] for layer in result["layers"])
    rows = [_row(layer)[: 8 if explained else 7] for layer in result["layers"]]
    right = dict.fromkeys(("shape", "bits", "bytes"), "right")
    headings = ("layer", "op", "method", "shape", "bits", "bytes", "activations", "reason")
    columns = {name: right.get(name, "left") for name in headings[: 8 if explained else 7]}
    print_table(str(model), columns, rows)
    OUT.print(
        f"{result['weight_count']:,} weights at {result['bits_per_weight']:.3f} bits; "
        f"file {byte_size(result['file_bytes'])} = "
        + " + ".join(f"{name} {byte_size(size)}" for name, size in result["parts"].items()),
        soft_wrap=True,
    )


def _row(layer: dict[str, Any]) -> list[str]:
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
