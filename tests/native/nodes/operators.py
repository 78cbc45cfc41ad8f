"""Models of one ``subbyte`` node, run by stock onnxruntime and by the native library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import subbyte
from subbyte.graph.functions.body import DOMAIN
from subbyte.graph.functions.layer import TABLE_SHIFT, layer_function, weight_functions
from subbyte.methods import METHODS, CodedWeight, binarization_of

OPSET = 18
_TYPES = {
    np.dtype(np.uint8): TensorProto.UINT8,
    np.dtype(np.int8): TensorProto.INT8,
    np.dtype(np.float32): TensorProto.FLOAT,
    np.dtype(np.float16): TensorProto.FLOAT16,
}


@dataclass
class Node:
    """A node, its constants and its feeds by input name; parts may be changed to break it."""

    functions: list[onnx.FunctionProto]
    constants: dict[str, NDArray[Any]]
    feeds: dict[str, NDArray[Any]]
    attributes: dict[str, Any] = field(default_factory=dict)
    output: int = TensorProto.UINT8
    name: str = "layer"

    @property
    def function(self) -> onnx.FunctionProto:
        """The function of the node's type."""
        return self.functions[-1]

    def model(self) -> onnx.ModelProto:
        """The model; inputs have free dimensions."""
        inputs = list(self.function.input)
        node = helper.make_node(
            self.function.name, inputs, ["y"], name=self.name, domain=DOMAIN, **self.attributes
        )
        graph = helper.make_graph(
            [node],
            "one",
            [
                helper.make_tensor_value_info(name, _TYPES[x.dtype], [None] * x.ndim)
                for name, x in self.feeds.items()
            ],
            [helper.make_tensor_value_info("y", self.output, None)],
            [
                numpy_helper.from_array(np.asarray(self.constants[name]), name)
                for name in inputs
                if name in self.constants
            ],
        )
        imports = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)]
        return helper.make_model(
            graph, opset_imports=imports, functions=self.functions, ir_version=10
        )

    def run(self, native: bool, threads: int = 1) -> NDArray[Any]:
        """The output."""
        session = open_model(self.model().SerializeToString(), native, threads)
        (y,) = session.run(None, self.feeds)
        return np.asarray(y)


def open_model(model: bytes, native: bool, threads: int = 1) -> onnxruntime.InferenceSession:
    """A session, with or without the native library."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    if native:
        options.register_custom_ops_library(str(subbyte.library_path()))
    return onnxruntime.InferenceSession(
        model, options, providers=["CPUExecutionProvider"], enable_fallback=0
    )


def layer(
    coded: CodedWeight,
    op: str,
    form: str,
    feeds: dict[str, NDArray[Any]],
    window: Mapping[str, object],
    quantization: Mapping[str, tuple[float, int]],
    shift: int | None = None,
) -> Node:
    """The node of a coded layer; ``quantization`` of x, y, r, m. Its bias: about 0.1, 0.2 ..."""
    unpack = weight_functions(coded.method, coded.variant, list(coded.inputs), OPSET)
    function = layer_function(unpack[-1], op, form, OPSET, binarization_of(coded))
    # Whole steps of what onnxruntime rounds a bias to, so that its rounding changes nothing.
    step = quantization["x"][0] * METHODS[coded.method].scale(coded)
    wished = 0.1013 * np.arange(1, coded.shape.outputs + 1)
    bias = (np.rint(wished / step) * step).astype(np.float32)
    constants = {**coded.inputs, "bias": bias, **parameters(quantization)}
    attributes = {**coded.attributes, **window}
    if shift is not None:
        attributes[TABLE_SHIFT] = shift
    output = TensorProto.FLOAT if form == "Dequant" else TensorProto.UINT8
    return Node([*unpack, function], constants, feeds, attributes, output)


def parameters(quantization: Mapping[str, tuple[float, int]]) -> dict[str, NDArray[Any]]:
    """x -> (scale, zero) as the arrays x_scale and x_zero."""
    arrays: dict[str, NDArray[Any]] = {}
    for name, (scale, zero) in quantization.items():
        arrays[f"{name}_scale"] = np.asarray(scale, np.float32)
        arrays[f"{name}_zero"] = np.asarray(zero, np.uint8)
    return arrays


def assert_close(actual: NDArray[Any], expected: NDArray[Any], share: float = 0.02) -> None:
    """Codes equal but for rounding: one step, in at most this share of them."""
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    difference = np.abs(actual.astype(int) - expected.astype(int))
    assert difference.max() <= 1
    assert (difference > 0).mean() <= share


def random_codes(shape: Sequence[int], low: int, high: int, seed: int = 0) -> NDArray[np.uint8]:
    """uint8 in low .. high, both ends included."""
    return np.random.default_rng(seed).integers(low, high + 1, shape).astype(np.uint8)


def refusal(node: Node) -> str:
    """The library's message on opening the model."""
    with pytest.raises(Exception, match="subbyte") as caught:
        open_model(node.model().SerializeToString(), native=True)
    message = str(caught.value)
    return message[message.index("subbyte ") :]
