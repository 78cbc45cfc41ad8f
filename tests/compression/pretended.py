"""A machine whose times are pretended, and a network for it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping

import onnx
import pytest

from subbyte.compression.config import CompressOptions
from subbyte.compression.latency import model as latency
from subbyte.compression.latency.model import latency_model
from subbyte.compression.planning import by_latency as plan_latency
from subbyte.compression.planning import latency_fit
from subbyte.compression.planning.coding_plan import Planned
from subbyte.compression.planning.make import make_plan
from subbyte.compression.run import Run
from subbyte.graph.load.network import prepare
from subbyte.methods import EIGHT_BITS
from subbyte.methods.product.form import ProductOptions
from subbyte.runtime.grid import DEPTHWISE, form_names
from subbyte.runtime.timings import Timings
from tests import tiny
from tests.compression.nets import normal, samples_for

MODEL = tiny.classifier(tiny.conv_weights(width=32))
SAMPLES = samples_for(MODEL, normal(0, 24, 3, 6, 6))
BESIDE = 20e-6


def timings(lookups: float = 1e-9) -> Timings:
    """A look-up costs ``lookups`` seconds, a multiply-add one nanosecond, all else nothing."""
    prices = dict.fromkeys(form_names(), (0.0, 0.0, 0.0, lookups, 0.0))
    prices |= {"int8": (0.0, 0.0, 0.0, 1e-9, 0.0), DEPTHWISE: (0.0, 0.0, 0.0, 1e-9)}
    return Timings("cpu", "avx2", "0", prices, dict.fromkeys(prices, (0.0, 0.0)))


def pretend(
    monkeypatch: pytest.MonkeyPatch, apart: float = 1.0, groups: Mapping[int, float] | None = None
) -> None:
    """Every file takes what is predicted and `BESIDE`, and longer for a while now and then; layers
    that are looked up take ``apart`` times what is predicted, those with words of the length of
    one of ``groups`` so many times that."""
    monkeypatch.setattr(plan_latency, "load_timings", lambda path: timings())
    monkeypatch.setattr(latency, "LEAST_WORK", 1)
    monkeypatch.setattr(latency, "_REST_SECONDS", 0.0)
    model = latency_model(Run(prepare(MODEL, "net"), SAMPLES), timings())

    def taken(written: onnx.ModelProto) -> float:
        total = BESIDE
        for node in written.graph.node:
            found = [layer for layer in model.layers if layer.name == node.name]
            for layer in found:
                length = next((a.i for a in node.attribute if a.name == "table_shift"), None)
                book = next(
                    (
                        t
                        for t in written.graph.initializer
                        if t.name in node.input and "book" in t.name
                    ),
                    None,
                )
                looked_up = length is not None and book is not None
                options = ProductOptions(book.dims[2] if looked_up and book else 1)
                coded = options if looked_up else EIGHT_BITS
                factor = apart * (groups or {}).get(options.group, 1.0) if looked_up else 1
                total += factor * model.seconds(layer.weight, coded)
        return total

    speeds = itertools.cycle([1.0, 1.3, 2.0])

    def measured(files: Iterable[onnx.ModelProto], samples: object) -> list[float]:
        slower = next(speeds)
        return [slower * taken(written) for written in files]

    monkeypatch.setattr(latency_fit, "measure_models", measured)


def planned(**wishes: object) -> Planned:
    options = CompressOptions(**wishes)  # type: ignore[arg-type]
    return make_plan(Run(prepare(MODEL, "net"), SAMPLES, options))
