"""The coded weights of a file, as reports need them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subbyte.graph.compressed.packed_weights import PackedWeights
from subbyte.methods import METHODS, CodedWeight
from subbyte.methods.options import Value
from subbyte.report.stored import StoredModel

Settings = Mapping[str, Value]


@dataclass(frozen=True)
class CodedLayer:
    """One coded node: its name, weight, bias float32 [O], and actual inputs by formal name."""

    name: str
    weight: CodedWeight
    bias: NDArray[np.float32]
    inputs: Mapping[str, str]
    output: str


def packed_weights(model: StoredModel, where: Path) -> PackedWeights:
    """The coded nodes of a file, whose external data lies beside it."""
    return PackedWeights(model.proto, str(where.parent))


def coded_layers(model: StoredModel, where: Path) -> dict[str, CodedLayer]:
    """The coded layers of a file by node name; none in an inlined or a float one.

    Raises:
        ModelFileError: a node whose packed arrays are not stored in the file.
    """
    packed = packed_weights(model, where)
    found = {}
    for node in packed.layers():
        bias: NDArray[Any] = packed.array(node, "bias").astype(np.float32)
        output = node.proto.output[0]
        found[node.name] = CodedLayer(node.name, packed.weight(node), bias, node.inputs, output)
    return found


def unpacked_weights(model: StoredModel, where: Path) -> dict[str, CodedWeight]:
    """The coded weights of a file that are unpacked before other nodes read them (of tables, of
    recurrent nodes), by the name of the node that unpacks them.

    Raises:
        ModelFileError: as `coded_layers`.
    """
    packed = packed_weights(model, where)
    return {node.name: packed.weight(node) for node in packed.nodes() if node.gives_weight}


def settings(weight: CodedWeight) -> Settings:
    """The options that the packed form shows, by the names that plans use."""
    return METHODS[weight.method].options_of(weight)
