"""``subbyte tune``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from subbyte.cli import options
from subbyte.cli.console import ERRORS, check_outputs, print_table, stage_progress, write_json
from subbyte.cli.groups import grouped
from subbyte.cli.preprocessing import PreprocessingOptions
from subbyte.errors import OptionError
from subbyte.extras import compress_extra

_TRAINING = "Training"


@grouped
def command(
    *,
    source: Annotated[Path, typer.Argument(metavar="SMALL.onnx", help="A compressed network.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="OUT.onnx", help="Where to write the tuned one."),
    ],
    data: options.DataSource,
    float_network: Annotated[
        Path | None,
        typer.Option(
            metavar="FLOAT.onnx",
            help="Train to follow this network; needs no labels.",
            rich_help_panel=options.DATA,
            show_default=False,
        ),
    ] = None,
    labels: options.LabelSource = None,
    preprocessing: PreprocessingOptions,
    inputs: options.InputOptions,
    steps: Annotated[
        int, typer.Option(metavar="N", help="Steps of training.", rich_help_panel=_TRAINING)
    ] = 1000,
    batch_size: Annotated[
        int, typer.Option(metavar="N", help="Samples a step.", rich_help_panel=_TRAINING)
    ] = 64,
    rate_factor: Annotated[
        float,
        typer.Option(help="Times the usual learning rates.", rich_help_panel=_TRAINING),
    ] = 1.0,
    work: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder for a checkpoint, written every 200 steps; the same command goes on from "
            "it.",
            rich_help_panel=_TRAINING,
            show_default=False,
        ),
    ] = None,
    bf16: Annotated[
        bool, typer.Option("--bf16", help="Mixed precision.", rich_help_panel=_TRAINING)
    ] = False,
    seed: Annotated[
        int, typer.Option(metavar="N", help="Order of samples.", rich_help_panel=_TRAINING)
    ] = 0,
    device: Annotated[
        str,
        typer.Option(
            metavar="D", help="Where to compute: cpu, cuda, cuda:1 ...", rich_help_panel=_TRAINING
        ),
    ] = "cpu",
    json: options.JsonFile = None,
) -> None:
    r"""Train a compressed network further: codebooks, scales and biases.

    With the float network as `--float-network`, or with `--labels`. Layers, codes and the 8-bit
    scales of activations stay; the file keeps its size. A tenth of the samples is held back
    to measure with.

    Example:

    ```
    subbyte tune small.onnx -o tuned.onnx --data cifar10.npz:x_train \
      --float-network net.onnx --steps 2000
    ```
    """
    check_outputs(
        *(output, json),
        networks=[source, float_network],
        arrays=[data, labels, *(inputs.set_input or [])],
    )
    if (float_network is None) == (labels is None):
        got = "neither" if float_network is None else "both"
        raise OptionError(
            "target of training", expected="one of --float-network and --labels", got=got
        )
    with compress_extra("subbyte tune"):
        import torch

        from subbyte.cli.proofs import print_proof
        from subbyte.data import read_labels
        from subbyte.train import tune
        from subbyte.train.files import tuning_samples

    recorded = preprocessing.for_file(source)
    with stage_progress() as progress:
        samples = tuning_samples(
            *(data, source, float_network),
            recorded,
            set_inputs=inputs.set_input,
            batch_axes=inputs.axes,
            progress=progress,
        )
    found = None if labels is None else read_labels(labels, samples)
    with stage_progress() as progress:
        result = tune(
            source,
            output,
            samples,
            steps=steps,
            float_network=float_network,
            labels=found,
            batch_size=batch_size,
            rate_factor=rate_factor,
            precision=torch.bfloat16 if bf16 else None,
            work=work,
            seed=seed,
            device=device,
            progress=progress,
        )
    write_json(
        json,
        {
            "input": str(source),
            "output": str(output),
            "steps": steps,
            **result.to_dict(),
        },
    )
    what = "divergence from the float network" if labels is None else "cross-entropy"
    print_table(
        str(output),
        {f"{what}, {result.held_back} samples held back": "word", "": "number"},
        [["before", f"{result.before:.4f}"], ["after", f"{result.after:.4f}"]],
    )
    print_proof(result.proof)
    if result.after > result.before:
        ERRORS.print("note: no better than before; try a smaller --rate-factor, or more samples")
