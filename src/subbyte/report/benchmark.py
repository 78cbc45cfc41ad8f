"""Latency of models side by side, in runs that take turns."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subbyte.data import InputSpec, SetInputs, check_seed
from subbyte.data.given import given_parts
from subbyte.errors import ModelFileError, OptionError, SubbyteError
from subbyte.option_types import checked
from subbyte.progress import Progress, silent
from subbyte.report.peers import Bind, Feeds, Source, check_names, make_peer
from subbyte.report.system import system
from subbyte.runtime import Engine, Model, load, native_isa

_WARM_UP = 3
# Random inputs on which peers are calibrated and outputs are compared before timing.
_SAMPLES = 8
# Metadata of a compressed file (docs/format.md).
_FORMAT_KEY = "subbyte.format"


@dataclass(frozen=True)
class Timed:
    """The time of a run of one ``model`` in one ``engine`` or peer, in milliseconds.

    - ``iqr_ms``: upper minus lower quartile;
    - ``ratio``: its time divided by the first model's time in the same round, as the median over
      the rounds;
    - ``cosine``: between its first output and the first model's, on 8 random inputs;
    - ``top1``: percent of rows whose largest entry along the last axis is the same in both.
    """

    model: str
    engine: str
    median_ms: float
    min_ms: float
    iqr_ms: float
    ratio: float
    cosine: float
    top1: float

    def to_dict(self) -> dict[str, Any]:
        """The figures, by name."""
        return asdict(self)


@dataclass(frozen=True)
class Missing:
    """A ``peer`` that could not be measured, and the ``reason``."""

    peer: str
    reason: str


@dataclass(frozen=True)
class Benchmark:
    """Times of ``models`` and peers, in rounds; ``missing``: the peers that cannot be had.

    ``shapes``: of the inputs. ``native_isa``: the native kernels' instruction set, None where no
    model ran on them. ``system``: CPU and versions.
    """

    models: tuple[Timed, ...]
    missing: tuple[Missing, ...]
    runs: int
    threads: int
    shapes: Mapping[str, Sequence[int]]
    native_isa: str | None
    system: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The figures as ``subbyte bench --json`` writes them."""
        rows = {
            "models": [model.to_dict() for model in self.models],
            "missing": [asdict(peer) for peer in self.missing],
        }
        return vars(self) | rows


