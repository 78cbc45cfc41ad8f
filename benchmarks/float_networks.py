"""Float networks with random weights, of known shapes, BatchNorm folded; for measuring speed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CLASSES = 1000
# Convolutions of VGG-16; 0 is a pool.
_VGG16 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)
# MobileNetV2: expansion, outputs, blocks, first stride.
_MOBILENET_V2 = (
    *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
    *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
)


class _Builder:
    """Nodes and weights (normal, variance 2 / fan-in) of one network, input [N, 3, 224, 224]."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Append a node; its output."""
        name = f"{kind.lower()}{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], name, **attributes))
        return name

    def conv(
        self, x: str, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> str:
        """A convolution padded to its own size."""
        weight = self._weight((outputs, inputs // groups, kernel, kernel), 2.0)
        spatial = {"strides": [stride] * 2, "pads": [kernel // 2] * 4, "group": groups}
        return self.op("Conv", x, *weight, **spatial)

    def linear(self, x: str, inputs: int, outputs: int, gain: float = 2.0) -> str:
        """A Gemm."""
        return self.op("Gemm", x, *self._weight((outputs, inputs), gain), transB=1)

    def clipped(self, x: str) -> str:
        """ReLU6."""
        return self.op("Clip", x, self._constant(np.float32(0)), self._constant(np.float32(6)))

    def model(self, name: str, output: str) -> onnx.ModelProto:
        """The network whose scores [N, 1000] are ``output``."""
        self._nodes[-1].output[0] = "logits" if output == self._nodes[-1].output[0] else output
        graph = helper.make_graph(
            self._nodes,
            name,
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, 224, 224])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", CLASSES])],
            self._constants,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)

    def _weight(self, shape: Sequence[int], gain: float) -> tuple[str, str]:
        std = np.float32(np.sqrt(gain / np.prod(shape[1:])))
        weight = self._rng.standard_normal(shape, np.float32) * std
        return self._constant(weight), self._constant(np.zeros(shape[0], np.float32))

    def _constant(self, value: Any) -> str:
        name = f"constant{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name


def vgg16() -> onnx.ModelProto:
    """VGG-16 (configuration D) without its dropouts."""
    net = _Builder()
    x, width = "input", 3
    for outputs in _VGG16:
        if outputs:
            x, width = net.op("Relu", net.conv(x, width, outputs, 3)), outputs
        else:
            x = net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x, width = net.op("Flatten", x), width * 7 * 7
    for outputs in (4096, 4096):
        x, width = net.op("Relu", net.linear(x, width, outputs)), outputs
    return net.model("vgg16", net.linear(x, width, CLASSES, 1.0))


def mobilenet_v2() -> onnx.ModelProto:
    """MobileNetV2 of width 1."""
    net = _Builder()
    x, width = net.clipped(net.conv("input", 3, 32, 3, 2)), 32
    for expansion, outputs, blocks, first in _MOBILENET_V2:
        for stride in (first, *[1] * (blocks - 1)):
            y, inner = x, width * expansion
            if expansion > 1:
                y = net.clipped(net.conv(y, width, inner, 1))
            y = net.clipped(net.conv(y, inner, inner, 3, stride, groups=inner))
            y = net.conv(y, inner, outputs, 1)
            x = net.op("Add", y, x) if stride == 1 and width == outputs else y
            width = outputs
    x = net.op("GlobalAveragePool", net.clipped(net.conv(x, width, 1280, 1)))
    return net.model("mobilenet_v2", net.linear(net.op("Flatten", x), 1280, CLASSES, 1.0))
