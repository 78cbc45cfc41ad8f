"""Writing a convolution or linear layer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from subbyte.graph import query
from subbyte.graph.emitter import Emitter, ValueLayout
from subbyte.graph.functions.layer import (
    TABLE_SHIFT,
    layer_function,
    layer_with_unary,
    weight_functions,
)
from subbyte.graph.network import Layer
from subbyte.graph.write.unary import StoredUnary
from subbyte.methods import CodedWeight, binarization_of

FLOAT_REASON = "subbyte.float"

_MAP: ValueLayout = ("uint8", "last")
_ROWS: ValueLayout = ("uint8", "plain")


class LayerWriter:
    """Writes coded layers as ``subbyte`` nodes, others as standard nodes."""

    def __init__(
        self,
        emitter: Emitter,
        coded: Mapping[str, CodedWeight],
        biases: Mapping[str, NDArray[np.float32]],
        table_shifts: Mapping[str, int],
    ) -> None:
        self.emitter, self.coded, self.biases = emitter, coded, biases
        self.table_shifts = table_shifts
        self._packed: dict[str, list[str]] = {}

    def write(self, layer: Layer, form: str, reason: str | None) -> None:
        """Write a coded layer in ``form``: ``uint8``, ``dequant`` or ``float``."""
        x, y = layer.node.inputs[0], layer.node.outputs[0]
        if form == "float":
            self._write_float(layer, reason)
            return
        stored = _ROWS if layer.op == "Linear" else _MAP
        source = self.emitter.get(x, stored)
        params = self.emitter.quantization(x)
        if form == "dequant":
            output = self.emitter.define(y, ("float", stored[1]))
            self._call(layer, "Dequant", source, params, output)
        else:
            params = params + self.emitter.quantization(y)
            self._call(layer, "", source, params, self.emitter.define(y, stored))

    def _write_float(self, layer: Layer, reason: str | None) -> None:
        """The form that computes on floats."""
        emitter, x, y = self.emitter, layer.node.inputs[0], layer.node.outputs[0]
        source, output = emitter.get(x), emitter.define(y)
        node = self._call(layer, "Float", source, [], output)
        if reason:
            node.metadata_props.add(key=FLOAT_REASON, value=reason)

    def write_sum(self, layer: Layer, total: ir.Node) -> None:
        """Write a convolution together with the sum that is its only reader."""
        emitter, inner = self.emitter, layer.node.outputs[0]
        x, y = layer.node.inputs[0], total.outputs[0]
        other = total.inputs[1] if total.inputs[0] is inner else total.inputs[0]
        source, summand = emitter.get(x, _MAP), emitter.get(other, _MAP)
        params = [
            *emitter.quantization(x),
            *emitter.quantization(y),
            summand,
            *emitter.quantization(other),
            *emitter.quantization(inner),
        ]
        self._call(layer, "Add", source, params, emitter.define(y, _MAP))

    def write_unary(self, layer: Layer, unary: StoredUnary) -> None:
        """Write a layer together with the function of its output that is its only reader."""
        emitter = self.emitter
        stored = _ROWS if layer.op == "Linear" else _MAP
        params = [
            *emitter.quantization(layer.node.inputs[0]),
            *emitter.quantization(unary.output),
            *emitter.quantization(layer.node.outputs[0]),
            unary.table,
        ]
        source = emitter.get(layer.node.inputs[0], stored)
        self._call(layer, "", source, params, emitter.define(unary.output, stored), unary.proto)

    def write_uncoded(self, layer: Layer) -> None:
        """Write a layer without a coded weight as standard float nodes."""
        emitter, node = self.emitter, layer.node
        x, y = emitter.get(node.inputs[0]), emitter.define(node.outputs[0])
        if layer.op == "Linear":
            self._uncoded_linear(layer, x, y)
            return
        inputs = [x, emitter.operand(layer.node.inputs[1])]
        if layer.bias is not None or layer.name in self.biases:
            weight = query.known(layer.node.inputs[1])
            inputs.append(emitter.array(self.bias(layer).astype(weight.dtype)))
        made = emitter.node(layer.op, inputs, [y], name=layer.name)
        made.attribute.extend(map(ir.serde.serialize_attribute, node.attributes.values()))

    def bias(self, layer: Layer) -> NDArray[np.float32]:
        """Bias float32 [O]: the given one, or the network's own, or zeros."""
        if layer.name in self.biases:
            return np.asarray(self.biases[layer.name], np.float32)
        own = query.constant(query.optional_input(layer.node, 2))
        if own is None:
            return np.zeros(layer.shape.outputs, np.float32)
        return own.astype(np.float32)

    def _call(
        self,
        layer: Layer,
        form: str,
        source: str,
        params: list[str],
        output: str,
        unary: onnx.FunctionProto | None = None,
    ) -> onnx.NodeProto:
        coded = self.coded[layer.weight]
        weight = self.weight_function(coded)
        binarization = binarization_of(coded)
        # A 1x1 convolution is a linear layer on pixels, unless an image's pixels share scales.
        by_image = binarization is not None and binarization.scales == "image"
        op = "Linear" if form == "Dequant" and not by_image else _op_name(layer)
        function = layer_function(weight, op, form, self.emitter.opset, binarization)
        if unary is not None:
            for each in (function, unary):
                self.emitter.functions.setdefault(each.name, each)
            function = layer_with_unary(function, unary, self.emitter.opset)
        bias = self.emitter.array(self.bias(layer))
        inputs = [source, *self.arrays(layer.weight, coded), bias, *params]
        attributes = {
            **coded.attributes,
            **(_attributes(layer) if not op.startswith("Linear") else {}),
        }
        if form != "Float" and layer.name in self.table_shifts:
            attributes[TABLE_SHIFT] = self.table_shifts[layer.name]
        node = self.emitter.call(function, inputs, [output], **attributes)
        node.name = layer.name
        return node

    def weight_function(self, coded: CodedWeight) -> onnx.FunctionProto:
        """The function that unpacks ``coded``, which the file then carries."""
        opset = self.emitter.opset
        functions = weight_functions(coded.method, coded.variant, list(coded.inputs), opset)
        for each in functions:
            self.emitter.functions.setdefault(each.name, each)
        return functions[-1]

    def arrays(self, name: str, coded: CodedWeight) -> list[str]:
        """Initializers of the packed arrays; a shared weight has them once."""
        if name not in self._packed:
            prefix = f"w{len(self._packed)}"
            self._packed[name] = [
                self.emitter.array(array, f"{prefix}.{key}") for key, array in coded.inputs.items()
            ]
        return self._packed[name]

    def _uncoded_linear(self, layer: Layer, x: str, y: str) -> None:
        emitter = self.emitter
        weight = query.known(layer.node.inputs[1])
        left = query.attribute(layer.node, "axis", -1) == -2
        matrix = emitter.array(weight if left else weight.T)
        bias = self.bias(layer).astype(weight.dtype)
        product = emitter.fresh() if bias.any() else y
        emitter.node("MatMul", [matrix, x] if left else [x, matrix], [product], name=layer.name)
        if bias.any():
            emitter.node("Add", [product, emitter.array(bias[:, None] if left else bias)], [y])


def _op_name(layer: Layer) -> str:
    if layer.op == "Linear":
        return "LinearLeft" if query.attribute(layer.node, "axis", -1) == -2 else "Linear"
    if query.attribute(layer.node, "output_shape"):
        return layer.op + "Sized"
    padding = query.attribute(layer.node, "auto_pad", "NOTSET")
    return layer.op + ("Same" if padding.startswith("SAME") else "")


def _attributes(layer: Layer) -> dict[str, object]:
    attributes: dict[str, object] = {
        "kernel_shape": list(layer.kernel_shape),
        "strides": list(layer.strides),
        "dilations": list(layer.dilations),
        "group": layer.shape.groups,
    }
    padding = query.attribute(layer.node, "auto_pad", "NOTSET")
    wanted = query.attribute(layer.node, "output_shape")
    if wanted:
        attributes |= {"auto_pad": padding, "output_shape": list(wanted)}
    elif padding.startswith("SAME"):
        attributes["auto_pad"] = padding
    else:
        attributes["pads"] = list(layer.pads)
    if layer.op == "ConvTranspose":
        zeros = [0] * len(layer.kernel_shape)
        attributes["output_padding"] = list(query.attribute(layer.node, "output_padding", zeros))
    return attributes
