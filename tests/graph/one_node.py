"""One-node models, run by ONNX Runtime and by the graph module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from subbyte.graph.load.network import prepare
from subbyte.graph.module.graph_module import GraphModule

Array = NDArray[Any]
IR_VERSIONS = {7: 3, 8: 3, 9: 4, 10: 5, 11: 6, 12: 7, 13: 7, 14: 7, 15: 8, 16: 8, 17: 8, 18: 8}
IR_VERSIONS |= {19: 9, 20: 9, 21: 10, 22: 10}


def one_node(
    op_type: str,
    inputs: Sequence[Array | None],
    opset: int = 18,
    constants: Mapping[int, Array] | None = None,
    outputs: int = 1,
    domain: str = "",
    **attributes: Any,
) -> onnx.ModelProto:
    """A model with one node; ``inputs`` by position, those in ``constants`` as initializers."""
    constants = constants or {}
    names = [
        "" if value is None and place not in constants else f"x{place}"
        for place, value in enumerate(inputs)
    ]
    results = [f"y{place}" for place in range(outputs)]
    node = helper.make_node(op_type, names, results, name="node", domain=domain, **attributes)
    graph = helper.make_graph(
        [node],
        "one_node",
        [
            helper.make_tensor_value_info(
                name,
                helper.np_dtype_to_tensor_dtype(value.dtype),
                [f"{name}_{axis}" for axis in range(value.ndim)],
            )
            for place, (name, value) in enumerate(zip(names, inputs, strict=True))
            if value is not None and place not in constants
        ],
        [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in results],
        [numpy_helper.from_array(value, f"x{place}") for place, value in constants.items()],
    )
    for output in graph.output:
        output.ClearField("type")
    imports = [helper.make_opsetid("", opset)]
    imports += [helper.make_opsetid(domain, 1)] if domain else []
    model = helper.make_model(graph, opset_imports=imports)
    model.ir_version = IR_VERSIONS.get(opset, 11)
    return onnx.shape_inference.infer_shapes(model)


def run_ort(model: onnx.ModelProto, inputs: Sequence[Array]) -> list[Array]:
    """Outputs of ONNX Runtime, without its optimizations, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    names = [entry.name for entry in session.get_inputs()]
    fed = {name: np.asarray(value) for name, value in zip(names, inputs, strict=True)}
    return session.run(None, fed)


def run_module(model: onnx.ModelProto, inputs: Sequence[Array]) -> list[Array]:
    """Outputs of the graph module."""
    module = GraphModule(prepare(model, "test")).eval()
    with torch.no_grad():
        result = module(*(torch.from_numpy(np.array(value)) for value in inputs))
    results = result if isinstance(result, (tuple, list)) else [result]
    return [value.detach().numpy() for value in results]


def check(
    op_type: str,
    inputs: Sequence[Array | None],
    opset: int = 18,
    constants: Mapping[int, Array] | None = None,
    tolerance: float = 1e-5,
    **more: Any,
) -> None:
    """Assert that the module equals ONNX Runtime in values, shapes and element types."""
    model = one_node(op_type, inputs, opset, constants, **more)
    fed = [
        value
        for place, value in enumerate(inputs)
        if value is not None and place not in (constants or {})
    ]
    compare(run_module(model, fed), run_ort(model, fed), tolerance)


def compare(got: Sequence[Array], expected: Sequence[Array], tolerance: float = 1e-5) -> None:
    """Assert equality up to ``tolerance`` times the largest finite entry."""
    assert len(got) == len(expected)
    for ours, theirs in zip(got, expected, strict=True):
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype
        if not np.issubdtype(theirs.dtype, np.floating):
            np.testing.assert_array_equal(ours, theirs)
            continue
        finite = np.abs(theirs[np.isfinite(theirs)])
        scale = max(float(finite.max(initial=0)), 1e-3)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * scale)
