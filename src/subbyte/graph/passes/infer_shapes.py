"""Types and shapes of values: by onnx, by ONNX Runtime where onnx does not know an operator."""

from __future__ import annotations

import logging

import onnx
import onnx_ir as ir
from onnx import helper
from onnx_ir.passes import common as passes

from subbyte.graph.module.kernels import serialized
from subbyte.graph.module.opaque import is_opaque
from subbyte.graph.nested import all_nodes
from subbyte.graph.ops.element_types import TORCH_DTYPES
from subbyte.graph.query import STANDARD
from subbyte.runtime.ort import ERRORS, open_session, ort

# Shape inference that fails is logged with its traceback; here it only means unknown shapes.
logging.getLogger("onnx_ir").addHandler(logging.NullHandler())

_SMALL = 1024
"""Bytes up to which a constant may say something about shapes."""


def infer_shapes(model: ir.Model) -> None:
    """Find the types and shapes of the values of ``model``, in place; some stay unknown."""
    _say_defaults(model)
    passes.ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model)
    if all(node.domain in STANDARD for node in all_nodes(model.graph)):
        return
    made = [value for node in model.graph for value in node.outputs if value.name]
    unknown = [v for v in made if (v.shape is None or v.dtype is None) and not is_opaque(v)]
    if unknown:
        _ask_runtime(model, unknown)


def _say_defaults(model: ir.Model) -> None:
    """Onnx takes an STFT that does not say so for two-sided; by default it is one-sided."""
    for node in all_nodes(model.graph):
        if node.op_type == "STFT" and not node.domain and "onesided" not in node.attributes:
            node.attributes["onesided"] = ir.AttrInt64("onesided", 1)


def _ask_runtime(model: ir.Model, unknown: list[ir.Value]) -> None:
    graph = model.graph
    stored = [value for value in graph.initializers.values() if value.const_value is not None]
    small = [v.const_value for v in stored if v.const_value and v.const_value.nbytes <= _SMALL]
    large = [v for v in stored if v.const_value and v.const_value.nbytes > _SMALL]
    asked = helper.make_graph(
        [serialized(node) for node in graph],
        "asked",
        [ir.serde.serialize_value(value) for value in (*graph.inputs, *large)],
        [onnx.ValueInfoProto(name=value.name) for value in unknown],
        [ir.serde.serialize_tensor(tensor) for tensor in small],
    )
    imports = [helper.make_opsetid(domain, n) for domain, n in model.opset_imports.items()]
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    proto = helper.make_model(asked, opset_imports=imports, ir_version=max(10, model.ir_version))
    try:
        session = open_session(proto.SerializeToString(), options)
    except ERRORS:
        # An error is named where the node is run.
        return
    for value, found in zip(unknown, session.get_outputs(), strict=True):
        kind = _KINDS.get(found.type)
        if value.dtype is None and kind is not None:
            value.type = ir.TensorType(kind)
        # An unknown rank looks like the rank of a single number: it stays unknown.
        if value.shape is None and found.shape:
            value.shape = ir.Shape(found.shape)


_NAMES = {ir.DataType.FLOAT: "float", ir.DataType.DOUBLE: "double"}
_KINDS = {f"tensor({_NAMES.get(kind, kind.name.lower())})": kind for kind in TORCH_DTYPES}
"""Element types by ONNX Runtime's names for them."""
