"""What every method owes: run over every form in `cases`."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper

from subbyte.methods import (
    METHODS,
    CodedWeight,
    WeightShape,
    blank_weight,
    decode_weight,
    trainable,
)
from tests.methods.cases import CASES, SHAPES, Case, random_problem, relative_error

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def run_nodes(coded: CodedWeight) -> tuple[np.ndarray, np.ndarray]:
    """weight_int8 and weight_scale as plain onnxruntime computes them from the packed arrays."""
    nodes = METHODS[coded.method].weight_nodes(coded.variant)
    return run_function(coded, nodes, ["weight_int8", "weight_scale"], {}, 3)


def run_rows(coded: CodedWeight, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """row_int8 and row_scale of ``rows``, in the same way."""
    make = METHODS[coded.method].row_nodes
    assert make is not None
    return run_function(coded, make(coded.variant), ["row_int8", "row_scale"], {"rows": rows}, 2)


def run_function(
    coded: CodedWeight,
    nodes: list[onnx.NodeProto],
    outputs: list[str],
    more: dict[str, np.ndarray],
    rank: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The two outputs of nodes that read packed arrays, and ``more`` constants."""
    inputs = {**coded.inputs, **more}
    function = helper.make_function(
        "test",
        "Weight",
        list(inputs),
        outputs,
        nodes,
        [helper.make_opsetid("", 18)],
        list(coded.attributes),
    )
    call = helper.make_node(
        "Weight",
        list(inputs),
        outputs,
        domain="test",
        **coded.attributes,  # type: ignore[arg-type]
    )
    tensors = [
        onnx.numpy_helper.from_array(np.ascontiguousarray(array), name)
        for name, array in inputs.items()
    ]
    infos = [
        helper.make_tensor_value_info(outputs[0], TensorProto.INT8, [None] * rank),
        helper.make_tensor_value_info(outputs[1], TensorProto.FLOAT, [None]),
    ]
    model = helper.make_model(
        helper.make_graph([call], "test", [], infos, tensors),
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("test", 1)],
        functions=[function],
        ir_version=9,
    )
    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    integers, scale = session.run(None, {})
    return integers, scale


@every_case
@every_shape
def test_nodes_decode_what_python_decodes(case: Case, shape: WeightShape) -> None:
    weight, moments = random_problem(shape)
    if "shared" in case.name and shape.groups > 1:
        pytest.skip("a shared codebook is for convolutions without groups")
    coded = case.encode(weight, moments, shape, 0)
    integers, scale = run_nodes(coded)
    method = METHODS[coded.method]
    np.testing.assert_array_equal(integers, method.decode(coded))
    np.testing.assert_array_equal(scale, method.scale(coded))
    assert integers.shape == (shape.outputs, shape.taps, shape.inputs)


@every_case
def test_bytes_are_as_predicted_and_as_stored(case: Case) -> None:
    for shape in SHAPES[:2]:
        weight, moments = random_problem(shape)
        coded = case.encode(weight, moments, shape, 0)
        stored = sum(array.nbytes for array in coded.inputs.values()) + 4
        predicted = case.stored_bytes(shape)
        assert coded.nbytes == stored
        assert stored == predicted if case.exact else stored <= predicted


@every_case
def test_the_seed_decides_every_byte(case: Case) -> None:
    shape = SHAPES[0]
    weight, moments = random_problem(shape)
    first, again = (case.encode(weight, moments, shape, 3) for _ in range(2))
    assert first.attributes == again.attributes
    for name, array in first.inputs.items():
        np.testing.assert_array_equal(array, again.inputs[name])


@every_case
def test_effective_integers_keep_their_limits(case: Case) -> None:
    """Within +-63 below 8 bits; at 8 bits, neighbours of one sign sum to at most 128."""
    shape = WeightShape(16, 9, 16)
    weight, moments = random_problem(shape)
    coded = case.encode(weight, moments, shape, 0)
    integers = METHODS[coded.method].decode(coded).astype(int)
    if case.name != "scalar-8":
        assert np.abs(integers).max() <= 63
        return
    for rows in (integers.reshape(16, -1), integers.transpose(0, 2, 1).reshape(16, -1)):
        left, right = rows[:, :-1], rows[:, 1:]
        assert np.abs((left + right)[left * right > 0]).max() <= 128


