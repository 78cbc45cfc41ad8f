"""``subbyte plan``."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from subbyte.cli import coding, options
from subbyte.cli.console import OUT, Column, check_outputs, print_table, stage_progress, write_json
from subbyte.cli.groups import grouped
from subbyte.extras import compress_extra

if TYPE_CHECKING:
    from subbyte.compression.planning.network_plan import PlanRow


@grouped
def command(
    *,
    source: Annotated[
        Path, typer.Argument(metavar="IN.onnx", help="The trained network, in float.")
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="PLAN.toml", help="Where to write the plan."),
    ],
    calibration: coding.CalibrationOptions,
    methods: coding.MethodOptions,
    budget: coding.BudgetOptions,
    run: coding.RunOptions,
    json: options.JsonFile = None,
) -> None:
    """Choose how each layer is coded, within a budget; nothing is coded yet.

    The plan is a text file to read and to edit; `subbyte compress --plan` obeys it. **harm**
    is the predicted error of a layer's output over its variance.

    Example:

    ```
    subbyte plan net.onnx --calib cifar10.npz:x_train --input-scale 255 --layout nhwc \
      --bits 2 -o plan.toml
    ```
    """
    check_outputs(
        *(output, json), networks=[source], files=[budget.timings], arrays=calibration.arrays
    )
    with compress_extra("subbyte plan"):
        from subbyte.compression import CompressOptions
        from subbyte.compression.config import DEFAULT_BITS
        from subbyte.compression.pipeline import plan_network

    wishes = CompressOptions(
        method=methods.read(),
        **vars(budget),
        **vars(run),
    )
    if wishes.budget is None:
        # A plan is made for a budget, also where one method is named.
        wishes = replace(wishes, bits=DEFAULT_BITS)
    data = calibration.read(source, run.seed)
    started = time.monotonic()
    with stage_progress() as progress:
        planned = plan_network(source, data, wishes, progress)
    seconds = time.monotonic() - started
    planned.save(output)
    _print(planned.rows)
    for line in planned.summary:
        OUT.print(line, soft_wrap=True, markup=False)
    write_json(json, {"input": str(source), "seconds": seconds, **planned.to_dict()})


def _print(rows: list[PlanRow]) -> None:
    timed = any(row.milliseconds is not None for row in rows)
    columns: dict[str, Column] = {"layer": "text", "coded as": "word"}
    columns |= dict.fromkeys(("bits", "bytes", *(["ms"] * timed), "harm", "share"), "number")
    print_table(
        None,
        columns,
        [
            [
                *(row.layer.name, row.format, f"{row.bits:.2f}", str(row.bytes)),
                *([f"{row.milliseconds or 0:.3f}"] if timed else []),
                *(f"{row.harm:.4f}", f"{100 * row.share:.0f} %"),
            ]
            for row in rows
        ],
    )
