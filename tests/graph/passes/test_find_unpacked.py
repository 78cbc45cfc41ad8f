"""Weights that other nodes than layers read: found, written, and computed alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from subbyte.graph.load.network import prepare
from subbyte.graph.network import Network
from subbyte.graph.weight_layout import canonical, to_onnx_layout
from subbyte.graph.write.model import write_network
from tests.graph.coding import code_network, coded_module, session

ROWS, WIDTH = 97, 21
METHODS = ["scalar", "product", "gain", "ternary", "composite"]


def network(tied: bool = False, opset: int = 18) -> Network:
    """Rows of a table, a product with four matrices, a table that is added."""
    rng = np.random.default_rng(0)
    constants = {
        "table": rng.standard_normal((ROWS, WIDTH)),
        "matrices": rng.standard_normal((4, WIDTH, 24)),
        "places": rng.standard_normal((4, 5, 72)),
    }
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"], "embed"),
        helper.make_node("Unsqueeze", ["rows", "one"], ["four"], "four"),
        helper.make_node("MatMul", ["four", "matrices"], ["heads"], "heads"),
        helper.make_node("Concat", ["heads", "heads", "heads"], ["wide"], "wide", axis=-1),
        helper.make_node("Add", ["wide", "places"], ["y"], "placed"),
    ]
    outputs = {"y": 4}
    if tied:
        nodes += [
            helper.make_node("Transpose", ["table"], ["turned"], "turned", perm=[1, 0]),
            helper.make_node("MatMul", ["rows", "turned"], ["scores"], "scores"),
        ]
        outputs["scores"] = 3
    tensors = [
        numpy_helper.from_array(array.astype(np.float32), name) for name, array in constants.items()
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [value("ids", TensorProto.INT32, ["N", 5])],
        [value(name, TensorProto.FLOAT, [None] * rank) for name, rank in outputs.items()],
        [*tensors, numpy_helper.from_array(np.array([1]), "one")],
    )
    imports = [helper.make_opsetid("", opset)]
    return prepare(helper.make_model(graph, opset_imports=imports, ir_version=8), "small")


def test_what_is_coded_and_what_stays_float() -> None:
    found = network()
    assert [(e.name, e.op, e.rows, e.shape.groups) for e in found.unpacked] == [
        ("embed", "Gather", True, 1),
        ("heads", "MatMul", False, 4),
    ]
    assert [(c.name, c.nbytes, c.reason) for c in found.uncoded] == [
        ("places", 4 * 5 * 72 * 4, "read by Add")
    ]


def test_a_table_and_its_transposed_output_layer_share_a_weight() -> None:
    found = network(tied=True)
    assert [layer.weight for layer in found.layers] == [found.unpacked[0].weight]


def test_canonical_is_undone() -> None:
    found = network()
    for entry in found.unpacked:
        value = found.model.graph.initializers[entry.weight].const_value
        assert value is not None
        shape, weight = entry.shape, canonical(entry, value.numpy())
        assert weight.shape == (shape.outputs, shape.taps, shape.inputs)
        np.testing.assert_array_equal(to_onnx_layout(entry, weight), value.numpy())


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_the_file_computes_with_what_the_codes_decode_to(method: str, tied: bool) -> None:
    found = network(tied)
    coded = code_network(found, method)
    model = write_network(found, coded)
    assert not any(
        tensor.data_type == TensorProto.FLOAT and tensor.name != "places" and len(tensor.dims) > 1
        for tensor in model.graph.initializer
    )
    ids = np.random.default_rng(1).integers(-ROWS, ROWS, (3, 5)).astype(np.int32)
    with torch.no_grad():
        wanted = coded_module(found, coded)(torch.from_numpy(ids))
    for optimize in (True, False):
        results = session(model, optimize=optimize).run(None, {"ids": ids})
        for result, value in zip(results, wanted if tied else [wanted], strict=True):
            assert np.allclose(result, value.numpy(), atol=1e-4)


def test_an_empty_batch_and_a_row_that_is_not_there() -> None:
    found = network()
    run = session(write_network(found, code_network(found))).run
    assert run(None, {"ids": np.zeros((0, 5), np.int32)})[0].shape == (0, 4, 5, 72)
    with pytest.raises(Exception, match=r"out of data bounds|out of bounds"):
        run(None, {"ids": np.full((1, 5), ROWS, np.int32)})
