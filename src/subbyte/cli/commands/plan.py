"""``subbyte plan``."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from subbyte.cli import coding, options
from subbyte.cli.console import OUT, Column, check_outputs, print_table, stage_progress, write_json
from subbyte.cli.preprocessing import PreprocessingOptions
from subbyte.extras import compress_extra

if TYPE_CHECKING:
    from subbyte.compression.planning.plan_text import PlanRow


def command(
    source: Annotated[
        Path, typer.Argument(metavar="IN.onnx", help="The trained network, in float.")
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="PLAN.toml", help="Where to write the plan."),
    ],
    calib: coding.Calib,
    samples: coding.SampleCount = None,
    preset: options.PresetOption = None,
    scale: options.Scale = None,
    mean: options.Mean = None,
    std: options.Std = None,
    layout: options.LayoutOption = None,
    resize: options.ResizeOption = None,
    crop: options.Crop = None,
    color: options.ColorOption = None,
    image_size: options.ImageSizeOption = None,
    set_input: options.SetInput = None,
    fold_inputs: options.FoldInputs = False,
    batch_axis: options.BatchAxisOption = None,
    bits: coding.Bits = None,
    size: coding.Size = None,
    latency: coding.Latency = None,
    max_drop: coding.MaxDrop = None,
    timings: coding.TimingsFile = None,
    trials: coding.TrialCount = 0,
    method: coding.MethodNames = None,
    settings: coding.MethodSettings = None,
    seed: coding.Seed = 0,
    device: coding.Device = "cpu",
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
    steps = PreprocessingOptions(
        *(preset, scale, mean, std, layout, resize, crop, color, image_size)
    ).over()
    check_outputs(
        *(output, json), networks=[source], files=[timings], arrays=[calib, *(set_input or [])]
    )
    with compress_extra("subbyte plan"):
        from subbyte.compression import CompressOptions
        from subbyte.compression.config import DEFAULT_BITS
        from subbyte.compression.pipeline import plan_network

    wishes = CompressOptions(
        method=coding.read_methods(method, settings),
        bits=bits,
        size=size,
        latency=latency,
        max_drop=max_drop,
        timings=timings,
        trials=trials,
        seed=seed,
        device=device,
    )
    if wishes.budget is None:
        # A plan is made for a budget, also where one method is named.
        wishes = replace(wishes, bits=DEFAULT_BITS)
    data = coding.read_samples(
        *(source, calib, samples, steps, seed, set_input, batch_axis, fold_inputs)
    )
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
