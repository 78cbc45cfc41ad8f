"""Writing the nodes that are not layers: in islands, pointwise in any layout, or as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
import onnx_ir as ir

from subbyte.graph import query
from subbyte.graph.functions import uint8_ops
from subbyte.graph.islands.candidates import (
    POINTWISE,
    counts_beyond_padding,
    is_candidate,
    is_pointwise,
)
from subbyte.graph.islands.intervals import MOVEMENT
from subbyte.graph.nested import captured
from subbyte.graph.write.emitter import PLAIN, Emitter, Form, Kind, Layout
from subbyte.graph.write.movement import position, write_movement
from subbyte.graph.write.nested import nested_attributes


class NodeWriter:
    """Writes one node at a time."""

    def __init__(self, emitter: Emitter, opset: int) -> None:
        self.emitter, self.opset = emitter, opset

    def write_uint8(self, node: ir.Node) -> None:
        """A node of an island."""
        if node.op_type in MOVEMENT:
            self._move(node, "uint8")
        elif is_pointwise(node):
            self._pointwise(node)
        else:
            _UINT8[node.op_type](self, node)

    def write_float(self, node: ir.Node) -> None:
        """A node outside islands; a pointwise one takes its feature map as it is laid out."""
        if node.op_type in (*MOVEMENT, "Concat") and is_candidate(node) and self._is_last(node):
            self._move(node, "float")
            return
        layout = self._pointwise_layout(node)
        outputs = [self.emitter.define(value, ("float", layout)) for value in node.outputs]
        self._compute(node, layout, outputs)

    def _compute(self, node: ir.Node, layout: Layout, outputs: list[str]) -> None:
        """The operator itself, on floats in ``layout``."""
        if query.is_standard(node, "BatchNormalization") and layout == "last":
            self._batch_normalization(node, outputs[0])
            return
        if query.is_standard(node, "PRelu") and layout == "last" and _slopes_down(node):
            self._prelu(node, outputs[0])
            return
        form: Form = ("float", layout)
        clip = query.is_standard(node, "Clip")
        inputs = [
            self.emitter.get(value, PLAIN if clip and index else form)
            for index, value in enumerate(node.inputs)
        ]
        if counts_beyond_padding(node):
            # Keeps the operator from being fused to the integer one.
            barrier = self.emitter.fresh()
            lowest = self.emitter.array(np.asarray(np.finfo(np.float32).min))
            self.emitter.node("Clip", [inputs[0], lowest], [barrier])
            inputs = [barrier]
        self._copy(node, inputs, outputs)

    def _copy(self, node: ir.Node, inputs: list[str], outputs: list[str]) -> None:
        domain = "" if query.is_standard(node) else node.domain
        outer = {str(value.name): self.emitter.get(value) for value in captured(node)}
        made = self.emitter.node(node.op_type, inputs, outputs, domain)
        made.attribute.extend(map(ir.serde.serialize_attribute, _attributes(node)))
        made.attribute.extend(nested_attributes(node, outer, self.emitter.fresh))

    def _is_last(self, node: ir.Node) -> bool:
        return self.emitter.layout(*query.data_inputs(node)) == "last"

    def _move(self, node: ir.Node, kind: Kind) -> None:
        if node.op_type == "Concat":
            self._join(node, (kind, self.emitter.layout(*node.inputs)))
        else:
            write_movement(self.emitter, node, kind)

    def _pointwise_layout(self, node: ir.Node) -> Layout:
        if not query.is_standard(node, *POINTWISE):
            return "plain"
        dynamic = query.data_inputs(node)
        if any(query.rank(value) != 4 for value in dynamic):
            return "plain"
        return self.emitter.layout(*dynamic)

    def _batch_normalization(self, node: ir.Node, output: str) -> None:
        """y = a x + b with the channels last, so that no transpose is needed."""
        emitter = self.emitter
        scale, bias, mean, variance = (query.known(value) for value in node.inputs[1:5])
        a = scale / np.sqrt(variance + query.attribute(node, "epsilon", 1e-5))
        product = emitter.fresh()
        x = emitter.get(node.inputs[0], ("float", "last"))
        emitter.node("Mul", [x, emitter.array(a.astype(np.float32))], [product])
        offset = emitter.array((bias - mean * a).astype(np.float32))
        emitter.node("Add", [product, offset], [output])

    def _prelu(self, node: ir.Node, output: str) -> None:
        """max(x, slope * x): onnxruntime's PRelu is slow where the channels come last."""
        emitter = self.emitter
        x = emitter.get(node.inputs[0], ("float", "last"))
        product = emitter.fresh()
        emitter.node("Mul", [x, emitter.operand(node.inputs[1], "last")], [product])
        emitter.node("Max", [x, product], [output])

    # nodes of an island --------------------------------------------------------------

    def _pointwise(self, node: ir.Node) -> None:
        """Dequantize, compute, quantize; between two such nodes the value stays float."""
        y, layout = node.outputs[0], self.emitter.layout(*query.data_inputs(node))
        if not self.emitter.is_carried(y):
            self._compute(node, layout, [self.emitter.define(y, ("float", layout))])
            return
        result = self.emitter.fresh()
        self._compute(node, layout, [result])
        output = self.emitter.define(y, ("uint8", layout))
        self.emitter.node("QuantizeLinear", [result, *self.emitter.quantization(y)], [output])

    def _form(self, node: ir.Node) -> Form:
        return "uint8", self.emitter.layout(*query.data_inputs(node))

    def _quantized(self, value: ir.Value | None, form: Form) -> list[str]:
        return [self.emitter.get(value, form), *self.emitter.quantization(value)]

    def _binary(self, node: ir.Node) -> None:
        if not self.emitter.is_carried(node.outputs[0]):
            self._pointwise(node)
            return
        build = uint8_ops.sum_function if node.op_type == "Add" else uint8_ops.product_function
        form = self._form(node)
        inputs = [name for value in node.inputs for name in self._quantized(value, form)]
        inputs += self.emitter.quantization(node.outputs[0])
        self.emitter.call(build(self.opset), inputs, [self.emitter.define(node.outputs[0], form)])

    def _concat(self, node: ir.Node) -> None:
        emitter, form, y = self.emitter, self._form(node), node.outputs[0]
        if all(emitter.params_of(value) == emitter.params_of(y) for value in node.inputs):
            self._join(node, form)
            return
        axis = _axis(node, form[1])
        inputs = [name for value in node.inputs for name in self._quantized(value, form)]
        inputs += emitter.quantization(y)
        function = uint8_ops.concat_function(len(node.inputs), self.opset)
        emitter.call(function, inputs, [emitter.define(y, form)], axis=axis)

    def _join(self, node: ir.Node, form: Form) -> None:
        inputs = [self.emitter.get(value, form) for value in node.inputs]
        output = self.emitter.define(node.outputs[0], form)
        self.emitter.node("Concat", inputs, [output], axis=_axis(node, form[1]))

    def _clamp(self, node: ir.Node) -> None:
        """A clamp that its input's quantization has not done: the same clamp on the codes."""
        emitter, form = self.emitter, self._form(node)
        low, high = query.clip_bounds(node) or (-np.inf, np.inf)
        params = emitter.params_of(node.inputs[0])
        carried = np.clip(np.array([low, high], np.float32), params.low, params.high)
        bounds = [emitter.array(code) for code in params.quantize(carried)]
        inputs = [emitter.get(node.inputs[0], form), *bounds]
        emitter.node("Clip", inputs, [emitter.define(node.outputs[0], form)])

    def _max_pool(self, node: ir.Node) -> None:
        emitter = self.emitter
        attributes = {
            **_window(node),
            "dilations": list(query.attribute(node, "dilations", [1, 1])),
            "ceil_mode": query.attribute(node, "ceil_mode", 0),
        }
        x = emitter.get(node.inputs[0], ("uint8", "last"))
        y = emitter.define(node.outputs[0], ("uint8", "last"))
        emitter.call(uint8_ops.max_pool_function(self.opset), [x], [y], **attributes)

    def _average_pool(self, node: ir.Node) -> None:
        attributes = {
            **_window(node),
            "ceil_mode": query.attribute(node, "ceil_mode", 0),
            "count_include_pad": _counts_padding(node),
        }
        self._pool(node, uint8_ops.average_pool_function(self.opset), attributes)

    def _global_average(self, node: ir.Node) -> None:
        keep = node.op_type != "ReduceMean" or query.attribute(node, "keepdims", 1)
        self._pool(node, uint8_ops.global_average_pool_function(self.opset), {}, bool(keep))

    def _pool(
        self,
        node: ir.Node,
        function: onnx.FunctionProto,
        attributes: Mapping[str, object],
        keep: bool = True,
    ) -> None:
        emitter, y = self.emitter, node.outputs[0]
        inputs = self._quantized(node.inputs[0], ("uint8", "last")) + emitter.quantization(y)
        if keep:
            emitter.call(function, inputs, [emitter.define(y, ("uint8", "last"))], **attributes)
            return
        pooled = emitter.fresh()
        emitter.call(function, inputs, [pooled], **attributes)
        emitter.node("Flatten", [pooled], [emitter.define(y, ("uint8", "plain"))])


