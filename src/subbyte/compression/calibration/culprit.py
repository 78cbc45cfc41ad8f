"""Which sample a network cannot run on, or is NaN or Inf for, and at which node.

Passes over samples check nothing that costs time. A step that fails raises `RunError`; so does code
that adds up the inputs of layers and finds no numbers. Only then the samples are run one by one,
node by node.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from subbyte.data import Samples
from subbyte.errors import RunError
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.module.steps import Step
from subbyte.graph.network import Network

OVERFLOWS = 1e15
"""A magnitude of which squares, added up over rows and samples, may leave float32."""

_WAY_OUT = "samples that the network takes: leave this one out, or mend it"
_OTHER_AXIS = (
    "; give `batch_axes={'NAME': K}` where all samples fail because the batch is on axis K"
)


@contextmanager
def blaming(network: Network, samples: Samples) -> Iterator[None]:
    """A `RunError` within names the first of ``samples`` that the float network fails on.

    The error is unchanged where every sample by itself is good.
    """
    try:
        yield
    except RunError as error:
        found = culprit(network, samples)
        if found is None:
            raise
        raise found from error


@torch.no_grad()
def culprit(network: Network, samples: Samples) -> RunError | None:
    """The error of the first sample that fails; None if there is none.

    A sample fails if it cannot run, or if a layer reads or writes NaN or Inf. If none does, the
    sample with the largest value there counts, where that value overflows when squares are added.
    """
    module = GraphModule(network).eval()
    layers = {name for layer in network.layers for name in (layer.input, layer.output)}
    largest = _Largest(0.0, "", "")
    for number, place in enumerate(samples.places):
        batch = next(samples.select([number]).batches(1))
        try:
            found, most = _first_not_finite(module, layers, batch)
        except RunError as error:
            return RunError(
                error.what,
                where=f"{samples.title(place)}, {error.where}",
                expected=_WAY_OUT + _OTHER_AXIS,
                got=error.got,
            )
        if found is not None:
            what, where = found
            at = f"{samples.title(place)}, {where}"
            return RunError(f"{what} inside the network", where=at, expected=_WAY_OUT)
        if most.value > largest.value:
            largest = replace(most, sample=samples.title(place))
    if largest.value < OVERFLOWS:
        return None
    return RunError(
        "a value too large to compute with: sums of squares overflow",
        where=f"{largest.sample}, {largest.where}",
        expected=_WAY_OUT,
        got=f"{largest.value:.3g}",
    )


@dataclass(frozen=True)
class _Largest:
    """The largest magnitude that a layer reads or writes, and where that is.

    Of several magnitudes that overflow in one sample, the first counts.
    """

    value: float
    where: str
    sample: str


def _first_not_finite(
    module: GraphModule, layers: set[str], batch: Mapping[str, object]
) -> tuple[tuple[str, str] | None, _Largest]:
    """(NaN or Inf, the node and value) where a NaN first comes up, or an Inf that a layer meets;
    and the largest value that a layer meets until then.

    Infinities by themselves are no fault: masks of attention are made of them.
    """
    values = {name: torch.as_tensor(array) for name, array in batch.items()}
    most = _Largest(0.0, "", "")
    for name in layers & values.keys():
        most = _larger(most, values[name], f"input {name!r}")
    first_inf: str | None = None
    for _, step, _, after in module.walk(values):
        for name in step.outputs:
            value = after.get(name)
            if value is None or not value.is_floating_point():
                continue
            if bool(value.isnan().any()):
                return ("NaN", _said(step, name, value)), most
            if bool(value.isinf().any()):
                first_inf = first_inf or _said(step, name, value)
                if name in layers:
                    return ("Inf", first_inf), most
            elif name in layers:
                most = _larger(most, value, _said(step, name, value))
    return None, most


def _larger(most: _Largest, value: Tensor, where: str) -> _Largest:
    magnitude = float(value.abs().max()) if value.numel() else 0.0
    larger = magnitude > most.value and most.value < OVERFLOWS
    return _Largest(magnitude, where, "") if larger else most


def _said(step: Step, name: str, value: Tensor) -> str:
    return f"{step.label}, value {name!r} {list(value.shape)}"


def check_finite(value: Tensor, where: str) -> None:
    """Raise `RunError` unless sums of a layer's inputs or outputs are finite."""
    if not bool(torch.isfinite(value).all()):
        raise RunError(
            "NaN or Inf inside the network", where=where, expected="finite values for all samples"
        )
