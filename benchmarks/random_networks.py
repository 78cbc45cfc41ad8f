"""Networks of well-known shapes with random weights: enough to measure speed.

BatchNorm is folded; every convolution has a bias.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_VGG16 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)
_RESNET18 = ((64, 1), (128, 2), (256, 2), (512, 2))
# Inner channels, blocks, stride; a block has four times as many outputs.
_RESNET50 = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))
# Expansion, output channels, repetitions, stride.
_MOBILENET_V2 = (
    *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
    *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
)


class _Builder:
    """Adds nodes; each method returns the name of its output."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name, **attributes))
        return name

    def weight(self, name: str, shape: Sequence[int], std: float) -> list[str]:
        values = self.rng.standard_normal(shape, np.float32) * np.float32(std)
        self.constants.append(numpy_helper.from_array(values, f"{name}.weight"))
        bias = np.zeros(shape[0], np.float32)
        self.constants.append(numpy_helper.from_array(bias, f"{name}.bias"))
        return [f"{name}.weight", f"{name}.bias"]

    def conv(
        self, x: str, inputs: int, outputs: int, kernel: int, stride: int = 1, group: int = 1
    ) -> str:
        fan_in = inputs // group * kernel * kernel
        shape = (outputs, inputs // group, kernel, kernel)
        operands = self.weight(f"conv{len(self.nodes)}", shape, np.sqrt(2 / fan_in))
        pads = [kernel // 2] * 4
        return self.op("Conv", x, *operands, strides=[stride] * 2, pads=pads, group=group)

    def linear(self, x: str, inputs: int, outputs: int) -> str:
        operands = self.weight(f"fc{len(self.nodes)}", (outputs, inputs), np.sqrt(2 / inputs))
        return self.op("Gemm", x, *operands, transB=1)

    def clip(self, x: str) -> str:
        if not any(tensor.name == "low" for tensor in self.constants):
            for name, value in (("low", 0), ("high", 6)):
                self.constants.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return self.op("Clip", x, "low", "high")

    def model(self, name: str, logits: str) -> onnx.ModelProto:
        self.op("Identity", logits)
        self.nodes[-1].output[0] = "logits"
        graph = helper.make_graph(
            self.nodes,
            name,
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, 224, 224])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 1000])],
            self.constants,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def resnet18() -> onnx.ModelProto:
    """ResNet-18, 11.7M weights, 1.8 GMAC."""
    net = _Builder()
    x, width = net.op("Relu", net.conv("input", 3, 64, 7, 2)), 64
    x = net.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    for outputs, first in _RESNET18:
        for stride in (first, 1):
            y = net.op("Relu", net.conv(x, width, outputs, 3, stride))
            y = net.conv(y, outputs, outputs, 3)
            same = stride == 1 and width == outputs
            skip = x if same else net.conv(x, width, outputs, 1, stride)
            x, width = net.op("Relu", net.op("Add", y, skip)), outputs
    x = net.op("Flatten", net.op("GlobalAveragePool", x))
    return net.model("resnet18", net.linear(x, width, 1000))


def resnet50() -> onnx.ModelProto:
    """ResNet-50, 25.5M weights, 4.1 GMAC."""
    net = _Builder()
    x, width = net.op("Relu", net.conv("input", 3, 64, 7, 2)), 64
    x = net.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    for inner, blocks, first in _RESNET50:
        for stride in (first, *[1] * (blocks - 1)):
            y = net.op("Relu", net.conv(x, width, inner, 1))
            y = net.op("Relu", net.conv(y, inner, inner, 3, stride))
            y = net.conv(y, inner, 4 * inner, 1)
            same = stride == 1 and width == 4 * inner
            skip = x if same else net.conv(x, width, 4 * inner, 1, stride)
            x, width = net.op("Relu", net.op("Add", y, skip)), 4 * inner
    x = net.op("Flatten", net.op("GlobalAveragePool", x))
    return net.model("resnet50", net.linear(x, width, 1000))


def vgg16() -> onnx.ModelProto:
    """VGG-16, 138M weights, 15.5 GMAC."""
    net = _Builder()
    x, width = "input", 3
    for outputs in _VGG16:
        if outputs == 0:
            x = net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
        else:
            x, width = net.op("Relu", net.conv(x, width, outputs, 3)), outputs
    x = net.op("Relu", net.linear(net.op("Flatten", x), 25088, 4096))
    x = net.op("Relu", net.linear(x, 4096, 4096))
    return net.model("vgg16", net.linear(x, 4096, 1000))


def mobilenet_v2() -> onnx.ModelProto:
    """MobileNetV2, 3.5M weights, 0.3 GMAC."""
    net = _Builder()
    x, width = net.clip(net.conv("input", 3, 32, 3, 2)), 32
    for expansion, outputs, repetitions, first in _MOBILENET_V2:
        for index in range(repetitions):
            stride, inner = (first if index == 0 else 1), width * expansion
            y = x if expansion == 1 else net.clip(net.conv(x, width, inner, 1))
            y = net.clip(net.conv(y, inner, inner, 3, stride, group=inner))
            y = net.conv(y, inner, outputs, 1)
            x = net.op("Add", x, y) if stride == 1 and width == outputs else y
            width = outputs
    x = net.clip(net.conv(x, width, 1280, 1))
    x = net.op("Flatten", net.op("GlobalAveragePool", x))
    return net.model("mobilenet_v2", net.linear(x, 1280, 1000))


NETWORKS: Mapping[str, Callable[[], onnx.ModelProto]] = {
    "ResNet-18": resnet18,
    "VGG-16": vgg16,
    "MobileNetV2": mobilenet_v2,
}
