"""From an ONNX node and its constants to a `NodeView`, and from stored tensors to torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray

from subbyte.errors import WeightError
from subbyte.graph import query
from subbyte.graph.ops.element_types import TORCH_DTYPES
from subbyte.graph.ops.registry import NodeView


def to_torch(tensor: ir.TensorProtocol, name: str) -> torch.Tensor:
    """A stored tensor as a torch tensor of its own memory."""
    if tensor.dtype not in TORCH_DTYPES:
        covered = ", ".join(kind.name for kind in TORCH_DTYPES)
        raise WeightError(
            "constant of an element type that is not covered",
            where=name,
            expected=f"one of {covered}",
            got=tensor.dtype.name,
        )
    array = tensor.numpy()
    if tensor.dtype == ir.DataType.BFLOAT16:
        bits = torch.from_numpy(np.array(array).view(np.int16))
        return bits.view(torch.bfloat16)
    return torch.from_numpy(np.array(array))


def _attribute_value(attribute: ir.Attr) -> Any:
    if attribute.type == ir.AttributeType.TENSOR:
        return attribute.as_tensor().numpy()
    return attribute.value


def node_view(
    node: ir.Node, opset: int, constants: Mapping[int, NDArray[Any]] | None = None
) -> NodeView:
    """The form of a node; its constant inputs are read from the graph unless given."""
    if constants is None:
        arrays = {place: query.constant(value) for place, value in enumerate(node.inputs)}
        constants = {place: array for place, array in arrays.items() if array is not None}
    return NodeView(
        op_type=node.op_type,
        domain=node.domain,
        name=node.name or "",
        opset=opset,
        attributes={key: _attribute_value(entry) for key, entry in node.attributes.items()},
        constants=constants,
        inputs=tuple(value is not None for value in node.inputs),
        outputs=tuple(
            bool(value.name) and (bool(value.uses()) or value.is_graph_output())
            for value in node.outputs
        ),
    )
