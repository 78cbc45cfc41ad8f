"""Packing: every width, every length, in numpy and in the file's own nodes."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from subbyte.methods import packing


@given(st.integers(1, 8), st.integers(0, 70), st.integers(0, 2**32 - 1))
def test_unpack_undoes_pack(bits: int, count: int, seed: int) -> None:
    codes = np.random.default_rng(seed).integers(0, 1 << bits, count)
    packed = packing.pack(codes, bits)
    assert packed.shape == (-(-count // 8), bits)
    np.testing.assert_array_equal(packing.unpack(packed, count), codes)


def test_layout_is_the_documented_one() -> None:
    """Code j takes bits 3j to 3j + 2 of the row, lowest bit of the first byte first."""
    packed = packing.pack([1, 2, 3, 4, 5, 6, 7, 0], 3)
    value = int.from_bytes(packed.tobytes(), "little")
    assert [(value >> (3 * j)) & 7 for j in range(8)] == [1, 2, 3, 4, 5, 6, 7, 0]


@pytest.mark.parametrize(("codes", "bits"), [([4], 2), ([-1], 2), ([0], 0), ([0], 9)])
def test_pack_refuses_what_does_not_fit(codes: list[int], bits: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        packing.pack(codes, bits)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 8), st.integers(1, 5), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_nodes_unpack_like_numpy(bits: int, rows: int, columns: int, seed: int) -> None:
    codes = np.random.default_rng(seed).integers(0, 1 << bits, (rows, columns))
    nodes = packing.unpack_nodes("packed", "shape", "codes", "u")
    graph = helper.make_graph(
        [packing.constant("shape", [rows, columns], np.int64), *nodes],
        "unpack",
        [helper.make_tensor_value_info("packed", TensorProto.UINT8, [None, bits])],
        [helper.make_tensor_value_info("codes", TensorProto.INT32, [rows, columns])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"packed": packing.pack(codes, bits)})
    np.testing.assert_array_equal(found, codes)
