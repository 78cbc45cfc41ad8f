"""``subbyte compress``."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from subbyte.cli import coding, options
from subbyte.cli.console import (
    ERRORS,
    OUT,
    byte_size,
    check_outputs,
    print_table,
    stage_progress,
    write_json,
)
from subbyte.cli.groups import grouped
from subbyte.cli.spelling import as_typed
from subbyte.extras import compress_extra

if TYPE_CHECKING:
    from subbyte.compression.pipeline import Compressed
    from subbyte.compression.proof.record import Proof

_CODING, _RUN = coding.CODING, coding.RUN


@grouped
def command(
    *,
    source: Annotated[
        Path, typer.Argument(metavar="IN.onnx", help="The trained network, in float.")
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="OUT.onnx", help="Where to write the small one."),
    ],
    calibration: coding.CalibrationOptions,
    methods: coding.MethodOptions,
    budget: coding.BudgetOptions,
    plan: Annotated[
        Path | None,
        typer.Option(
            metavar="PLAN.toml",
            help="Method and bits of each layer, from a file.",
            rich_help_panel=_CODING,
        ),
    ] = None,
    activations: coding.Activations = "int8",
    tune: coding.TuneSteps = 0,
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
    run: coding.RunOptions,
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

    The weights of convolutions, linear layers, tables and recurrent nodes are coded in 0.5 to
    4 bits each, guided by the calibration samples. The result is one ONNX file that any ONNX
    runtime runs.

    Example (bytes 0 - 255, channels last, 2 bits per weight):

    ```
    subbyte compress net.onnx -o small.onnx --calib cifar10.npz:x_train \
      --input-scale 255 --layout nhwc --samples 1000 --bits 2
    ```
    """
    check_outputs(
        *(output, json),
        networks=[source],
        files=[plan, budget.timings],
        arrays=calibration.arrays,
    )
    with compress_extra("subbyte compress"):
        from subbyte.cli.proofs import print_generalization, print_proof
        from subbyte.compression import CompressOptions, compress
        from subbyte.compression.config import DEFAULT_BITS

    wishes = CompressOptions(
        method=methods.read(),
        **vars(budget),
        plan=plan,
        tune=tune,
        tune_linear=tune_linear,
        **vars(run),
        work=work,
        activations=activations,
        inline=inline,
        samples=calibration.samples,
    )
    data = calibration.read(source, run.seed)
    started = time.monotonic()
    try:
        with stage_progress() as progress:
            done = compress(source, output, data, wishes, progress=progress)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command continues where this one stopped") from None
    if wishes.by_default:
        default = f"{wishes.budget}, or the fewest that the network allows"
        _note(f"no budget was given: {default} (--bits {DEFAULT_BITS:g} holds to it)")
    _report(source, output, json, len(data), time.monotonic() - started, done)
    print_proof(done.proof)
    if done.generalization is not None:
        print_generalization(done.generalization)
    _note_untrained(done.untrained)
    for branches in done.unseen:
        _note(as_typed(str(branches)))
    _suggest(
        *(source, output, calibration.inputs),
        classes=_classes(done.proof),
        images=data.folder is not None,
    )


def _report(
    source: Path, output: Path, json: Path | None, samples: int, seconds: float, done: Compressed
) -> None:
    from subbyte.report import inspect
    from subbyte.report.stored import read_stored

    found = inspect(output)
    before = read_stored(source).file_bytes
    after = found.file_bytes
    result: dict[str, Any] = {
        "input": str(source),
        "output": str(output),
        "input_bytes": before,
        "samples": samples,
        "seconds": seconds,
        **{key: value for key, value in found.to_dict().items() if key != "model"},
        "proof": done.proof.document(),
        "generalization": done.generalization and done.generalization.document(),
    }
    write_json(json, result)
    counts = Counter(layer["method"] for layer in found.layers)
    print_table(
        None,
        {"": "word", str(output): "text"},
        [
            ["file before", byte_size(before)],
            ["file after", f"{byte_size(after)} ({before / after:.1f} times smaller)"],
            ["bits per weight", f"{found.bits_per_weight:.3f}"],
            ["layers", ", ".join(f"{n} {name}" for name, n in sorted(counts.items()))],
            *_uncoded(found.uncoded),
            ["time", f"{seconds:.0f} s"],
        ],
    )


def _note_untrained(untrained: Mapping[str, str]) -> None:
    """Say on stderr which layers --tune could not reach."""
    if untrained:
        what = ", ".join(dict.fromkeys(untrained.values()))
        _note(
            f"not tuned: {', '.join(untrained)}: no gradient flows through {what}, which "
            "ONNX Runtime runs behind them"
        )


def _note(text: str) -> None:
    ERRORS.print(f"note: {text}", soft_wrap=True, markup=False, highlight=False)


def _uncoded(constants: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """One line for all, which names the largest; `subbyte inspect` lists them."""
    if not constants:
        return []
    largest = max(constants, key=lambda constant: constant["bytes"])
    total = byte_size(sum(constant["bytes"] for constant in constants))
    one = f"{largest['name']}, {byte_size(largest['bytes'])}, {largest['reason']}"
    number = "1 constant" if len(constants) == 1 else f"{len(constants)} constants, the largest"
    return [["not coded", f"{total}: {number} ({one})"]]


def _classes(proof: Proof) -> bool:
    """Whether the network has one output, of class scores."""
    found = [d for engines in proof.outputs.values() for d in engines.values() if d is not None]
    return len(proof.outputs) == 1 and any(divergence.kl is not None for divergence in found)


def _suggest(
    source: Path, output: Path, inputs: options.InputOptions, *, classes: bool, images: bool
) -> None:
    """Say how to look at the result, with the same inputs: `subbyte eval` where there are
    ``classes``, which it needs, else `subbyte report`. The file records the preprocessing."""
    given = [word for text in inputs.set_input or () for word in ("--set-input", text)]
    given += [
        word
        for name, k in inputs.batch_axis or ()
        for word in ("--batch-axis", f"{name}={'none' if k is None else k}")
    ]
    how = ["eval", str(output)] if classes else ["report", str(output), "-o", "report.html"]
    words = ["subbyte", *how, "--float-network", str(source), *given]
    OUT.print(f"Next: {shlex.join(['subbyte', 'inspect', str(output)])}", soft_wrap=True)
    data = "FOLDER" if images else "FILE.npz"
    labels = " --labels folders" if images and classes else " ..."
    OUT.print(f"      {shlex.join(words)} --data {data}{labels}", soft_wrap=True)
