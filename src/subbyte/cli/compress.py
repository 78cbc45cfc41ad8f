"""``subbyte compress``."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from subbyte.cli import options
from subbyte.cli.console import (
    ERRORS,
    OUT,
    byte_size,
    check_outputs,
    print_table,
    stage_progress,
    write_json,
)
from subbyte.data import Preprocessing
from subbyte.errors import OptionError
from subbyte.extras import compress_extra

_DATA = "Calibration"
_CODING = "Coding"
_RUN = "Run"


def command(
    source: Annotated[
        Path, typer.Argument(metavar="IN.onnx", help="The trained network, in float.")
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="OUT.onnx", help="Where to write the small one."),
    ],
    calib: Annotated[
        str,
        typer.Option(
            metavar="FILE.npz[:array]",
            help="A few hundred samples of what the network will see; no labels. For a network "
            "with several inputs: a file with an array for each, of the same name.",
            rich_help_panel=_DATA,
        ),
    ],
    samples: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Use N samples, drawn at random by --seed; all if not given.",
            rich_help_panel=_DATA,
            show_default=False,
        ),
    ] = None,
    scale: options.Scale = 1.0,
    mean: options.Mean = None,
    std: options.Std = None,
    layout: options.LayoutOption = "nchw",
    method: Annotated[
        Literal["product", "scalar", "ternary", "composite", "binary"],
        typer.Option(
            help="How weights are coded; `subbyte methods` explains.", rich_help_panel=_CODING
        ),
    ] = "product",
    bits: Annotated[
        float | None,
        typer.Option(
            metavar="B",
            help="At most B bits per weight in all layers together, codebooks, scales and signs "
            "included.",
            rich_help_panel=_CODING,
            show_default=False,
        ),
    ] = None,
    group: Annotated[
        int | None,
        typer.Option(
            metavar="D",
            help="product: input channels per code (1, 2, 3, 4, 6 or 8); with --bits the fewest "
            "allowed.",
            rich_help_panel=_CODING,
            show_default=False,
        ),
    ] = None,
    words: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            help="product: at most K words a codebook (16, 32, 64, 128 or 256); 16 if not given.",
            rich_help_panel=_CODING,
            show_default=False,
        ),
    ] = None,
    gain: Annotated[
        int | None,
        typer.Option(
            metavar="BITS",
            help="product: gain bits per code: 0 none, 1 a sign, 2-4 sign and size.",
            rich_help_panel=_CODING,
            show_default=False,
        ),
    ] = None,
    rank: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            help="ternary: at most K terms a layer.",
            rich_help_panel=_CODING,
            show_default=False,
        ),
    ] = None,
    rank_ratio: Annotated[
        float | None,
        typer.Option(
            metavar="R",
            help="ternary: R * min(outputs, inputs) terms a layer; without --bits 1, as in the "
            "paper.",
            rich_help_panel=_CODING,
            show_default=False,
        ),
    ] = None,
    planes: Annotated[
        int | None,
        typer.Option(
            metavar="J",
            help="composite: at most J bits of magnitude (1 to 6).",
            rich_help_panel=_CODING,
            show_default=False,
        ),
    ] = None,
    procedure: Annotated[
        Literal["corrected", "paper", "paper-plain", "exact"] | None,
        typer.Option(
            help="product, composite, binary: corrected fits the samples our way; paper does as "
            "the paper does. product, paper-plain: Q-CNN without its error correction. scalar, "
            "exact: keeps weights that lie on a grid of 2, 3 or 4 bits already.",
            rich_help_panel=_CODING,
            show_default=False,
        ),
    ] = None,
    bottleneck: Annotated[
        float | None,
        typer.Option(
            metavar="R",
            help="composite, paper: rank over min(h, w) of the plane at the threshold.",
            rich_help_panel=_CODING,
            show_default=False,
        ),
    ] = None,
    order: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            help="binary: inputs become the sum of K scaled sign tensors (1 to 8); 2 if not given.",
            rich_help_panel=_CODING,
            show_default=False,
        ),
    ] = None,
    scales: Annotated[
        Literal["column", "pixel", "image"] | None,
        typer.Option(
            help="binary: what shares the scales of an input; column, as in HORQ, if not given.",
            rich_help_panel=_CODING,
            show_default=False,
        ),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option(
            metavar="PLAN.toml",
            help="Method and bits of each layer, from a file.",
            rich_help_panel=_CODING,
        ),
    ] = None,
    activations: Annotated[
        Literal["int8", "float"],
        typer.Option(help="What layers hand to each other.", rich_help_panel=_CODING),
    ] = "int8",
    tune: Annotated[
        int,
        typer.Option(
            metavar="STEPS",
            help="Then train codebooks, scales and biases to follow the float network.",
            rich_help_panel=_CODING,
        ),
    ] = 0,
    tune_linear: Annotated[
        int | None,
        typer.Option(
            metavar="STEPS",
            help="Train the linear layers once the convolutions are coded, and code them then; "
            "200 steps with product's procedures paper and paper-plain.",
            rich_help_panel=_CODING,
            show_default=False,
        ),
    ] = None,
    inline: Annotated[
        bool,
        typer.Option(
            "--inline",
            help="Write standard operators only, for runtimes without model-local functions, "
            "such as OpenVINO.",
            rich_help_panel=_CODING,
        ),
    ] = False,
    seed: Annotated[
        int,
        typer.Option(
            metavar="N", help="Same seed, same bytes on the same machine.", rich_help_panel=_RUN
        ),
    ] = 0,
    device: Annotated[
        str,
        typer.Option(
            metavar="D", help="Where to compute: cpu, cuda, cuda:1 ...", rich_help_panel=_RUN
        ),
    ] = "cpu",
    work: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Keep checkpoints in DIR. Without it they lie beside OUT.onnx until the run is "
            "done. Either way, the same command continues an interrupted run.",
            rich_help_panel=_RUN,
            show_default=False,
        ),
    ] = None,
    json: options.JsonFile = None,
) -> None:
    r"""Make a trained network several times smaller.

    The weights of convolutions and linear layers are coded in 0.5 to 4 bits each, guided by
    the calibration samples. The result is one ONNX file that any ONNX runtime runs.

    Example (bytes 0 - 255, channels last, 2 bits per weight):

    ```
    subbyte compress net.onnx -o small.onnx --calib cifar10.npz:x_train \
      --scale 255 --layout nhwc --samples 1000 --bits 2
    ```
    """
    steps = options.preprocessing(scale, mean, std, layout)
    _check_paths(source, output, json)
    with compress_extra("subbyte compress"):
        from subbyte.compress import CompressOptions, compress
        from subbyte.data import as_samples
        from subbyte.graph.inputs import read_input_specs

    wishes = CompressOptions(
        method=method,
        bits=bits,
        group=group,
        words=words,
        gain=gain,
        rank=rank,
        rank_ratio=rank_ratio,
        planes=planes,
        procedure=procedure,
        bottleneck=bottleneck,
        order=order,
        scales=scales,
        plan=plan,
        tune=tune,
        tune_linear=tune_linear,
        seed=seed,
        device=device,
        work=work,
        activations=activations,
        inline=inline,
        samples=samples,
    )
    data = as_samples(calib, read_input_specs(source), steps, option="--calib")
    if samples is not None and samples > len(data):
        note = f"note: --samples {samples}, but {calib} has {len(data)}: using all"
        ERRORS.print(note, soft_wrap=True)
    data = data.take(samples, seed)
    started = time.monotonic()
    try:
        with stage_progress() as progress:
            compress(source, output, data, wishes, progress=progress)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command continues where this one stopped") from None
    _report(source, output, json, len(data), time.monotonic() - started)
    _suggest(source, output, steps)


def _check_paths(source: Path, output: Path, json: Path | None) -> None:
    check_outputs(output, json)
    if output.exists() and source.exists() and output.samefile(source):
        raise OptionError(
            "output would overwrite the input", where=str(output), expected="another file name"
        )


def _report(source: Path, output: Path, json: Path | None, samples: int, seconds: float) -> None:
    from subbyte.report import inspect
    from subbyte.report.stored import read_stored

    found = inspect(output)
    before = read_stored(source).file_bytes
    after = found["file_bytes"]
    result: dict[str, Any] = {
        "input": str(source),
        "output": str(output),
        "input_bytes": before,
        "samples": samples,
        "seconds": seconds,
        **{key: value for key, value in found.items() if key != "model"},
    }
    write_json(json, result)
    counts = Counter(layer["method"] for layer in found["layers"])
    print_table(
        None,
        {"": "word", str(output): "text"},
        [
            ["file before", byte_size(before)],
            ["file after", f"{byte_size(after)} ({before / after:.1f} times smaller)"],
            ["bits per weight", f"{found['bits_per_weight']:.3f}"],
            ["layers", ", ".join(f"{n} {name}" for name, n in sorted(counts.items()))],
            ["time", f"{seconds:.0f} s"],
        ],
    )


def _suggest(source: Path, output: Path, steps: Preprocessing) -> None:
    """Say how to look at the result, with the same preprocessing."""
    given = ["--scale", f"{steps.scale:g}"] if steps.scale != 1 else []
    for name, values in (("--mean", steps.mean), ("--std", steps.std)):
        given += [name, ",".join(map(str, values))] if values else []
    given += ["--layout", steps.layout] if steps.layout != "nchw" else []
    words = ["subbyte", "eval", str(output), "--reference", str(source), *given]
    OUT.print(f"Next: {shlex.join(['subbyte', 'inspect', str(output)])}", soft_wrap=True)
    OUT.print(f"      {shlex.join(words)} --data FILE.npz ...", soft_wrap=True)
