"""Writing functions of one value: a body in standard operators, and the table of its 256 codes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
import torch
from numpy.typing import NDArray

from subbyte.graph import query
from subbyte.graph.emitter import Emitter, ValueLayout
from subbyte.graph.functions.body import Body, make_function
from subbyte.graph.islands.unary import UnaryFunction
from subbyte.graph.module.kernels import unit_kernel
from subbyte.graph.module.node_view import to_torch
from subbyte.graph.quant_params import QuantParams

_UNIT = {"Sigmoid", "HardSigmoid"}
"""Operators whose results lie in [0, 1]."""

_INPUTS = ("x", "x_scale", "x_zero", "y_scale", "y_zero", "table")


@dataclass(frozen=True)
class StoredUnary:
    """A function of one value in the file: its ONNX function ``Unary<number>``, the initializer of
    its table, and the value that it gives."""

    proto: onnx.FunctionProto
    table: str
    output: ir.Value


class UnaryWriter:
    """Writes nodes of type ``Unary<number>``: y = f(x), with one number a function of the file."""

    def __init__(self, emitter: Emitter, opset: int) -> None:
        """``opset``: of the network as it was read."""
        self.emitter, self.opset = emitter, opset
        self._names: dict[bytes, str] = {}

    def write(self, function: UnaryFunction) -> None:
        """Write one node in place of the nodes of ``function``."""
        emitter, x, stored = self.emitter, function.argument, self.store(function)
        form: ValueLayout = "uint8", emitter.layout(x)
        y = emitter.quantization(stored.output)
        inputs = [*emitter.quantized(x, form), *y, stored.table]
        emitter.call(stored.proto, inputs, [emitter.define(stored.output, form)])

    def store(self, function: UnaryFunction) -> StoredUnary:
        """What a node needs that computes ``function``, alone or behind a layer."""
        emitter, y = self.emitter, function.nodes[-1].outputs[0]
        x_params, y_params = emitter.params_of(function.argument), emitter.params_of(y)
        table = table_of(function, x_params, y_params, self.opset)
        return StoredUnary(self._function(function), emitter.array(table), y)

    def _function(self, function: UnaryFunction) -> onnx.FunctionProto:
        nodes = unary_body(function)
        key = b"".join(node.SerializeToString(deterministic=True) for node in nodes)
        name = self._names.setdefault(key, f"Unary{len(self._names)}")
        return make_function(name, _INPUTS, ["y"], nodes, [], self.emitter.opset)


def unary_body(function: UnaryFunction) -> list[onnx.NodeProto]:
    """Dequantize, compute, quantize.

    A gate in [0, 1] that is multiplied with the argument is rounded to 255 steps on its way: ONNX
    Runtime then has kernels on uint8 for both nodes. The table knows no such rounding; it is within
    half a step of the gate, times the argument.
    """
    body = Body()
    names = {function.argument: body.op("DequantizeLinear", "x", "x_scale", "x_zero")}
    for node in function.nodes:
        for value in node.inputs:
            if value is not None and value not in names:
                array = query.known(value)
                names[value] = body.constant(array, array.dtype.type)
        inputs = ["" if value is None else names[value] for value in node.inputs]
        names[node.outputs[0]] = body.op(node.op_type, *inputs)
        attributes = map(ir.serde.serialize_attribute, node.attributes.values())
        body.nodes[-1].attribute.extend(attributes)
        if is_gate(function, node):
            names[node.outputs[0]] = _rounded(body, names[node.outputs[0]])
    result = names[function.nodes[-1].outputs[0]]
    body.op("QuantizeLinear", result, "y_scale", "y_zero", output="y")
    return body.nodes


def is_gate(function: UnaryFunction, node: ir.Node) -> bool:
    """Whether ``node`` gives a number in [0, 1], and only a product with the argument reads it."""
    readers = [reader for reader in function.nodes if node.outputs[0] in reader.inputs]
    return (
        node.op_type in _UNIT
        and [reader.op_type for reader in readers] == ["Mul"]
        and function.argument in readers[0].inputs
    )


def _rounded(body: Body, gate: str) -> str:
    scale, zero = body.constant(1 / 255, np.float32), body.constant(0, np.uint8)
    return body.op("DequantizeLinear", body.op("QuantizeLinear", gate, scale, zero), scale, zero)


@torch.no_grad()
def table_of(
    function: UnaryFunction, x: QuantParams, y: QuantParams, opset: int
) -> NDArray[np.uint8]:
    """The code of f(x) for every code of x, uint8 [256]: computed in float64, so that no rounding
    of an intermediate number shows."""
    codes = torch.arange(256, dtype=torch.float64)
    values = {function.argument: (codes - x.zero_point) * x.scale}
    for node in function.nodes:
        kernel = unit_kernel((node,), {"": opset})
        arguments: list[torch.Tensor | None] = []
        for place, value in enumerate(kernel.inputs):
            if value is None or place in kernel.baked:
                arguments.append(None)
            elif value in values:
                arguments.append(values[value] if kernel.row else values[value].float())
            else:
                arguments.append(_constant(value, kernel.row is not None))
        result = kernel.results(arguments)[0]
        assert result is not None  # noqa: S101 - the only output
        values[node.outputs[0]] = result.double()
    result = values[function.nodes[-1].outputs[0]].reshape(-1)
    return y.quantize(result.float().numpy())


def _constant(value: ir.Value, exact: bool) -> torch.Tensor:
    assert value.const_value is not None  # noqa: S101 - not a value that moves
    tensor = to_torch(value.const_value, value.name or "")
    return tensor.double() if exact and tensor.is_floating_point() else tensor
