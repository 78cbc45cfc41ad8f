"""``subbyte bench``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from subbyte.cli import options
from subbyte.cli.console import OUT, Column, check_outputs, print_table, stage_progress, write_json
from subbyte.runtime import Engine

_FIGURES = ("median_ms", "min_ms", "iqr_ms", "ratio")


def command(
    models: Annotated[
        list[Path],
        typer.Argument(metavar="A.onnx", help="Networks; the first is the measure."),
    ],
    threads: Annotated[int, typer.Option(metavar="N", help="Threads of ONNX Runtime.")] = 1,
    runs: Annotated[int, typer.Option(metavar="N", help="Timed runs of each network.")] = 50,
    batch: Annotated[
        int, typer.Option(metavar="N", help="Batch size, where the network leaves it free.")
    ] = 1,
    shape: Annotated[
        list[options.InputShape] | None,
        typer.Option(
            metavar="NAME=1x3x224x224",
            parser=options.parse_shape,
            help="Full shape of an input that has free dimensions besides the batch "
            "(repeat for several inputs).",
        ),
    ] = None,
    engine: Annotated[
        Engine | None,
        typer.Option(
            help="native: subbyte's own kernels. portable: ONNX Runtime alone.",
            show_default="both for compressed networks",
        ),
    ] = None,
    json: options.JsonFile = None,
) -> None:
    """Compare the latency of networks in ONNX Runtime.

    The networks take turns, run by run, on the same random input, so that a busy machine
    disturbs all of them alike. **ratio** is the median over the rounds of a network's time
    divided by the first network's time in the same round: below 1 is faster.

    Example:

    ```
    subbyte bench net.onnx small.onnx --runs 200
    ```
    """
    from subbyte.report import bench

    check_outputs(json)
    with stage_progress() as progress:
        result = bench(
            models,
            threads=threads,
            runs=runs,
            batch=batch,
            shapes=dict(shape or []),
            engine=engine,
            progress=lambda done, total: progress("Rounds", done, total, ""),
        )
    write_json(json, result)
    rows = [
        [row["model"], row["engine"], *(f"{row[key]:.3f}" for key in _FIGURES)]
        for row in result["models"]
    ]
    columns: dict[str, Column] = {"network": "text", "engine": "word"}
    columns |= dict.fromkeys(("median ms", "min ms", "iqr ms", "ratio"), "number")
    print_table(None, columns, rows)
    system = result["system"]
    OUT.print(
        f"{runs} runs each, {threads} thread(s), {system['cpu']}, "
        f"onnxruntime {system['versions'].get('onnxruntime', '?')}, "
        f"native kernels: {result['native_isa'] or 'none'}"
    )
