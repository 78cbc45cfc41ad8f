"""Latency of models side by side, in runs that take turns."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subbyte.data import InputSpec
from subbyte.errors import ModelFileError, OptionError
from subbyte.report.system import system
from subbyte.runtime import Engine, Model, load, native_isa

_WARM_UP = 3
# Metadata of a compressed file (docs/format.md).
_FORMAT_KEY = "subbyte.format"


def bench(
    paths: Sequence[str | os.PathLike[str]],
    *,
    threads: int = 1,
    runs: int = 50,
    batch: int = 1,
    shapes: Mapping[str, Sequence[int]] | None = None,
    engine: Engine | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Time models on the same random inputs, one run of each in turn.

    Outputs are checked before anything is timed: finite, and of equal shapes for all
    models. Of each model: ``engine``, ``median_ms``, ``min_ms``, ``iqr_ms`` (upper minus lower
    quartile) and ``ratio``, the median over the rounds of its time divided by the first
    model's time in the same round.

    Args:
        paths: ONNX files; all take the inputs of the first.
        threads: threads of ONNX Runtime.
        runs: timed rounds.
        batch: size of the batch dimension where the model leaves it free.
        shapes: input name -> full shape, for inputs with other free dimensions.
        engine: as `subbyte.load`; None times compressed files with both where the package
            has the native library.
        seed: of the random inputs.
        progress: called with (rounds done, rounds in all).

    Raises:
        SubbyteError: unreadable models, options out of range, shapes that are not fixed.
    """
    for name, value in (("threads", threads), ("runs", runs), ("batch", batch)):
        if value < 1:
            raise OptionError(f"{name} out of range", expected="at least 1", got=value)
    if not paths:
        raise OptionError("no models to time", expected="at least one path")
    models = [model for path in paths for model in _load(path, engine, threads)]
    _check_shape_names(models[0], shapes or {})
    feeds = _random_inputs(models[0].inputs, batch, shapes or {}, np.random.default_rng(seed))
    _check_outputs(models, feeds)
    times = _times(models, feeds, runs, progress)
    return {
        "models": [_row(model, times[:, i], times[:, 0]) for i, model in enumerate(models)],
        "runs": runs,
        "threads": threads,
        "shapes": {name: list(array.shape) for name, array in feeds.items()},
        "native_isa": native_isa() if any(m.engine == "native" for m in models) else None,
        "system": system(),
    }


def _load(path: str | os.PathLike[str], engine: Engine | None, threads: int) -> list[Model]:
    model = load(path, engine=engine, threads=threads)
    if engine is not None or model.engine == "portable":
        return [model]
    portable = load(path, engine="portable", threads=threads)
    compressed = _FORMAT_KEY in model.session.get_modelmeta().custom_metadata_map
    return [model, portable] if compressed else [portable]


def _times(
    models: Sequence[Model],
    feeds: Mapping[str, NDArray[Any]],
    runs: int,
    progress: Callable[[int, int], None] | None,
) -> NDArray[np.float64]:
    """Seconds [runs, models]."""
    times = np.empty((runs, len(models)))
    for turn in range(-_WARM_UP, runs):
        for i, model in enumerate(models):
            start = time.perf_counter()
            model.session.run(None, feeds)
            elapsed = time.perf_counter() - start
            if turn >= 0:
                times[turn, i] = elapsed
        if progress is not None and turn >= 0:
            progress(turn + 1, runs)
    return times


def _row(model: Model, own: NDArray[np.float64], first: NDArray[np.float64]) -> dict[str, Any]:
    lower, median, upper = np.percentile(1000 * own, (25, 50, 75))
    return {
        "model": str(model.path),
        "engine": model.engine,
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
) -> dict[str, NDArray[Any]]:
    """Normal numbers for float inputs; 0 and 1, which are valid tokens, for integer ones."""
    feeds = {}
    for spec in inputs:
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
        batch if i == 0 and not isinstance(size, int) else size for i, size in enumerate(spec.shape)
    )
    if not all(isinstance(size, int) for size in fixed):
        raise OptionError(
            f"input {spec.name!r} has free dimensions",
            expected=f"a shape for it, as in --shape {spec.name}=1x...",
            got=list(spec.shape),
        )
    return tuple(int(size) for size in fixed if size is not None)


def _check_outputs(models: Sequence[Model], feeds: Mapping[str, NDArray[Any]]) -> None:
    expected: list[tuple[int, ...]] | None = None
    for model in models:
        output = model.run(feeds)
        arrays = output if isinstance(output, tuple) else (output,)
        if not all(np.isfinite(array).all() for array in arrays):
            raise ModelFileError("outputs are NaN or Inf", where=str(model.path))
        got = [array.shape for array in arrays]
        if expected is not None and got != expected:
            raise ModelFileError(
                "models differ in their outputs", where=str(model.path), expected=expected, got=got
            )
        expected = got
