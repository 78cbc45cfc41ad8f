"""``subbyte calibrate-cpu``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from subbyte.cli.console import OUT, check_outputs, print_table, stage_progress


def command(
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE.json",
            help="Where to write the table, for `--timings`. Without it, it becomes this user's "
            "own.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Time the native kernels on this machine, once, for plans that mind latency.

    A grid of layers in every format that the kernels take, on one thread: less than a minute
    on a machine that does nothing else. The table holds the CPU's name, the instruction set
    and the library's digest: it is refused where one of them is another.
    """
    from subbyte.runtime.timings import calibrate, make_cache, save

    path = output or make_cache()
    check_outputs(path)
    with stage_progress() as progress:
        timings = calibrate(progress)
    save(timings, path)
    print_table(
        f"{timings.cpu}, {timings.isa}",
        {"format": "word", "GMAC/s at most": "number", "error median": "number", "most": "number"},
        [
            [
                name,
                "-" if (ceiling := timings.ceiling(name)) is None else f"{ceiling:.0f}",
                *(f"{100 * value:.0f} %" for value in timings.errors[name]),
            ]
            for name in timings.prices
        ],
    )
    OUT.print(f"written to {path}", soft_wrap=True, markup=False)
