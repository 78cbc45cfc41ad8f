"""A network written with its codes and plan, and what its file must compute."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch

from subbyte.graph.islands.plan import IslandPlan, plan_islands
from subbyte.graph.load.network import read_network
from subbyte.graph.network import Network
from subbyte.graph.quant_params import QuantParams
from subbyte.graph.write.model import write_network
from subbyte.methods import CodedWeight
from tests.graph import zoo
from tests.graph.builder import Builder
from tests.graph.coding import (
    calibrate,
    code_network,
    coded_module,
    session,
    simulate,
    values_of,
)


class Case:
    """A network, its codes, plan and parameters, and samples."""

    def __init__(self, network: Network, inputs: dict[str, np.ndarray], method: str) -> None:
        self.network, self.inputs = network, inputs
        self.coded: dict[str, CodedWeight] = code_network(network, method)
        self.plan: IslandPlan = plan_islands(network)
        self.module = coded_module(network, self.coded)
        self.params: dict[str, QuantParams] = calibrate(self.module, self.plan, inputs)
        self.model = write_network(network, self.coded, None, self.plan, self.params)

    def simulated(self) -> list[np.ndarray]:
        # oneDNN sums in an order of its own, by which one code in many thousands rounds the other
        # way; in twenty layers that is enough to be seen.
        torch.backends.mkldnn.enabled = False
        try:
            env = simulate(self.network, self.module, self.plan, self.params, self.inputs)
        finally:
            torch.backends.mkldnn.enabled = True
        return [env[v.name or ""].numpy() for v in self.network.model.graph.outputs]

    def exact(self) -> list[np.ndarray]:
        env = values_of(self.module, self.inputs)
        return [env[v.name or ""].numpy() for v in self.network.model.graph.outputs]


@functools.cache
def image_net(name: str, method: str = "gain") -> Case:
    module, make_input = zoo.make(name)
    with tempfile.TemporaryDirectory() as folder:
        path = zoo.export(module, make_input(2), Path(folder) / f"{name}.onnx", 17, dynamo=False)
        network = read_network(path)
    return Case(network, {"x": make_input(3).numpy()}, method)


def built(b: Builder, /, method: str = "scalar", **outputs: int) -> Case:
    return Case(b.network(**outputs), b.samples(), method)


def run(model: onnx.ModelProto, case: Case, optimize: bool = True) -> list[np.ndarray]:
    return session(model, optimize=optimize).run(None, case.inputs)


def assert_computes_the_plan(case: Case) -> None:
    """Equal to the simulation, up to sums in another order that round the other way.

    The unoptimized graph computes as the simulation does; integer operators round the
    bias, and each value once, so that some codes differ by one. ``step``: what rounding
    to eight bits changes at all.
    """
    expected, exact = case.simulated(), case.exact()
    for optimize, share in ((False, 0.1), (True, 0.5)):
        outputs = run(case.model, case, optimize)
        for y, simulated, ideal in zip(outputs, expected, exact, strict=True):
            step = np.abs(simulated - ideal).max()
            difference = np.abs(y - simulated)
            assert difference.max() <= 2 * step + 1e-5
            assert difference.mean() <= share * step + 1e-6
