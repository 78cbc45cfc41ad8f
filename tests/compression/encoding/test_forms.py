"""Small networks of every form that people bring: what is written computes what was read.

At 8 bits a weight, on both engines, to a thousandth of the outputs' variance.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import subbyte
from tests.graph.one_node import run_ort

Array = NDArray[Any]
RNG = np.random.default_rng(0)
SAMPLES, PLENTY = 24, 10_000_000


def normal(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def weight(*shape: int) -> Array:
    return normal(*shape) / np.float32(np.sqrt(np.prod(shape[1:])))


def ints(*entries: int) -> Array:
    return np.array(entries, np.int64)


def node(op_type: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op_type, inputs.split(), [output], f"{output}_node", **attributes)


def model_of(
    nodes: list[onnx.NodeProto],
    constants: Mapping[str, Array],
    shape: list[int | str | None],
    kind: int = TensorProto.FLOAT,
    outputs: tuple[str, ...] = ("y",),
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "form",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info(name, kind, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def assert_compresses(model: onnx.ModelProto, x: Array, folder: Path, limit: float = 1e-3) -> None:
    path = folder / "small.onnx"
    subbyte.compress(model, path, x, method="scalar", size=PLENTY)
    fed = x[:3]
    exact = run_ort(model, [fed])
    for engine in ("portable", "native"):
        session = subbyte.load(path, engine=engine, threads=1).session
        for got, wanted in zip(session.run(None, {"x": fed}), exact, strict=True):
            assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype)
            error = np.square(got.astype(np.float64) - wanted).mean()
            assert error <= limit * wanted.astype(np.float64).var()


# Windows


def window_net(op_type: str, free: bool, rank: int, **attributes: Any) -> onnx.ModelProto:
    """Conv 1x, Relu, the operator with kernel 3, Relu, Conv 1x."""
    ones, groups = [1] * rank, attributes.get("group", 1)
    kernel = weight(8, 8 // groups, *[3] * rank)
    constants = {"w0": weight(8, 4, *ones), "w": kernel, "b": normal(8), "w2": weight(5, 8, *ones)}
    nodes = [
        node("Conv", "x w0", "a"),
        node("Relu", "a", "r"),
        node(op_type, "r w b", "c", **attributes),
        node("Relu", "c", "s"),
        node("Conv", "s w2", "y"),
    ]
    sizes = [f"size{axis}" if free else size for axis, size in enumerate([9, 7, 5][:rank])]
    return model_of(nodes, constants, ["N", 4, *sizes])


WINDOWS = [
    ("Conv", {"auto_pad": "SAME_UPPER", "strides": 2}),
    ("Conv", {"auto_pad": "SAME_LOWER", "strides": 3}),
    ("Conv", {"auto_pad": "VALID", "strides": 4}),
    ("Conv", {"group": 8, "auto_pad": "SAME_UPPER"}),
    ("ConvTranspose", {"auto_pad": "SAME_UPPER", "strides": 2}),
    ("ConvTranspose", {"auto_pad": "SAME_LOWER", "strides": 4}),
    ("ConvTranspose", {"auto_pad": "SAME_UPPER", "strides": 2, "output_padding": 1}),
    ("ConvTranspose", {"auto_pad": "SAME_LOWER", "strides": 2, "output_padding": 1}),
    ("ConvTranspose", {"strides": 2, "output_shape": [20, 15, 11]}),
    ("ConvTranspose", {"strides": 2, "output_shape": [18, 14, 10], "auto_pad": "SAME_UPPER"}),
    ("ConvTranspose", {"strides": 2, "group": 2, "output_padding": 1, "dilations": 2}),
]


@pytest.mark.parametrize(("op_type", "attributes"), WINDOWS)
@pytest.mark.parametrize(("rank", "free"), [(1, True), (2, False)])
def test_windows(
    op_type: str, attributes: dict[str, Any], rank: int, free: bool, tmp_path: Path
) -> None:
    listed = {
        key: [value] * rank if isinstance(value, int) and key != "group" else value
        for key, value in attributes.items()
    }
    if "output_shape" in listed:
        listed["output_shape"] = listed["output_shape"][:rank]
    model = window_net(op_type, free, rank, **listed)
    assert_compresses(model, normal(SAMPLES, 4, *[9, 7, 5][:rank]), tmp_path, 3e-3)


@pytest.mark.parametrize("op_type", ["Conv", "ConvTranspose"])
def test_windows_of_three_axes(op_type: str, tmp_path: Path) -> None:
    model = window_net(op_type, True, 3, auto_pad="SAME_UPPER", strides=[2] * 3)
    assert_compresses(model, normal(SAMPLES, 4, 9, 7, 5), tmp_path, 3e-3)


# Where the batch lies

W1, W2, BIAS = weight(16, 16), weight(16, 10), normal(16)
ROWS, TOKENS = ["N", 16], ["N", 6, 16]
RIGHT, LEFT = {"w1": W1, "w2": W2}, {"w1": W1, "w2": W2.T.copy()}

LAYOUTS: dict[str, tuple[list[onnx.NodeProto], dict[str, Array], list[int | str | None]]] = {
    "last axis of rows, weight on the left": (
        [
            node("Transpose", "x", "t", perm=[1, 0]),
            node("MatMul", "w1 t", "a"),
            node("Add", "a column", "b"),
            node("Relu", "b", "r"),
            node("MatMul", "w2 r", "c"),
            node("Transpose", "c", "y", perm=[1, 0]),
        ],
        LEFT | {"column": BIAS[:, None].copy()},
        ["N", 16],
    ),
    "last axis of an output": (
        [node("Gemm", "w1 x", "a", transB=1), node("Relu", "a", "r"), node("MatMul", "w2 r", "y")],
        LEFT,
        ["N", 16],
    ),
    "last axis, with a residual": (
        [
            node("Transpose", "x", "t", perm=[1, 0]),
            node("MatMul", "w1 t", "a"),
            node("Add", "a t", "s"),
            node("Relu", "s", "r"),
            node("MatMul", "w3 r", "c"),
            node("Add", "c s", "e"),
            node("Transpose", "e", "f", perm=[1, 0]),
            node("MatMul", "f w2", "y"),
        ],
        RIGHT | {"w3": weight(16, 16)},
        ["N", 16],
    ),
    "last axis of three": (
        [
            node("Transpose", "x", "t", perm=[1, 2, 0]),
            node("MatMul", "w1 t", "a"),
            node("Relu", "a", "r"),
            node("MatMul", "w2 r", "c"),
            node("Transpose", "c", "y", perm=[2, 0, 1]),
        ],
        LEFT,
        ["N", 6, 16],
    ),
    "second axis": (
        [
            node("Transpose", "x", "t", perm=[1, 0, 2]),
            node("MatMul", "t w1", "a"),
            node("Relu", "a", "r"),
            node("MatMul", "r w2", "y"),
        ],
        RIGHT,
        ["N", 6, 16],
    ),
    "merged with tokens": (
        [
            node("Reshape", "x rows", "t"),
            node("Gemm", "t w1 bias", "a"),
            node("Relu", "a", "r"),
            node("MatMul", "r w2", "c"),
            node("Reshape", "c tokens", "y"),
        ],
        RIGHT | {"bias": BIAS, "rows": ints(-1, 16), "tokens": ints(-1, 6, 10)},
        ["N", 6, 16],
    ),
    "width of one image": (
        [
            node("Transpose", "x", "t", perm=[1, 0]),
            node("Unsqueeze", "t outer", "u"),
            node("Conv", "u k", "a"),
            node("Relu", "a", "r"),
            node("Squeeze", "r outer", "q"),
            node("Transpose", "q", "p", perm=[1, 0]),
            node("MatMul", "p w2", "y"),
        ],
        {"k": weight(16, 16, 1, 1), "outer": ints(0, 2), "w2": W2},
        ["N", 16],
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_of_the_batch(name: str, tmp_path: Path) -> None:
    nodes, constants, shape = LAYOUTS[name]
    sizes = [size for size in shape if isinstance(size, int)]
    assert_compresses(model_of(nodes, constants, shape), normal(SAMPLES, *sizes), tmp_path)


# Types and outputs


def test_half_precision(tmp_path: Path) -> None:
    nodes = [
        node("Conv", "x k", "a", pads=[1] * 4),
        node("Relu", "a", "r"),
        node("Conv", "r l", "y"),
    ]
    constants = {"k": weight(8, 4, 3, 3), "l": weight(6, 8, 1, 1)}
    halves = {name: array.astype(np.float16) for name, array in constants.items()}
    model = model_of(nodes, halves, ["N", 4, 8, 8], TensorProto.FLOAT16)
    assert_compresses(model, normal(SAMPLES, 4, 8, 8).astype(np.float16), tmp_path)


def test_outputs_that_are_inputs_constants_or_read_again(tmp_path: Path) -> None:
    nodes = [node("MatMul", "x w1", "a"), node("Relu", "a", "r"), node("MatMul", "r w2", "y")]
    model = model_of(nodes, RIGHT, ["N", 16], outputs=("y", "x", "w1", "r"))
    assert_compresses(model, normal(SAMPLES, 16), tmp_path)


@pytest.mark.parametrize("opset", [7, 10])
def test_networks_of_old_operator_sets(opset: int, tmp_path: Path) -> None:
    """Attributes where there are inputs now, initializers that are inputs, no shapes between."""
    scales = np.array([1, 1, 2, 2], np.float32)
    grow = node("Upsample", "b", "u", scales=list(scales), mode="linear")
    constants = {
        "k": weight(8, 4, 3, 3),
        "gamma": np.abs(normal(8)),
        "beta": normal(8),
        "mean": normal(8),
        "var": np.abs(normal(8)) + 1,
        "l": weight(10, 8, 3, 3),
    }
    if opset == 10:
        grow, constants["scales"] = node("Resize", "b scales", "u", mode="linear"), scales
    nodes = [
        node("Conv", "x k", "a", pads=[1] * 4),
        node("BatchNormalization", "a gamma beta mean var", "b"),
        grow,
        node("Clip", "u", "c", min=0.0, max=6.0),
        node("Dropout", "c", "d", ratio=0.5),
        node("Conv", "d l", "e", auto_pad="SAME_UPPER", strides=[2, 2]),
        node("GlobalAveragePool", "e", "f"),
        node("Softmax", "f", "g"),
        node("Squeeze", "g", "y", axes=[2, 3]),
    ]
    model = model_of(nodes, constants, ["N", 4, 8, 8])
    model.graph.input.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape)
        for name, array in constants.items()
    )
    model.opset_import[0].version, model.ir_version = opset, 3
    assert_compresses(model, normal(SAMPLES, 4, 8, 8), tmp_path)
