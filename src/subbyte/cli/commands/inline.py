"""``subbyte inline``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from subbyte.cli import options
from subbyte.cli.console import ERRORS, OUT, byte_size, check_outputs, write_json
from subbyte.extras import compress_extra


def command(
    source: Annotated[Path, typer.Argument(metavar="IN.onnx", help="A compressed network.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="OUT.onnx", help="Where to write the result."),
    ],
    json: options.JsonFile = None,
) -> None:
    """Write a compressed network with standard operators only.

    For runtimes that know no model-local functions, such as OpenVINO. The packed weights
    stay the same; the file grows by the operators that unpack them.

    Example:

    ```
    subbyte inline small.onnx -o small-inline.onnx
    ```
    """
    check_outputs(output, json, networks=[source])
    with compress_extra("subbyte inline"):
        from subbyte.compression.proof.inline import inline_file

        done = inline_file(source, output)
    result = {
        "input": str(source),
        "output": str(output),
        "input_bytes": source.stat().st_size,
        "file_bytes": output.stat().st_size,
        "error": done.error,
        "shapes": done.shapes,
    }
    write_json(json, result)
    OUT.print(
        f"{output}: {byte_size(output.stat().st_size)}, standard operators only", soft_wrap=True
    )
    if done.shapes is None:
        ERRORS.print(
            "note: opened, but not run: no size of its free dimensions that was tried suits it",
            soft_wrap=True,
        )
    elif done.error is not None:
        OUT.print(
            f"computes the same as {source} in ONNX Runtime, on made-up inputs: squared error "
            f"{done.error:.2g} of the variance",
            soft_wrap=True,
            markup=False,
        )
