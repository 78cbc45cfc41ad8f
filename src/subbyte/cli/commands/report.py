"""``subbyte report``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from subbyte.cli import options
from subbyte.cli.console import OUT, check_outputs, stage_progress
from subbyte.cli.groups import grouped
from subbyte.cli.preprocessing import PreprocessingOptions
from subbyte.cli.spelling import document_as_typed
from subbyte.errors import OptionError
from subbyte.extras import compress_extra
from subbyte.files import write_atomic

_TIME = "Latency"


@grouped
def command(
    *,
    model: Annotated[Path, typer.Argument(metavar="SMALL.onnx", help="The compressed network.")],
    float_network: Annotated[
        Path, typer.Option(metavar="FLOAT.onnx", help="The float network that it was made from.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write the report.")
    ],
    form: Annotated[
        Literal["html", "md", "json"],
        typer.Option("--format", help="A page that needs no other file, Markdown, or all figures."),
    ] = "html",
    points: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of `subbyte explore`: its points go into the trade-off.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar=options.SAMPLES,
            help="The samples, as of --calib; without them only sizes and latency are reported.",
            rich_help_panel=options.DATA,
            show_default=False,
        ),
    ] = None,
    labels: options.LabelSource = None,
    samples: options.SampleCount = None,
    layer_samples: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Measure layers and activations on N of them.",
            rich_help_panel=options.DATA,
        ),
    ] = 128,
    label_offset: Annotated[
        int,
        typer.Option(
            metavar="K",
            help="Add K to each label (1 if class 0 of the model is a background class).",
            rich_help_panel=options.DATA,
        ),
    ] = 0,
    preprocessing: PreprocessingOptions,
    inputs: options.InputOptions,
    runs: Annotated[
        int,
        typer.Option(metavar="N", help="Timed runs; 0 times nothing.", rich_help_panel=_TIME),
    ] = 30,
    threads: Annotated[
        int, typer.Option(metavar="N", help="Threads of ONNX Runtime.", rich_help_panel=_TIME)
    ] = 1,
    peers: Annotated[
        str,
        typer.Option(
            metavar="NAME,NAME",
            help="Also time other runtimes, as `subbyte bench` does; onnxruntime-int8 is "
            "measured for size and accuracy too.",
            rich_help_panel=_TIME,
            show_default=False,
        ),
    ] = "",
) -> None:
    r"""Write everything there is to know about a compressed network on one page.

    The page has size, accuracy and latency beside the float network's, and the trade-off. For each
    layer it has the bytes, the harm, and pictures of the weights. Ranges and saturation of
    activations follow, and where time goes. Sentences name the layers that stand out. The page
    works offline.

    Example:

    ```
    subbyte report small.onnx --float-network net.onnx --data cifar10.npz:x_test \
      --labels cifar10.npz:y_test -o report.html
    ```
    """
    check_outputs(
        output,
        networks=[model, float_network],
        files=points.iterdir() if points is not None and os.path.isdir(points) else (),
        arrays=[data, labels, *(inputs.set_input or [])],
    )
    if data is None and labels is not None:
        raise OptionError("--labels are those of samples", expected=f"--data {options.SAMPLES}")
    with compress_extra("subbyte report"):
        from subbyte.report.page.document import Report, make_report
        from subbyte.report.page.rendering import render
    steps = preprocessing.for_file(model)
    with stage_progress() as progress:
        report = make_report(
            model,
            float_network,
            data,
            labels,
            preprocessing=steps,
            label_offset=label_offset,
            samples=samples,
            set_inputs=inputs.set_input,
            batch_axes=inputs.axes,
            layer_samples=layer_samples,
            points=points,
            runs=runs,
            threads=threads,
            peers=[name for name in peers.split(",") if name],
            progress=progress,
        )
    report = Report(**document_as_typed(report.to_dict()))
    write_atomic(output, render(report, form).encode())
    for text in report.advice:
        OUT.print(f"- {text}", markup=False, soft_wrap=True)
    OUT.print(f"wrote {output}", markup=False, soft_wrap=True)
