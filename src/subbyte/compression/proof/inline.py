"""From a compressed file to one of standard operators, which is tried before it has its name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subbyte.compression.proof.blame import guilty_node
from subbyte.compression.proof.prove import differs, refused
from subbyte.compression.proof.tally import Tally
from subbyte.data import Batch, InputSpec
from subbyte.errors import ModelFileError, ProofError, SubbyteError
from subbyte.files import pending
from subbyte.graph.compressed.inline import inline
from subbyte.graph.functions.body import DOMAIN
from subbyte.graph.load.model_file import parse_model
from subbyte.option_types import checked
from subbyte.outputs import check_apart
from subbyte.runtime import Model, load

SIZES = (32, 64, 224, 16, 8, 128, 1)
BATCHES = (1, 3)
MOST_ERROR = 0.01
"""The largest squared error over the variance. Both files compute the same, but round to 8 bits at
different times."""


@dataclass(frozen=True)
class Inlined:
    """``error``: the most, of all outputs, that the inlined file is off, squared and over the
    variance. It was run with made-up inputs of these ``shapes``; None, both: with no size that
    was tried does the network run, so that the file was opened only."""

    path: Path
    error: float | None
    shapes: dict[str, list[int]] | None


@checked
def inline_file(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    sizes: Sequence[int] = SIZES,
) -> Inlined:
    """Inline the file ``source`` into the file ``output``.

    ``output`` takes its name when ONNX Runtime has opened it and, on made-up inputs, it has
    computed the same as ``source`` there. ``sizes``: sizes to try for free dimensions but the
    batch, until the network takes one.

    Raises:
        ModelFileError: not ONNX, truncated, no subbyte layers; ONNX Runtime cannot open it.
        ProofError: a file that cannot be opened or run, or computes something else.
        OutputError: the output cannot be written.
    """
    target, file = Path(output), Path(source)
    check_apart([target], [file])
    model = parse_model(file)
    if not any(node.domain == DOMAIN for node in model.graph.node):
        raise ModelFileError(
            "nothing to inline", where=str(source), expected="a network with subbyte layers"
        )
    original = load(file, engine="portable")
    batches, wanted = _first_that_runs(original, sizes)
    del original
    with pending(target, inline(model).SerializeToString(deterministic=True)) as path:
        error = _try(path, str(target), batches, wanted)
    if not batches:
        return Inlined(target, None, None)
    return Inlined(target, error, {k: list(v.shape) for k, v in batches[-1].items()})


Outputs = list[NDArray[Any]]


def _first_that_runs(model: Model, sizes: Sequence[int]) -> tuple[list[Batch], list[Outputs]]:
    """Inputs that ``model`` takes, and its outputs for them; none if it takes none of ours."""
    for size in sizes:
        batches, found = [], []
        for count in BATCHES:
            batch = made_up(model.inputs, count, size)
            try:
                outputs = model.run(batch)
            except SubbyteError:
                break
            batches.append(batch)
            found.append(list(outputs) if isinstance(outputs, tuple) else [outputs])
        if found:
            return batches, found
    return [], []


def made_up(inputs: Sequence[InputSpec], count: int, size: int) -> Batch:
    """Normal numbers for float inputs; 0 and 1, which are valid tokens, for the others. Free
    dimensions are ``count`` on the batch's axis, else ``size``."""
    rng = np.random.default_rng(0)
    batch = Batch({}, count)
    for spec in inputs:
        free = [count if axis == spec.axis else size for axis in range(len(spec.shape))]
        shape = [d if isinstance(d, int) else f for d, f in zip(spec.shape, free, strict=True)]
        if spec.dtype.kind == "f":
            batch[spec.name] = rng.standard_normal(shape).astype(spec.dtype)
        else:
            batch[spec.name] = rng.integers(0, 2, shape).astype(spec.dtype)
    return batch


def _try(
    path: Path, name: str, batches: Sequence[Batch], wanted: Sequence[Outputs]
) -> float | None:
    """The error of the written file; raises `ProofError`."""
    try:
        model = load(path, engine="portable")
    except ModelFileError as error:
        raise _refused("open", path, name, error, None) from error
    tallies = [Tally() for _ in model.outputs]
    for batch, exact in zip(batches, wanted, strict=True):
        try:
            outputs = model.run(batch)
        except SubbyteError as error:
            raise _refused("run", path, name, error, batch) from error
        found = list(outputs) if isinstance(outputs, tuple) else [outputs]
        expected, got = ([(x.dtype.name, x.ndim) for x in each] for each in (exact, found))
        if got != expected:
            raise differs("form of outputs", name, expected, got)
        for tally, one, other in zip(tallies, exact, found, strict=True):
            tally.add(one, other)
    errors = [d.error for tally in tallies if (d := tally.divergence()) is not None]
    worst = max(errors, default=None)
    if worst is not None and not worst <= MOST_ERROR:
        raise differs("result", name, f"squared error of {MOST_ERROR} of the variance", worst)
    return worst


def _refused(
    what: str, path: Path, name: str, error: SubbyteError, feeds: Batch | None
) -> ProofError:
    node = guilty_node(path, "portable", feeds)
    said = str(error.got or error).replace(str(path), name)
    return refused(f"ONNX Runtime cannot {what}", name if node is None else f"node {node}", said)
