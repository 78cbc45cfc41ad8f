"""A random network through ``subbyte compress``: what came of it."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from typer.testing import CliRunner

import subbyte
from subbyte.cli.app import app
from subbyte.errors import SubbyteError
from tests.random_graphs.grow import COUNT, Drawn
from tests.random_graphs.judge import Feeds, run
from tests.random_graphs.pool import Array
from tests.random_graphs.yardstick import STEPS, rounded, squared_error

FIT = 8
"""The first samples are for calibration, the others to compare."""
LARGEST = 1e-2
TIMES = 8.0
"""A file may be off by `LARGEST`, or so many times as far as the yardstick."""
DECIDED = 0.1
"""Where a node decides (`DECIDING`), by so much: one of few values may fall the other way."""
DECIDING = {"ArgMax", "ArgMin", "Ceil", "Equal", "Floor", "Greater", "GreaterOrEqual", "Hardmax"}
DECIDING |= {"Less", "LessOrEqual", "Mod", "Round", "Sign", "Shrink", "ThresholdedRelu", "TopK"}
TINY = 1e-4
"""Mean squared differences that nobody sees: below one step of rounding."""


@dataclass(frozen=True)
class Mode:
    """Options of the command, and whether the file is to be ``near`` the float network."""

    options: tuple[str, ...]
    near: bool = False


# More bytes than any of the networks: all layers have 8 bits.
_BEST = ("--method", "scalar", "--size", "1MB")
MODES = (
    *(Mode(_BEST, near=True), Mode(_BEST, near=True)),
    Mode((*_BEST, "--activations", "float"), near=True),
    *(Mode(()), Mode(("--method", "ternary")), Mode(("--method", "composite"))),
    *(Mode(("--method", "scalar", "--inline")), Mode(("--method", "binary"))),
)


@dataclass(frozen=True)
class Outcome:
    """``kind``: written, refused, unproved (a refusal that calls itself a bug), traceback, untidy,
    unreadable (file), wrong (values); a line on it."""

    kind: str
    detail: str = ""

    @property
    def fault(self) -> bool:
        """Whether this is a bug."""
        return self.kind not in ("written", "refused")


def compress(drawn: Drawn, folder: Path, mode: Mode) -> Outcome:
    """Run the command on files in ``folder``, and look at what it leaves."""
    source, target, calib = folder / "net.onnx", folder / "small.onnx", folder / "calib.npz"
    source.write_bytes(drawn.model.SerializeToString())
    np.savez(calib, **{name: array[:FIT] for name, array in drawn.feeds.items()})  # type: ignore[arg-type]
    before = set(folder.iterdir())
    command = ["compress", source, "-o", target, "--calib", calib, *mode.options]
    result = CliRunner().invoke(app, [str(part) for part in command])
    if result.exit_code == 2 and isinstance(result.exception, SystemExit):
        lines = result.stderr.strip().splitlines()
        left = sorted(path.name for path in set(folder.iterdir()) - before)
        errors = [line for line in lines if line.startswith("error: ")]
        if errors != lines[-1:] or left:
            return Outcome("untidy", f"files {left}: {lines}")
        # A divisor that is rounded to zero is no bug.
        if "report it" in lines[-1] and "NaN or Inf" not in lines[-1]:
            return Outcome("unproved", lines[-1])
        return Outcome("refused", lines[-1])
    if result.exit_code:
        error = result.exception
        lines = traceback.format_exception(error) if error is not None else ["no exception"]
        return Outcome("traceback", "".join(lines))
    return _look(drawn, target, mode.near)


def _look(drawn: Drawn, target: Path, near: bool) -> Outcome:
    """Open the file on both engines and compare at every batch size."""
    parts = [
        {name: array[at : at + size] for name, array in drawn.feeds.items()}
        for size in drawn.batches
        for at in range(FIT, COUNT - size + 1, size)
    ]
    expected = [run(drawn.model, part, optimized=True) for part in parts]
    for engine in ("portable", "native"):
        try:
            model = subbyte.load(target, engine=engine, threads=1)  # type: ignore[arg-type]
            found = [model.run(part) for part in parts]
        except SubbyteError as error:
            return Outcome("unreadable", f"{engine}: {error}")
        got = [list(arrays) if isinstance(arrays, tuple) else [arrays] for arrays in found]
        for one, other in zip(got, expected, strict=True):
            assert other is not None
            forms = [[(a.shape, str(a.dtype)) for a in arrays] for arrays in (one, other)]
            if forms[0] != forms[1] and _settled(drawn):
                return Outcome("wrong", f"{engine}: gives {forms[0]}, not {forms[1]}")
        if near and (fault := compare(drawn, got, parts)) is not None:
            return Outcome("wrong", f"{engine}: {fault}")
    return Outcome("written")


def _settled(drawn: Drawn) -> bool:
    """Whether shapes do not hang on values."""
    return not any(node.op_type in ("NonZero", "Compress") for node in drawn.model.graph.node)


def _mixes(drawn: Drawn) -> bool:
    """Whether a sample's outputs hang on the others of its batch (a Softmax over the batch):
    then ranges that hold for one batch size do not for another."""
    sizes = sorted(drawn.batches)
    alone, more = ({n: a[:size] for n, a in drawn.feeds.items()} for size in (sizes[0], sizes[-1]))
    one, other = (run(drawn.model, part, optimized=True) for part in (alone, more))
    return any(
        a.shape[1:] == b.shape[1:] and not np.allclose(a, b[: len(a)], 1e-3, 1e-4)
        for a, b in zip(one or [], other or [], strict=False)
        if a.ndim
    )


def compare(drawn: Drawn, got: Sequence[Sequence[Array]], parts: Sequence[Feeds]) -> str | None:
    """What is too far off, over all parts of an output together."""
    if _mixes(drawn):
        return None
    expected = [run(drawn.model, part, optimized=True) for part in parts]
    known = [
        {name: array[at : at + size] for name, array in drawn.feeds.items()}
        for size in drawn.batches
        for at in range(0, FIT - size + 1, size)
    ]
    coarse = [rounded(drawn.model, known, steps) for steps in STEPS]
    if any(model is None for model in coarse):
        return None
    deciding = any(node.op_type in DECIDING for node in drawn.model.graph.node)
    least = DECIDED if deciding else LARGEST
    near = [[run(model, part) for part in parts] for model in coarse if model is not None]
    if any(all(arrays is None for arrays in side) for side in near):
        return None  # rounded, the network takes no sample
    for place in range(len(got[0])):
        ours, float_, *theirs = (
            np.concatenate([np.ravel(arrays[place]) for arrays in side if arrays is not None])
            for side in (got, expected, *near)
        )
        if ours.shape != float_.shape or any(one.shape != float_.shape for one in theirs):
            continue  # values decide about shapes
        if not np.isfinite(np.asarray(theirs, dtype=np.float64)).all():
            continue
        allowed = max(least, TIMES * max(squared_error(one, float_) for one in theirs))
        error = squared_error(ours, float_)
        seen = np.mean((ours.astype(np.float64) - float_.astype(np.float64)) ** 2) > TINY
        if not error <= allowed and (seen or not np.isfinite(error)):
            return f"output {place} is {error:.2g} off, {allowed:.2g} would do"
    return None
