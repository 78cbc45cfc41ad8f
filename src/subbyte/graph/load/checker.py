"""onnx's checker, and the models that it refuses and runtimes accept."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import onnx
import onnx.checker
import onnx.shape_inference

from subbyte.graph.protos import graphs


def check_model(model: onnx.ModelProto, full: bool = False) -> None:
    """`onnx.checker.check_model`, but outputs of graphs may be of unknown type or shape.

    ``full``: shapes and types have to agree throughout, too.

    Raises:
        onnx.checker.ValidationError, onnx.shape_inference.InferenceError: the model is invalid.
        ValueError: it is larger than one message can be.
    """
    if all(_is_described(value) for value in _outputs(model.graph)):
        onnx.checker.check_model(model, full_check=full)
        return
    shown = copy.deepcopy(model)
    for value in _outputs(shown.graph):
        if value.type.WhichOneof("value") in (None, "tensor_type"):
            tensor = value.type.tensor_type
            tensor.elem_type = tensor.elem_type or onnx.TensorProto.FLOAT
            if not tensor.HasField("shape"):
                tensor.shape.SetInParent()
    onnx.checker.check_model(shown)
    if full:
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)


def _outputs(graph: onnx.GraphProto) -> Iterator[onnx.ValueInfoProto]:
    return (value for each in graphs(graph) for value in each.output)


def _is_described(value: onnx.ValueInfoProto) -> bool:
    if value.type.WhichOneof("value") not in (None, "tensor_type"):
        return True
    tensor = value.type.tensor_type
    return tensor.HasField("shape") and tensor.elem_type != onnx.TensorProto.UNDEFINED
