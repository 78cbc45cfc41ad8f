"""A machine whose times are pretended, and a network for it."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import onnx

from subbyte.compression.config import CompressOptions
from subbyte.compression.latency.machine import Machine
from subbyte.compression.latency.model import LatencyModel, latency_model
from subbyte.compression.planning.by_latency import latency_plans
from subbyte.compression.planning.coding_plan import Planned
from subbyte.compression.planning.make import make_plan
from subbyte.compression.run import Run
from subbyte.data import Samples
from subbyte.graph.load.network import prepare
from subbyte.methods import EIGHT_BITS
from subbyte.methods.product.form import ProductOptions
from subbyte.runtime.grid import DEPTHWISE, format_names
from subbyte.runtime.timings import Timings
from tests import tiny
from tests.compression.nets import normal, samples_for

MODEL = tiny.classifier(tiny.conv_weights(width=32))
SAMPLES = samples_for(MODEL, normal(0, 24, 3, 6, 6))
BESIDE = 20e-6


def timings(lookups: float = 1e-9) -> Timings:
    """A look-up costs ``lookups`` seconds, a multiply-add one nanosecond, all else nothing."""
    prices = dict.fromkeys(format_names(), (0.0, 0.0, 0.0, lookups, 0.0))
    prices |= {"int8": (0.0, 0.0, 0.0, 1e-9, 0.0), DEPTHWISE: (0.0, 0.0, 0.0, 1e-9)}
    return Timings("cpu", "avx2", "0", prices, dict.fromkeys(prices, (0.0, 0.0)))


@dataclass(frozen=True)
class Pretended(Machine):
    """Every file takes what is predicted and `BESIDE`, and longer for a while now and then.

    ``apart``: layers that are looked up take so many times what is predicted; those with
    sub-vectors of a length of ``groups`` so many times that. ``after_the_fit``: of the sub-vector
    length of conv2 and the time of a file beside the file of 8 bits, what it seems to be.
    """

    least_work: int = 1
    rest_seconds: float = 0.0
    apart: float = 1.0
    groups: Mapping[int, float] = field(default_factory=dict)
    after_the_fit: Callable[[int, float], float] | None = None
    fitted: list[bool] = field(default_factory=list)
    speeds: Iterator[float] = field(default_factory=lambda: itertools.cycle([1.0, 1.3, 2.0]))

    def timings(self, path: str | os.PathLike[str] | None) -> Timings:
        return timings()

    def measure_models(self, models: Iterable[onnx.ModelProto], samples: Samples) -> list[float]:
        slower, files = next(self.speeds), list(models)
        taken = [slower * self._seconds(written) for written in files]
        # The fit ends with the file of 8 bits alone.
        if len(files) == 1:
            self.fitted.append(True)
        elif self.fitted and self.after_the_fit is not None:
            group = sub_vector_length(files[1], "conv2")
            assert group is not None
            taken[1] = self.after_the_fit(group, taken[1] / taken[0]) * taken[0]
        return taken

    def _seconds(self, written: onnx.ModelProto) -> float:
        model, total = predicted(self.least_work), BESIDE
        for layer in model.layers:
            group = sub_vector_length(written, layer.name)
            if group is None:
                total += model.seconds(layer.weight, EIGHT_BITS)
            else:
                factor = self.apart * self.groups.get(group, 1.0)
                total += factor * model.seconds(layer.weight, ProductOptions(group))
        return total


@functools.cache
def predicted(least_work: int) -> LatencyModel:
    return latency_model(Run(prepare(MODEL, "net"), SAMPLES), timings(), least_work)


def sub_vector_length(written: onnx.ModelProto, layer: str) -> int | None:
    """Of the layer's codes, where it is looked up."""
    node = next(node for node in written.graph.node if node.name == layer)
    books = [t for t in written.graph.initializer if t.name in node.input and "book" in t.name]
    looked_up = any(attribute.name == "table_shift" for attribute in node.attribute)
    return int(books[0].dims[2]) if looked_up and books else None


def planned(machine: Machine, rounds: int | None = None, **wishes: object) -> Planned:
    """The plan of `MODEL` on ``machine``; ``rounds``: as of `latency_plans`."""
    options = CompressOptions(**wishes)  # type: ignore[arg-type]
    run = Run(prepare(MODEL, "net"), SAMPLES, options)
    if rounds is None:
        return make_plan(run, machine)
    assert options.budget is not None
    return latency_plans(run, options.budget, machine, rounds).least_harm()
