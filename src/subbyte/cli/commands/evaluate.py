"""``subbyte eval``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from subbyte.cli import options
from subbyte.cli.console import check_outputs, print_table, stage_progress, write_json
from subbyte.cli.groups import grouped
from subbyte.cli.preprocessing import PreprocessingOptions


@grouped
def command(
    *,
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The network to measure.")],
    data: options.DataSource,
    labels: options.LabelSource = None,
    float_network: Annotated[
        Path | None,
        typer.Option(
            metavar="FLOAT.onnx",
            help="The float network that it was made from: adds agreement and kl, which need no "
            "labels.",
            rich_help_panel=options.DATA,
            show_default=False,
        ),
    ] = None,
    samples: options.SampleCount = None,
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
    engine: options.EngineOption = None,
    batch_size: options.BatchSize = 64,
    threads: Annotated[
        int | None,
        typer.Option(metavar="N", help="Threads; all cores if not given.", show_default=False),
    ] = None,
    json: options.JsonFile = None,
) -> None:
    r"""Measure accuracy, and how closely a network follows the float network.

    The network must be a classifier: one output with a score per class. **top1**, **top5** and
    **balanced_accuracy** (the mean over classes) are in percent and need labels.

    **float_top1**, **agreement** and **kl** compare with `--float-network`. Agreement is the
    percent of samples with the same best class; KL is the divergence of the class probabilities,
    0 at best.

    Example:

    ```
    subbyte eval small.onnx --data cifar10.npz:x_test --labels cifar10.npz:y_test \
      --float-network net.onnx
    ```
    """
    from subbyte.report import evaluate

    check_outputs(
        json, networks=[model, float_network], arrays=[data, labels, *(inputs.set_input or [])]
    )
    steps = preprocessing.for_file(model)
    with stage_progress() as progress:
        result = evaluate(
            model,
            data,
            labels,
            float_network=float_network,
            preprocessing=steps,
            label_offset=label_offset,
            samples=samples,
            set_inputs=inputs.set_input,
            batch_axes=inputs.axes,
            batch_size=batch_size,
            engine=engine,
            threads=threads,
            progress=progress,
        )
    figures = result.to_dict()
    write_json(json, figures)
    rows = [[name, _shown(name, value)] for name, value in figures.items() if name != "model"]
    print_table(str(model), {"": "word", "value": "number"}, rows)


def _shown(name: str, value: float) -> str:
    if name == "kl":
        return f"{value:.4f} nats"
    return f"{value:.2f} %" if isinstance(value, float) else str(value)
