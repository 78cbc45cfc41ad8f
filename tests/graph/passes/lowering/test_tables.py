"""Tables in integers and along other axes: rows of floats along the first axis, and coded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from subbyte.graph.load.network import prepare
from subbyte.graph.write.model import write_network
from tests.graph.coding import code_network, coded_module
from tests.graph.one_node import Array, compare, run_module, run_ort

RNG = np.random.default_rng(0)
IDS = RNG.integers(-40, 40, (2, 3))
make = helper.make_node


def codes(*shape: int, kind: Any = np.uint8) -> Array:
    limits = np.iinfo(kind)
    return RNG.integers(limits.min, limits.max + 1, shape).astype(kind)


def scales(*shape: int) -> Array:
    return (RNG.random(shape) * 0.02 + 0.005).astype(np.float32)


def normal(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def model(
    nodes: Sequence[NodeProto],
    constants: Mapping[str, Array | TensorProto],
    rank: int = 2,
    kind: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    tensors = []
    for name, array in constants.items():
        tensor = array if isinstance(array, TensorProto) else numpy_helper.from_array(array, name)
        tensor.name = name
        tensors.append(tensor)
    value = helper.make_tensor_value_info
    ids = value("ids", TensorProto.INT64, ["N", 3, 1][:rank])
    graph = helper.make_graph(nodes, "g", [ids], [value("y", kind, None)], tensors)
    imports = [helper.make_opsetid("", 21)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def cast(x: str, y: str) -> NodeProto:
    return make("Cast", [x], [y], to=TensorProto.FLOAT)


GATHER = make("Gather", ["table", "ids"], ["q"], "embed")
ROWS_OF = [
    GATHER,
    make("Gather", ["s", "ids"], ["row_s"]),
    make("Gather", ["z", "ids"], ["row_z"]),
]
CHAINS: dict[str, tuple[list[NodeProto], dict[str, Array]]] = {
    "cast": ([GATHER, cast("q", "y")], {"table": codes(40, 32)}),
    "cast and scale": (
        [GATHER, cast("q", "f"), make("Mul", ["s", "f"], ["y"])],
        {"table": codes(40, 32, kind=np.int8), "s": scales()},
    ),
    "zero point in integers": (
        [GATHER, make("Sub", ["q", "z"], ["d"]), cast("d", "f"), make("Mul", ["f", "s"], ["y"])],
        {"table": codes(40, 32, kind=np.int8), "z": np.array([3], np.int8), "s": scales(32)},
    ),
    "zero point in floats": (
        [GATHER, cast("q", "f"), make("Sub", ["f", "z"], ["d"]), make("Div", ["d", "s"], ["y"])],
        {"table": codes(40, 32), "z": normal(32), "s": scales(1, 1)},
    ),
    "16 bits": (
        [GATHER, make("DequantizeLinear", ["q", "s", "z"], ["y"])],
        {"table": codes(40, 32, kind=np.int16), "s": scales(), "z": np.array(7, np.int16)},
    ),
    "32 bits that are scaled": (
        [GATHER, cast("q", "f"), make("Mul", ["f", "s"], ["y"])],
        {"table": codes(40, 32, kind=np.int32), "s": scales()},
    ),
    "one scale a column": (
        [GATHER, make("DequantizeLinear", ["q", "s", "z"], ["y"], axis=-1)],
        {"table": codes(40, 32), "s": scales(32), "z": codes(32)},
    ),
    "one scale a row": (
        [
            *ROWS_OF,
            cast("q", "f"),
            cast("row_z", "g"),
            make("Sub", ["f", "g"], ["d"]),
            make("Mul", ["d", "row_s"], ["y"]),
        ],
        {"table": codes(40, 32), "s": scales(40, 1), "z": codes(40, 1)},
    ),
    "one scale a row, without an axis": (
        [
            *ROWS_OF[:2],
            cast("q", "f"),
            make("Unsqueeze", ["row_s", "last"], ["wide"]),
            make("Mul", ["f", "wide"], ["y"]),
        ],
        {"table": codes(40, 32), "s": scales(40), "last": np.array([-1])},
    ),
    "rows of two axes": (
        [GATHER, cast("q", "f"), make("Mul", ["f", "s"], ["y"])],
        {"table": codes(40, 8, 4), "s": scales(8, 1)},
    ),
    "along the second axis": (
        [
            make("Gather", ["table", "ids"], ["q"], "embed", axis=1),
            cast("q", "f"),
            make("Mul", ["f", "s"], ["y"]),
        ],
        {"table": codes(32, 40), "s": scales()},
    ),
    "floats along the last axis": (
        [make("Gather", ["table", "ids"], ["y"], "embed", axis=-1)],
        {"table": normal(4, 8, 40)},
    ),
    "floats along the second of three": (
        [make("Gather", ["table", "ids"], ["y"], "embed", axis=1)],
        {"table": normal(1, 40, 32)},
    ),
}


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("rank", [0, 2])
def test_tables_are_coded_by_rows(name: str, rank: int) -> None:
    nodes, constants = CHAINS[name]
    proto = model(nodes, constants, rank)
    feeds = [IDS if rank else np.array(-3)]
    expected = run_ort(proto, feeds)
    network = prepare(model(nodes, constants, rank), "net")
    assert [(entry.name, entry.rows) for entry in network.unpacked] == [("embed", True)]
    assert network.uncoded == ()
    assert network.unpacked[0].shape.outputs == 40
    compare(run_module(proto, feeds), expected, 1e-6)
    compare(run_ort(write_network(network, {}), feeds), expected, 1e-6)
    coded = code_network(network)
    ours = coded_module(network, coded)(*map(_tensor, feeds)).detach().numpy()
    compare(run_ort(write_network(network, coded), feeds), [ours], 1e-6)


def _tensor(array: Array) -> Any:
    import torch

    return torch.from_numpy(np.asarray(array))


def test_gathernd_of_single_indices() -> None:
    nodes = [make("GatherND", ["table", "ids"], ["y"], "embed")]
    proto = model(nodes, {"table": normal(40, 32)}, rank=3)
    network = prepare(proto, "net")
    assert [(entry.name, entry.rows) for entry in network.unpacked] == [("embed", True)]
    compare(run_module(proto, [IDS[..., None]]), run_ort(proto, [IDS[..., None]]))


KEPT: dict[str, tuple[list[NodeProto], dict[str, Array], str]] = {
    "entries": (
        [
            make("Concat", ["ids", "ids"], ["pairs"], axis=-1),
            make("GatherND", ["table", "pairs"], ["y"]),
        ],
        {"table": normal(40, 40, 32)},
        "read by GatherND; a table that Gather reads is coded",
    ),
    "entries of an axis": (
        [make("GatherElements", ["table", "ids"], ["y"])],
        {"table": normal(2, 3, 400)},
        "read by GatherElements; a table that Gather reads is coded",
    ),
    "bytes that stay bytes": (
        [GATHER, make("Add", ["q", "q"], ["y"])],
        {"table": codes(40, 32)},
        "read by Gather; tables of two axes are coded, where the rank of the indices is known",
    ),
    "one number a row": (
        [GATHER, cast("q", "y")],
        {"table": codes(2000)},
        "read by Gather; tables of two axes are coded, where the rank of the indices is known",
    ),
}
"""What is counted and named: nodes, constants and the reason."""


@pytest.mark.parametrize("name", KEPT)
def test_tables_that_are_not_coded_are_named(name: str) -> None:
    nodes, constants, reason = KEPT[name]
    rank = 3 if name.startswith("entries") else 2
    kind = TensorProto.UINT8 if name.startswith("bytes") else TensorProto.FLOAT
    network = prepare(model(nodes, constants, rank, kind), "net")
    (found,) = network.uncoded
    table = constants["table"]
    assert (found.name, found.count, found.nbytes) == ("table", table.size, table.nbytes)
    assert found.type == {"float32": "FLOAT", "uint8": "UINT8"}[str(table.dtype)]
    assert found.reason == reason


def test_indices_and_masks_are_no_weights() -> None:
    nodes = [
        make("Gather", ["order", "ids"], ["places"]),
        make("Gather", ["mask", "ids"], ["keep"]),
        make("Where", ["keep", "places", "ids"], ["y"]),
    ]
    constants = {"order": RNG.permutation(2000), "mask": np.arange(2000) % 3 == 0}
    assert prepare(model(nodes, constants, kind=TensorProto.INT64), "net").uncoded == ()


def four_bits(array: Array, kind: int) -> TensorProto:
    return helper.make_tensor("w", kind, array.shape, array.ravel())


@pytest.mark.parametrize("block", [0, 16])
@pytest.mark.parametrize("kind", [TensorProto.INT4, TensorProto.UINT4, TensorProto.INT8])
def test_weights_of_few_bits_are_dequantized_whatever_their_type(kind: int, block: int) -> None:
    low = 0 if kind == TensorProto.UINT4 else -8
    weight = RNG.integers(low, low + 16, (48, 64))
    shape = (3, 64) if block else (64,)
    parameters = {"s": scales(*shape)}
    zeros = RNG.integers(low, low + 16, shape)
    constants: dict[str, Array | TensorProto] = {
        "q": four_bits(weight, kind),
        "z": four_bits(zeros, kind),
        "table": normal(40, 48),
        **parameters,
    }
    more = {"axis": 0, "block_size": 16} if block else {"axis": 1}
    nodes = [
        make("Gather", ["table", "ids"], ["x"], "embed"),
        make("DequantizeLinear", ["q", "s", "z"], ["w"], **more),
        make("MatMul", ["x", "w"], ["y"], "product"),
    ]
    proto = model(nodes, constants)
    expected = run_ort(proto, [IDS])
    network = prepare(proto, "net")
    assert [layer.name for layer in network.layers] == ["product"]
    assert network.uncoded == ()
    compare(run_ort(write_network(network, {}), [IDS]), expected, 1e-5)
    compare(run_module(proto, [IDS]), expected, 1e-5)


def test_a_large_table_is_dequantized_though_it_grows() -> None:
    """Of more than 16 MB as floats."""
    nodes = [
        make("DequantizeLinear", ["q", "s"], ["table"]),
        make("Gather", ["table", "ids"], ["y"], "embed"),
    ]
    proto = model(nodes, {"q": codes(50_000, 96, kind=np.int8), "s": scales()})
    network = prepare(proto, "net")
    assert [entry.name for entry in network.unpacked] == ["embed"]
    assert network.uncoded == ()
