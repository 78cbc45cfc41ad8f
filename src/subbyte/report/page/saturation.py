"""The values that the eight bits of activations carry, and the values that they clip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnx import numpy_helper
from torch import Tensor

from subbyte.compression.calibration.batches import chunk_size
from subbyte.compression.device import open_device
from subbyte.data import Samples
from subbyte.graph import query
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.network import Layer, Network
from subbyte.report.coded import CodedLayer
from subbyte.report.stored import StoredModel


@dataclass(frozen=True)
class Carried:
    """A uint8 tensor that coded layers write or read: x = scale * (code - zero).

    ``value``: the float network's value that it stands for. ``writer``: the coded layer that writes
    it ("" for the input and for pools and sums). ``readers``: the coded layers that read it.
    """

    value: str
    writer: str
    readers: tuple[str, ...]
    scale: float
    zero: int

    @property
    def low(self) -> float:
        """Least value carried."""
        return 0.0 - self.scale * self.zero

    @property
    def high(self) -> float:
        """Greatest value carried."""
        return self.scale * (255 - self.zero)


def carried_tensors(
    model: StoredModel, where: Path, network: Network, coded: Mapping[str, CodedLayer]
) -> list[Carried]:
    """The uint8 tensors of a file's coded layers, each once, in the order of the graph."""
    # A function of one value behind a layer reads what the layer itself gives, quantized by m.
    layers = {layer.name: layer for layer in network.layers}
    tensors = {tensor.name: tensor for tensor in model.proto.graph.initializer}
    found: dict[str, dict[str, Any]] = {}
    for name, node in coded.items():
        own = ("m", f"{name}.m") if "table" in node.inputs else ("y", node.output)
        for side, tensor, value in (
            ("x", node.inputs["x"], layers[name].input),
            (*own, written(layers[name], "r" in node.inputs)),
        ):
            if f"{side}_scale" not in node.inputs:
                continue
            scale, zero = (
                numpy_helper.to_array(tensors[node.inputs[f"{side}_{key}"]], str(where.parent))
                for key in ("scale", "zero")
            )
            entry = found.setdefault(tensor, {"writer": "", "readers": ()})
            entry |= {"value": value, "scale": float(scale), "zero": int(zero)}
            entry |= {"writer": name} if side != "x" else {"readers": (*entry["readers"], name)}
    return [Carried(**entry) for entry in found.values()]


def written(layer: Layer, summed: bool) -> str:
    """The value that a coded layer writes: behind its sum, and behind clamps that only it feeds."""
    value = layer.node.outputs[0]
    if summed:
        value = next(
            node.outputs[0] for node in value.consumers() if query.is_standard(node, "Add")
        )
    while True:
        readers = list(value.consumers())
        if len(readers) != 1 or query.clip_bounds(readers[0]) is None:
            return str(value.name)
        value = readers[0].outputs[0]


@torch.no_grad()
def clipped(
    network: Network, tensors: list[Carried], samples: Samples
) -> list[dict[str, float | str | list[str]]]:
    """The share of the float network's values that lie outside each tensor's range.

    Returns:
        A row a tensor: writer, readers, low and high of the range, seen_low and seen_high in the
            float network, and ``clipped``: percent of the values that saturate. Where the zero
            point is 0, values below it are not counted: cutting them off is the ReLU's work.
    """
    module = GraphModule(network).eval()
    sums: dict[str, list[_Sum]] = {}
    for tensor in tensors:
        sums.setdefault(tensor.value, []).append(_Sum(tensor))
    for batch in samples.batches(chunk_size(module, samples, open_device("cpu"))):
        values = {name: torch.from_numpy(array) for name, array in batch.items()}
        for name, value in module.computed(values, sums):
            for each in sums[name]:
                each.add(value)
    return [each.row() for group in sums.values() for each in group]


class _Sum:
    """Counts of one tensor over batches."""

    def __init__(self, tensor: Carried) -> None:
        self.tensor = tensor
        self.low, self.high = np.inf, -np.inf
        self.outside = self.count = 0

    def add(self, value: Tensor) -> None:
        half = self.tensor.scale / 2
        outside = value > self.tensor.high + half
        if self.tensor.zero:
            outside |= value < self.tensor.low - half
        self.outside += int(outside.sum())
        self.count += value.numel()
        self.low, self.high = (
            min(self.low, float(value.min())),
            max(self.high, float(value.max())),
        )

    def row(self) -> dict[str, float | str | list[str]]:
        tensor = self.tensor
        return {
            "writer": tensor.writer,
            "readers": list(tensor.readers),
            "low": tensor.low,
            "high": tensor.high,
            "seen_low": self.low,
            "seen_high": self.high,
            "clipped": 100 * self.outside / self.count,
        }
