"""Small graphs, node by node, for tests of islands and of the writer."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from subbyte.graph.load.network import prepare
from subbyte.graph.network import Network

SIZE = 8


class Builder:
    """Adds nodes named after their outputs; weights are random, scaled to keep variance."""

    def __init__(self, channels: int = 8, opset: int = 18) -> None:
        self.rng = np.random.default_rng(0)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self.opset = opset
        self.inputs = {"x": ["N", channels, SIZE, SIZE]}

    def op(self, kind: str, name: str, *inputs: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name, **attributes))
        return name

    def constant(self, name: str, value: Any, dtype: Any = np.float32) -> str:
        self.constants[name] = np.asarray(value, dtype)
        return name

    def weight(self, name: str, *shape: int) -> str:
        fan = int(np.prod(shape[1:]))
        return self.constant(name, self.rng.standard_normal(shape) / np.sqrt(fan))

    def conv(
        self, name: str, x: str, inputs: int, outputs: int, kernel: int = 3, **attributes: Any
    ) -> str:
        weight = self.weight(
            f"{name}.weight", outputs, inputs // attributes.get("group", 1), kernel, kernel
        )
        bias = self.constant(f"{name}.bias", self.rng.standard_normal(outputs) / 4)
        return self.op("Conv", name, x, weight, bias, **{"pads": [kernel // 2] * 4, **attributes})

    def linear(self, name: str, x: str, inputs: int, outputs: int) -> str:
        weight = self.weight(f"{name}.weight", outputs, inputs)
        bias = self.constant(f"{name}.bias", self.rng.standard_normal(outputs) / 4)
        return self.op("Gemm", name, x, weight, bias, transB=1)

    def head(self, x: str, inputs: int) -> str:
        """Global average, rows, scores."""
        pooled = self.op("GlobalAveragePool", "pooled", x)
        return self.linear("scores", self.op("Flatten", "rows", pooled), inputs, 10)

    def model(self, **outputs: int) -> onnx.ModelProto:
        """Outputs by name and rank."""
        graph = helper.make_graph(
            self.nodes,
            "small",
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
                for name, shape in self.inputs.items()
            ],
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N"] + [None] * (rank - 1))
                for name, rank in outputs.items()
            ],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=10
        )

    def network(self, **outputs: int) -> Network:
        return prepare(self.model(**outputs), "small")

    def samples(self, batch: int = 2) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(1)
        return {
            name: rng.standard_normal([batch, *shape[1:]]).astype(np.float32)
            for name, shape in self.inputs.items()
        }
