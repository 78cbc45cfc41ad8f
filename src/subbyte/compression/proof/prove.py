"""The last thing before a file takes its name: it is opened, run, and compared with float."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subbyte.compression.proof.blame import guilty_node
from subbyte.compression.proof.float_outputs import FloatOutputs, Outputs, outputs_of
from subbyte.compression.proof.record import Divergence, Proof
from subbyte.compression.proof.tally import Tally
from subbyte.data import Samples
from subbyte.errors import MissingDependencyError, ProofError, SubbyteError
from subbyte.progress import Progress
from subbyte.runtime import Engine, load
from subbyte.runtime.library import find_library

MOST_SAMPLES = 64
BATCH = 8
# Of all inputs: large ones (images of 1,024 x 1,024) are fewer, and run in smaller batches.
MOST_VALUES = 1 << 25
BATCH_VALUES = 1 << 22
LEAST_SAMPLES = 4
# From so many bytes of the file on, portable is run without ONNX Runtime's optimizations: at load
# they unpack all weights, and take some 60 bytes a weight for a moment.
LARGE_FILE = 1 << 22

BUG = "a bug of subbyte, please report it with the network or its name"
_FAR_FROM_FLOAT = "`activations=float`, or more bits"


def prove(
    path: Path,
    samples: Samples,
    float_outputs: FloatOutputs,
    held_back: bool,
    progress: Progress,
    name: str,
    engines: Sequence[Engine] | None = None,
) -> Proof:
    """Open the file ``path`` on every engine that is here, and compare it with the float network.

    ``samples`` (some `MOST_SAMPLES` of them at most) are run. ``name``: the file's name in errors.
    ``held_back``: the proof's statement about the samples. ``engines``: by default portable, and
    native where the library is.

    Raises:
        ProofError: an engine cannot open or run the file; another number of outputs, another shape
            or type; NaN or Inf where float has none.
    """
    engines = engines or ("portable", *(("native",) if find_library() else ()))
    parts = batches_of(samples, 1 if samples.single else float_outputs.fixed_batch)
    steps = _Steps(progress, len(parts) * (1 + len(engines)))
    wanted = float_outputs.run(parts, steps.of("float"))
    parts = parts[: len(wanted)]
    found: dict[Engine, list[Divergence | None]] = {}
    skipped: dict[str, str] = {}
    for engine in engines:
        try:
            subject = _Subject(path, name, engine)
        except MissingDependencyError as error:
            skipped[engine] = str(error)
            continue
        tallies = [Tally() for _ in float_outputs.names]
        step = steps.of(engine)
        for part, exact in zip(parts, wanted, strict=True):
            subject.compare(part, exact, float_outputs, tallies)
            step()
        found[engine] = [tally.divergence() for tally in tallies]
        del subject
    steps.end()
    sizes = [len(part) for part in parts]
    return Proof(
        samples=min(sum(sizes), len(samples)),
        batches=tuple(sorted(set(sizes))),
        held_back=held_back,
        float_engine=float_outputs.engine,
        float_engine_reason=float_outputs.reason,
        compared_with=float_outputs.compared_with,
        engines=tuple(found),
        outputs={
            output: {engine: column[place] for engine, column in found.items()}
            for place, output in enumerate(float_outputs.names)
        },
        skipped=skipped,
    )


def batches_of(samples: Samples, fixed: int | None) -> list[Samples]:
    """The batches to run: the first sample alone, all others in batches of more; of a network
    with one batch size, ``fixed``, batches of that."""
    values = sum(array.size for array in next(iter(samples.batches(1))).values())
    most = min(MOST_SAMPLES, max(LEAST_SAMPLES, MOST_VALUES // max(1, values)))
    count = min(most, len(samples))
    if fixed is not None:
        index = np.minimum(np.arange(-(-count // fixed) * fixed), count - 1)
        return [samples.select(rows) for rows in index.reshape(-1, fixed)]
    size = min(BATCH, max(2, BATCH_VALUES // max(1, values)))
    rest = np.arange(1, count) if count > 2 else np.array([0, count - 1])
    starts = range(0, len(rest), size)
    return [samples.select([0]), *(samples.select(rest[start : start + size]) for start in starts)]


class _Steps:
    """Progress over all engines together."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def of(self, engine: str) -> Callable[[], None]:
        """A function that is called when a part is done."""
        self._progress("prove", self._done, self._total, engine)

        def step() -> None:
            self._done = min(self._done + 1, self._total)
            self._progress("prove", self._done, self._total, engine)

        return step

    def end(self) -> None:
        """Also where parts were left out."""
        self._progress("prove", self._total, self._total, "")