@checked
def bench(
    paths: Sequence[str | os.PathLike[str]],
    *,
    threads: int = 1,
    runs: int = 50,
    batch_size: int = 1,
    shapes: Mapping[str, Sequence[int]] | None = None,
    engine: Engine | None = None,
    peers: Sequence[str] = (),
    set_inputs: SetInputs | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Benchmark:
    """Time models on the same random inputs, one run of each in turn.

    Outputs are checked before anything is timed: finite, and of equal shapes for all.

    Args:
        paths: ONNX files; all take the inputs of the first.
        threads: threads of ONNX Runtime and of the peers.
        runs: timed rounds.
        batch_size: size of the batch dimension where the model leaves it free.
        shapes: input name -> full shape, for inputs with other free dimensions.
        engine: as `subbyte.load`; None times float files in ONNX Runtime alone, and compressed
            files with both where the package has the native library.
        peers: names of `subbyte.report.peers.PEERS`, made from the first path, which has to be a
            float network then. One that cannot be had is in `Benchmark.missing`, with the reason.
        set_inputs: values of inputs, as `subbyte.data.as_samples`; the others are random.
        seed: of the random inputs.
        progress: called with ("Rounds", rounds done, rounds in all, "").

    Raises:
        SubbyteError: unreadable models, options out of range, shapes that are not fixed.
    """
    for name, value in (("threads", threads), ("runs", runs), ("batch_size", batch_size)):
        if value < 1:
            raise OptionError(f"{name} out of range", expected="at least 1", got=value)
    check_seed(seed)
    if not paths:
        raise OptionError("no models to time", expected="at least one path")
    check_names(peers)
    models = [model for path in paths for model in _load(path, engine, threads)]
    _check_shape_names(models[0], shapes or {})
    generator = np.random.default_rng(seed)
    given = {
        name: part.batch(batch_size)
        for name, part in given_parts(set_inputs, models[0].inputs).items()
    }
    samples = [
        given | _random_inputs(models[0].inputs, batch_size, shapes or {}, generator, given)
        for _ in range(_SAMPLES)
    ]
    sides = [_side(model) for model in models]
    closeness, references = _check_outputs(sides, samples)
    others, missing = _peers(models[0], peers, samples, threads, references)
    sides += [side for side, _ in others]
    closeness += [close for _, close in others]
    times = _times(sides, samples[0], runs, progress)
    return Benchmark(
        models=tuple(
            Timed(**(_row(side, times[:, i], times[:, 0]) | close))
            for i, (side, close) in enumerate(zip(sides, closeness, strict=True))
        ),
        missing=tuple(missing),
        runs=runs,
        threads=threads,
        shapes={name: list(array.shape) for name, array in samples[0].items()},
        native_isa=native_isa() if any(m.engine == "native" for m in models) else None,
        system=system(),
    )


# Of each sample, the arrays.
Outputs = list[list[NDArray[Any]]]


@dataclass(frozen=True)
class Side:
    """A side of the comparison: a file in an engine."""

    model: str
    engine: str
    bind: Bind


def _load(path: str | os.PathLike[str], engine: Engine | None, threads: int) -> list[Model]:
    model = load(path, engine=engine, threads=threads)
    if engine is not None or model.engine == "portable":
        return [model]
    portable = load(path, engine="portable", threads=threads)
    return [model, portable] if _compressed(model) else [portable]


def _compressed(model: Model) -> bool:
    return _FORMAT_KEY in model.session.get_modelmeta().custom_metadata_map


def _side(model: Model) -> Side:
    def bind(feeds: Feeds) -> Callable[[], list[NDArray[Any]]]:
        # An input that was folded into a compressed file is the float network's alone.
        feeds = {name: feeds[name] for name in model.input_names if name in feeds}
        model.run(feeds)  # its errors are named; the session's own call is timed
        return lambda: list(model.session.run(None, feeds))

    return Side(str(model.path), model.engine, bind)


def _peers(
    model: Model,
    names: Sequence[str],
    samples: Sequence[Feeds],
    threads: int,
    references: Outputs,
) -> tuple[list[tuple[Side, dict[str, float]]], list[Missing]]:
    """The peers that give the outputs that ``references`` are, and why the others do not."""
    if names and _compressed(model):
        raise OptionError(
            "peers are made from the first network",
            where=str(model.path),
            expected="a float network",
            got="a compressed one",
        )
    sides, missing = [], []
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            source = Source(model.path, samples, threads, Path(folder))
            try:
                side = Side(str(model.path), name, make_peer(name, source))
                outputs = _outputs(side, samples)
                _check_shapes(side, outputs, references)
                sides.append((side, _closeness_of(outputs, references)))
            except SubbyteError as error:
                missing.append(Missing(name, str(error)))
    return sides, missing


def _times(
    sides: Sequence[Side],
    feeds: Feeds,
    runs: int,
    progress: Progress,
) -> NDArray[np.float64]:
    """Seconds [runs, sides]."""
    calls = [side.bind(feeds) for side in sides]
    times = np.empty((runs, len(calls)))
    for turn in range(-_WARM_UP, runs):
        for i, call in enumerate(calls):
            start = time.perf_counter()
            call()
            elapsed = time.perf_counter() - start
            if turn >= 0:
                times[turn, i] = elapsed
        if turn >= 0:
            progress("Rounds", turn + 1, runs, "")
    return times


def _row(side: Side, own: NDArray[np.float64], first: NDArray[np.float64]) -> dict[str, Any]:
    lower, median, upper = np.percentile(1000 * own, (25, 50, 75))
    return {
        "model": side.model,
        "engine": side.engine,
        "median_ms": float(median),
        "min_ms": float(1000 * own.min()),
        "iqr_ms": float(upper - lower),
        "ratio": float(np.median(own / first)),
    }


def _check_shape_names(model: Model, shapes: Mapping[str, Sequence[int]]) -> None:
    unknown = set(shapes) - set(model.input_names)
    if unknown:
        raise OptionError(
            "shape given for an input that the model does not have",
            where=str(model.path),
            expected=", ".join(model.input_names),
            got=", ".join(sorted(unknown)),
        )


def _random_inputs(
    inputs: Sequence[InputSpec],
    batch: int,
    shapes: Mapping[str, Sequence[int]],
    generator: np.random.Generator,
    given: Collection[str] = (),
) -> dict[str, NDArray[Any]]:
    """Normal numbers for float inputs; 0 and 1, which are valid tokens, for integer ones."""
    feeds = {}
    for spec in inputs:
        if spec.name in given:
            continue
        shape = _fixed_shape(spec, batch, shapes.get(spec.name))
        if spec.dtype.kind == "f":
            feeds[spec.name] = generator.standard_normal(shape).astype(spec.dtype)
        else:
            feeds[spec.name] = generator.integers(0, 2, shape).astype(spec.dtype)
    return feeds


def _fixed_shape(spec: InputSpec, batch: int, given: Sequence[int] | None) -> tuple[int, ...]:
    if given is not None:
        return tuple(given)
    fixed = tuple(
        batch if i == spec.axis and not isinstance(size, int) else size
        for i, size in enumerate(spec.shape)
    )
    if not all(isinstance(size, int) for size in fixed):
        raise OptionError(
            f"input {spec.name!r} has free dimensions",
            expected=f"a shape for it, as in `shapes={{'{spec.name}': (1, ...)}}`",
            got=list(spec.shape),
        )
    return tuple(int(size) for size in fixed if size is not None)


def _check_outputs(
    sides: Sequence[Side], samples: Sequence[Feeds]
) -> tuple[list[dict[str, float]], Outputs]:
    """Cosine and top-1 agreement (percent) of every side with the first, and its outputs."""
    references: Outputs = []
    found = []
    for side in sides:
        outputs = _outputs(side, samples)
        references = references or outputs
        _check_shapes(side, outputs, references)
        found.append(_closeness_of(outputs, references))
    return found, references


def _outputs(side: Side, samples: Sequence[Feeds]) -> Outputs:
    outputs = [side.bind(feeds)() for feeds in samples]
    if not all(np.isfinite(array).all() for arrays in outputs for array in arrays):
        raise ModelFileError("outputs are NaN or Inf", where=f"{side.model}, {side.engine}")
    return outputs


def _check_shapes(side: Side, outputs: Outputs, references: Outputs) -> None:
    for own, first in zip(outputs, references, strict=True):
        expected, got = ([array.shape for array in arrays] for arrays in (first, own))
        if got != expected:
            raise ModelFileError(
                "models differ in their outputs",
                where=f"{side.model}, {side.engine}",
                expected=expected,
                got=got,
            )


def _closeness_of(outputs: Outputs, references: Outputs) -> dict[str, float]:
    return _closeness(*([arrays[0] for arrays in o] for o in (outputs, references)))


def _closeness(
    outputs: Sequence[NDArray[Any]], references: Sequence[NDArray[Any]]
) -> dict[str, float]:
    own, first = (np.stack(arrays).astype(np.float64) for arrays in (outputs, references))
    norms = float(np.linalg.norm(own) * np.linalg.norm(first))
    same = own.argmax(-1) == first.argmax(-1) if own.ndim > 1 and own.size else np.array([True])
    return {
        "cosine": float((own * first).sum()) / norms if norms else float(not np.any(own - first)),
        "top1": 100 * float(np.mean(same)),
    }