@every_case
def test_a_dead_output_does_not_spoil_the_others(case: Case) -> None:
    shape = WeightShape(8, 9, 8)
    weight, moments = random_problem(shape)
    weight[3] = 0
    decoded = decode_weight(case.encode(weight, moments, shape, 0))
    assert np.isfinite(decoded).all()
    most = 0.1 if case.one_scale else 1e-3
    assert np.abs(decoded[3]).max() < most * np.abs(decoded).max()


def test_error_falls_as_bits_grow() -> None:
    shape = WeightShape(32, 4, 24)
    weight, moments = random_problem(shape)
    found = []
    for case in CASES:
        coded = case.encode(weight, moments, shape, 0)
        error = relative_error(weight, decode_weight(coded), moments)
        found.append((case.name, coded.bits_per_weight, error))
    for family in ("scalar", "product-d4-k16", "ternary", "composite-j"):
        rows = sorted(
            (bits, error)
            for name, bits, error in found
            if name.startswith(family) and not name.endswith("shared")
        )
        errors = [error for _, error in rows]
        assert errors == sorted(errors, reverse=True), rows
    assert all(0 < error < 0.6 for _, _, error in found), found


def test_encoding_against_moments_beats_rounding() -> None:
    """The H-weighted encoders lose less output than the same form fitted with H = identity."""
    shape = WeightShape(24, 4, 16)
    weight, moments = random_problem(shape)
    plain = torch.eye(moments.shape[1])[None]
    for case in CASES:
        if case.name == "scalar-8" or case.weights_only:
            continue
        aware = decode_weight(case.encode(weight, moments, shape, 0))
        blind = decode_weight(case.encode(weight, plain, shape, 0))
        aware_error = relative_error(weight, aware, moments)
        assert aware_error < relative_error(weight, blind, moments), case.name


@every_case
def test_single_rows_are_those_of_the_whole(case: Case) -> None:
    weight, moments = random_problem(WeightShape(24, 1, 13))
    coded = case.encode(weight, moments, WeightShape(24, 1, 13), 0)
    method = METHODS[coded.method]
    if method.row_nodes is None:
        pytest.skip("single rows cannot be unpacked")
    rows = np.array([3, 0, 23, 3])
    integers, scale = run_rows(coded, rows)
    np.testing.assert_array_equal(integers, method.decode(coded)[rows, 0])
    np.testing.assert_array_equal(scale, method.scale(coded)[rows])


@every_case
def test_a_blank_weight_has_the_form_of_a_coded_one(case: Case) -> None:
    """Names, types and, where the shape decides, sizes of the arrays; all can be decoded."""
    for shape in SHAPES[:2]:
        weight, moments = random_problem(shape)
        coded, blank = case.encode(weight, moments, shape, 0), blank_weight(shape, case.options)
        assert (blank.method, blank.shape) == (coded.method, coded.shape)
        assert np.isfinite(decode_weight(blank)).all()
        if not case.exact:
            continue
        assert blank.variant == coded.variant
        assert list(blank.attributes) == list(coded.attributes)
        for name, array in coded.inputs.items():
            assert blank.inputs[name].shape == array.shape
            assert blank.inputs[name].dtype == array.dtype


@every_case
def test_the_packed_form_shows_its_options(case: Case) -> None:
    weight, moments = random_problem(SHAPES[0])
    method = METHODS[case.method]
    shown = method.options_of(case.encode(weight, moments, SHAPES[0], 0))
    assert shown
    assert method.checked(shown) == shown
    for name, value in shown.items() if case.exact else ():
        wanted = getattr(case.options, name)
        assert value == wanted or wanted is None


@every_case
def test_what_is_trained_starts_as_the_coded_weight(case: Case) -> None:
    weight, moments = random_problem(SHAPES[0])
    coded = case.encode(weight, moments, SHAPES[0], 0)
    module = trainable(coded, reference=weight if case.weights_only else None)
    assert {name for name, _ in module.named_parameters()} <= set(module.rates)
    again = module.coded()
    assert (again.method, again.variant) == (coded.method, coded.variant)
    largest = np.abs(decode_weight(coded)).max()
    np.testing.assert_allclose(decode_weight(again), decode_weight(coded), atol=2e-3 * largest)


def test_every_method_has_a_row() -> None:
    assert {case.method for case in CASES} == set(METHODS)