class _Subject:
    """The written file on one engine."""

    def __init__(self, path: Path, name: str, engine: Engine) -> None:
        self._path, self._name, self._engine = path, name, engine
        try:
            optimize = engine == "native" or path.stat().st_size < LARGE_FILE
            self._model = load(path, engine=engine, optimize=optimize)
        except MissingDependencyError:
            raise
        except SubbyteError as error:
            raise self._refused("open", error, guilty_node(path, engine)) from error

    def compare(
        self, part: Samples, exact: Outputs, float_outputs: FloatOutputs, tallies: Sequence[Tally]
    ) -> None:
        """Run the samples of ``part`` in one batch; add up how far they are from ``exact``."""
        where = f"batch of {len(part)}"
        got = self._run(part)
        if len(got) != len(exact):
            raise self._differs("number of outputs", where, len(exact), len(got))
        names = zip(float_outputs.names, exact, got, tallies, strict=True)
        for name, wanted, found, tally in names:
            self._check(f"output {name}, {where}", wanted, found, name in float_outputs.loose)
            tally.add(wanted, found)

    def _run(self, part: Samples) -> Outputs:
        try:
            return outputs_of(self._model, part)
        except SubbyteError as error:
            feeds = part.feeds(self._model.input_names)
            node = guilty_node(self._path, self._engine, feeds)
            raise self._refused("run", error, node) from error

    def _check(self, where: str, wanted: NDArray[Any], found: NDArray[Any], loose: bool) -> None:
        if wanted.dtype != found.dtype:
            raise self._differs("type", where, wanted.dtype, found.dtype)
        sizes = (wanted.ndim, found.ndim) if loose else (wanted.shape, found.shape)
        if sizes[0] != sizes[1]:
            raise self._differs("shape", where, list(wanted.shape), list(found.shape))
        # Where float has NaN itself, its borders may move: that is a warning (`Tally`).
        if np.isfinite(wanted).all() and not np.isfinite(found).all():
            raise ProofError(
                "the network as written gives NaN or Inf where the float network does not "
                f"(try {_FAR_FROM_FLOAT}; if it stays, {BUG})",
                where=f"{where}, engine {self._engine}",
                expected="finite numbers",
            )

    def _differs(self, what: str, where: str, expected: object, got: object) -> ProofError:
        where = f"{self._name}, {where}, engine {self._engine}"
        return differs(what, where, expected, got)

    def _refused(self, what: str, error: SubbyteError, node: str | None) -> ProofError:
        said = str(error.got or error).replace(str(self._path), self._name)
        where = self._name if node is None else f"node {node}"
        return refused(f"engine {self._engine} cannot {what}", where, said)


def differs(what: str, where: str, expected: object, got: object) -> ProofError:
    """The error of a written network that has another ``what`` than the one it was made from."""
    return ProofError(
        f"the network as written has another {what} than the one it was made from: {BUG}",
        where=where,
        expected=expected,
        got=got,
    )


def refused(what: str, where: str, said: str) -> ProofError:
    """The error of an engine that cannot do something with a written network, and says so."""
    return ProofError(f"{what} the network as written: {BUG}", where=where, got=said)
