"""Operators that ONNX Runtime's optimizer writes: replaced by standard nodes, coded like them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from subbyte.graph.load.network import prepare, read_network
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.write.model import write_network
from subbyte.runtime.ort import open_session, ort
from tests import tiny
from tests.graph import zoo
from tests.graph.foreign import MICROSOFT, node
from tests.graph.one_node import Array, compare, one_node, run_module, run_ort

RNG = np.random.default_rng(0)


def normal(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


IMAGE, ROWS = normal(2, 3, 6, 6), normal(2, 5, 8)
CONV = {1: normal(4, 3, 3, 3), 2: normal(4)}
GEMM = {1: normal(8, 6), 2: normal(6)}
ACTIVATIONS: list[tuple[str, list[float]]] = [
    ("Relu", []),
    ("Tanh", []),
    ("Sigmoid", []),
    ("LeakyRelu", [0.2]),
    ("Clip", [-0.3, 0.4]),
    ("HardSigmoid", [0.3, 0.6]),
]


def assert_lowered(
    op_type: str,
    inputs: list[Array | None],
    constants: dict[int, Array] | None = None,
    outputs: int = 1,
    left: tuple[str, ...] = (),
    tolerance: float = 1e-5,
    **attributes: Any,
) -> None:
    """Module and written file equal ONNX Runtime; of its own operators only ``left`` are left."""
    given = constants or {}
    inputs = [given.get(place, value) for place, value in enumerate(inputs)]
    model = one_node(op_type, inputs, 18, given, outputs, MICROSOFT, **attributes)
    fed = [x for place, x in enumerate(inputs) if x is not None and place not in given]
    expected = run_ort(model, fed)
    network = prepare(model, "net")
    compare(run_module(model, fed), expected, tolerance)
    compare(run_ort(write_network(network, {}), fed), expected, tolerance)
    domains = [made.op_type for made in network.model.graph if made.domain == MICROSOFT]
    assert tuple(domains) == left


@pytest.mark.parametrize(("name", "numbers"), ACTIVATIONS)
@pytest.mark.parametrize("summand", [False, True])
def test_fused_conv(name: str, numbers: list[float], summand: bool) -> None:
    inputs = [IMAGE, None, None, *([normal(2, 4, 3, 3)] if summand else [])]
    more: dict[str, Any] = {"activation_params": numbers} if numbers else {}
    more |= {"strides": [2, 2], "pads": [1] * 4, "kernel_shape": [3, 3]}
    assert_lowered("FusedConv", inputs, CONV, activation=name, **more)


@pytest.mark.parametrize(("name", "numbers"), [("Relu", []), ("LeakyRelu", [0.2])])
def test_fused_gemm(name: str, numbers: list[float]) -> None:
    more = {"activation_alpha": numbers[0]} if numbers else {}
    assert_lowered("FusedGemm", [ROWS[0], None, None], GEMM, activation=name, alpha=0.5, **more)


@pytest.mark.parametrize("turned", [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_fused_matmul(turned: tuple[int, int]) -> None:
    a = normal(2, 8, 5) if turned[0] else ROWS
    b = normal(6, 8) if turned[1] else normal(8, 6)
    flips = {"transA": turned[0], "transB": turned[1]}
    assert_lowered("FusedMatMul", [a, b], alpha=0.25, **flips)
    assert_lowered("FusedMatMul", [a, None], {1: b}, alpha=0.25, **flips)


@pytest.mark.parametrize(
    ("op_type", "inputs", "more"),
    [
        ("Gelu", [ROWS], {}),
        ("BiasGelu", [ROWS, normal(8)], {}),
        ("FastGelu", [ROWS], {}),
        ("FastGelu", [ROWS, normal(8)], {}),
        ("QuickGelu", [ROWS], {"alpha": 1.5}),
        ("SkipLayerNormalization", [ROWS, normal(2, 5, 8), normal(8)], {"epsilon": 1e-5}),
        (
            "SkipLayerNormalization",
            [ROWS, normal(2, 5, 8), normal(8), normal(8), normal(8)],
            {"epsilon": 1e-5},
        ),
        ("SkipSimplifiedLayerNormalization", [ROWS, normal(2, 5, 8), normal(8)], {}),
    ],
)
def test_elementwise(op_type: str, inputs: list[Array | None], more: dict[str, Any]) -> None:
    assert_lowered(op_type, inputs, **more)


@pytest.mark.parametrize("unidirectional", [0, 1])
@pytest.mark.parametrize("mask", [False, True])
def test_attention(unidirectional: int, mask: bool) -> None:
    """The product with the weight becomes a layer; scores are left to ONNX Runtime."""
    kept = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], np.int32)
    assert_lowered(
        "Attention",
        [ROWS, None, None, *([kept] if mask else [])],
        {1: normal(8, 24) / 3, 2: normal(24)},
        left=("MultiHeadAttention",),
        num_heads=2,
        unidirectional=unidirectional,
    )


def test_a_form_that_is_not_covered_stays() -> None:
    a, b = normal(5, 2, 8), normal(2, 8, 6)
    assert_lowered("FusedMatMul", [a, b], left=("FusedMatMul",), transBatchA=1)


def test_shapes_behind_an_operator_that_onnx_does_not_know() -> None:
    nodes = [
        node("MultiHeadAttention", "x x x", "d", domain=MICROSOFT, num_heads=2),
        node("MatMul", "d w", "e"),
        node("Relu", "e", "y"),
    ]
    shapes = {"x": ["N", 5, 8]}
    model = tiny.build(
        nodes, {"w": normal(8, 4)}, shapes, {"y": ["N", 5, 4]}, extra_domain=MICROSOFT
    )
    (layer,) = prepare(model, "net").layers
    source, output = layer.node.inputs[0], layer.node.outputs[0]
    assert source is not None
    assert [list(value.shape or ())[1:] for value in (source, output)] == [[5, 8], [5, 4]]
    assert source.dtype is not None


@pytest.mark.parametrize("name", ["resnet", "bert", "reader"])
def test_networks_saved_by_the_optimizer(name: str, tmp_path: Path) -> None:
    """As many layers as before, with gradients, and the same results."""
    module, make_input = zoo.make(name)
    path = zoo.export(module, make_input(2), tmp_path / "net.onnx", 17, False)
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    open_session(str(path), options)
    saved = onnx.load(options.optimized_model_filepath)
    assert any(each.domain == MICROSOFT for each in saved.graph.node)
    network = read_network(options.optimized_model_filepath)
    assert len(network.layers) == len(read_network(path).layers)
    graph = GraphModule(network).eval()
    assert all(step.row is not None for step in graph.steps)
    x = make_input(3)
    with torch.no_grad():
        compare([graph(x).numpy()], [module(x).numpy()], 1e-4)
