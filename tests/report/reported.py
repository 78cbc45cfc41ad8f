"""A small network, its compressed file and samples, for the tests of reports."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subbyte.graph.islands.plan import plan_islands
from subbyte.graph.load.network import read_network
from subbyte.graph.network import Network
from subbyte.graph.quant_params import QuantParams
from subbyte.graph.write.model import write_network
from subbyte.methods import CodedWeight
from tests import tiny
from tests.graph.coding import calibrate, code_network, coded_module


@dataclass(frozen=True)
class Pair:
    """A float file, a compressed one, and what went into it."""

    reference: Path
    model: Path
    network: Network
    coded: dict[str, CodedWeight]
    samples: NDArray[np.float32]
    labels: NDArray[np.int64]


def make_pair(folder: Path, method: str = "gain", tight: float = 1.0, **options: Any) -> Pair:
    """`tiny.classifier` with coded weights and 8-bit activations, whose ranges are ``tight``
    times what the samples need."""
    reference = tiny.save(tiny.classifier(), folder / "net.onnx")
    rng = np.random.default_rng(3)
    samples = rng.standard_normal((24, 3, 6, 6)).astype(np.float32)
    network = read_network(reference)
    coded = code_network(network, method, **options)
    plan = plan_islands(network)
    params = calibrate(coded_module(network, coded), plan, {"input": samples})
    params = {k: QuantParams(tight * p.scale, p.zero_point) for k, p in params.items()}
    model = write_network(network, coded, None, plan, activations=params)
    small = tiny.save(model, folder / "small.onnx")
    return Pair(reference, small, network, coded, samples, np.arange(24) % tiny.CLASSES)