def _axis(node: ir.Node, layout: Layout) -> int:
    rank = query.rank(node.outputs[0]) or 1
    return position(query.attribute(node, "axis"), layout, rank)


def _attributes(node: ir.Node) -> list[ir.Attr]:
    """All but graphs, and dilations of one, which an AveragePool of set 18 does not know."""
    attributes = dict(node.attributes)
    spread = any(dilation != 1 for dilation in query.attribute(node, "dilations", []))
    if query.is_standard(node, "AveragePool") and not spread:
        attributes.pop("dilations", None)
    kinds = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    return [attribute for attribute in attributes.values() if attribute.type not in kinds]


def _counts_padding(node: ir.Node) -> int:
    """Attribute ``count_include_pad``, 0 where there is no padding to count."""
    padded = any(query.attribute(node, "pads", []))
    return int(padded and query.attribute(node, "count_include_pad", 0))


def _slopes_down(node: ir.Node) -> bool:
    """Whether a PRelu is the maximum of x and slope * x: no slope exceeds one."""
    slope = query.constant(node.inputs[1])
    return slope is not None and bool((slope <= 1).all())


def _window(node: ir.Node) -> dict[str, object]:
    return {
        "kernel_shape": list(query.attribute(node, "kernel_shape")),
        "strides": list(query.attribute(node, "strides", [1, 1])),
        "pads": list(query.attribute(node, "pads", [0, 0, 0, 0])),
    }


_UINT8: Mapping[str, Callable[[NodeWriter, ir.Node], None]] = {
    "Add": NodeWriter._binary,
    "Mul": NodeWriter._binary,
    "Concat": NodeWriter._concat,
    "Relu": NodeWriter._clamp,
    "Clip": NodeWriter._clamp,
    "MaxPool": NodeWriter._max_pool,
    "AveragePool": NodeWriter._average_pool,
    "GlobalAveragePool": NodeWriter._global_average,
    "ReduceMean": NodeWriter._global_average,
}
