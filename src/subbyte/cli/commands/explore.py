"""``subbyte explore``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from subbyte.cli import coding, options
from subbyte.cli.console import ERRORS, OUT, Column, byte_size, print_table, stage_progress
from subbyte.cli.groups import grouped
from subbyte.cli.spelling import as_typed
from subbyte.extras import compress_extra

if TYPE_CHECKING:
    from subbyte.compression.exploration.points_file import Point


@grouped
def command(
    *,
    source: Annotated[
        Path, typer.Argument(metavar="IN.onnx", help="The trained network, in float.")
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR", help="Where to keep the points."),
    ],
    calibration: coding.CalibrationOptions,
    budgets: Annotated[
        options.Numbers | None,
        typer.Option(
            "--bits",
            metavar="B,B,B",
            parser=options.numbers_of("--bits", "2,2.5,3"),
            help="Bits per weight of the points.",
            show_default="12, from the least there can be to 4.5",
        ),
    ] = None,
    methods: coding.MethodOptions,
    activations: coding.Activations = "int8",
    tune: coding.TuneSteps = 0,
    run: coding.RunOptions,
    jobs: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Points at a time, a process each.",
            rich_help_panel=coding.RUN,
            show_default="1; with Ray as many as the cluster takes",
        ),
    ] = None,
    executor: Annotated[
        Literal["processes", "ray"],
        typer.Option(
            help="Make the points in processes here, or on a Ray cluster (subbyte\\[ray] on all "
            "nodes; no shared disk).",
            rich_help_panel=coding.RUN,
        ),
    ] = "processes",
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="The cluster's head.",
            rich_help_panel=coding.RUN,
            show_default="RAY_ADDRESS, else a cluster of this machine",
        ),
    ] = None,
    latency: Annotated[
        bool,
        typer.Option(
            help="Measure every file on the native kernels, one thread.",
            rich_help_panel=coding.RUN,
        ),
    ] = True,
) -> None:
    r"""Compress at many budgets: the whole trade-off, every point kept as a file.

    A quarter of the samples (512 at most) is held back: **kl**, **agreement** and **lost** (points
    of accuracy, as the float network's own probabilities expect) are measured on it. DIR gets a
    plan and a network for every point, and points.jsonl with a line for each. The same command goes
    on where a stopped run has ended.

    Example:

    ```
    subbyte explore net.onnx --calib cifar10.npz:x_train --input-scale 255 --layout nhwc \
      --samples 1000 --jobs 2 -o trade-off
    ```
    """
    with compress_extra("subbyte explore"):
        from subbyte.compression import CompressOptions
        from subbyte.compression.exploration.explore import Exploration, explore_network

    data = calibration.read(source, run.seed)
    wishes = CompressOptions(
        method=methods.read(),
        tune=tune,
        **vars(run),
        activations=activations,
    )
    bits = tuple(budgets) if budgets else None
    points = Exploration(bits, jobs, latency, executor, ray_address)
    try:
        with stage_progress() as progress:
            found = explore_network(source, output, data, wishes, points, progress)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command continues where this one stopped") from None
    _print(found)
    for point in found:
        for text in point.proof.get("warnings", []):
            said = f"warning: {point.name}: {as_typed(text)}"
            ERRORS.print(said, soft_wrap=True, markup=False, highlight=False)
    OUT.print(f"points, plans and networks: {output}", soft_wrap=True, markup=False)


def _print(points: list[Point]) -> None:
    figures = {"kl": ".4f", "agreement": ".1f", "lost": ".2f", "latency_ms": ".3f"}
    shown = [name for name in figures if any(getattr(p, name) is not None for p in points)]
    columns: dict[str, Column] = {"point": "word", "bits": "number", "file": "number"}
    columns |= dict.fromkeys((name.replace("_", " ") for name in shown), "number")
    rows = [
        [
            *(point.name, f"{point.bits:.3f}", byte_size(point.bytes)),
            *(_figure(getattr(point, n), figures[n]) for n in shown),
        ]
        for point in points
    ]
    print_table(None, columns, rows)


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
