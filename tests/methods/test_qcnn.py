"""Q-CNN's own procedure: its steps on moments are those on samples."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from subbyte.errors import OptionError
from subbyte.methods import WeightShape, decode_weight
from subbyte.methods.coded import decode_scale
from subbyte.methods.product import encode, form, qcnn
from subbyte.methods.product.form import ProductOptions
from subbyte.methods.product.state import ProductState
from tests.methods.cases import random_problem, relative_error

CONV, LINEAR = WeightShape(24, 4, 8), WeightShape(40, 1, 12)
PAPER = ProductOptions(4, 16, procedure="paper")


def samples(shape: WeightShape) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs S [R, n], responses T [R, O] that a weight does not fully explain, and W* [O, n]."""
    rng = torch.Generator().manual_seed(0)
    width = shape.taps * shape.inputs
    mixing = torch.randn(width, width, generator=rng, dtype=torch.float64) / width**0.5
    inputs = torch.randn(400, width, generator=rng, dtype=torch.float64) @ mixing + 0.3
    weight = torch.randn(width, shape.outputs, generator=rng, dtype=torch.float64)
    noise = torch.randn(400, shape.outputs, generator=rng, dtype=torch.float64)
    responses = inputs @ weight + 0.2 * noise
    moments = inputs.T @ inputs
    return inputs, responses, torch.linalg.solve(moments, inputs.T @ responses).T


def started(shape: WeightShape) -> tuple[ProductState, Tensor, Tensor]:
    """A state after k-means, in float64, and the samples behind it."""
    inputs, responses, target = samples(shape)
    moments = inputs.T @ inputs
    rng = torch.Generator().manual_seed(1)
    weight = target.reshape(shape.outputs, shape.taps, shape.inputs)
    state = qcnn.cluster(weight.float(), moments.float(), PAPER, rng)
    for name in ("codebook", "scale", "gains", "diagonal"):
        setattr(state, name, getattr(state, name).double())
    state.target, state.moments = target, moments
    state.diagonal = torch.stack(
        [moments[c : c + 4, c : c + 4] for c in range(0, len(moments), 4)]
    ).reshape(state.diagonal.shape)
    return state, inputs, responses


def missed(state: ProductState, inputs: Tensor, responses: Tensor) -> float:
    """The sum of the paper: || T - What S ||^2 over the samples."""
    return float((responses - inputs @ state.weight().T).square().sum())


def residual_of(state: ProductState) -> Tensor:
    return (state.target - state.weight()) @ state.moments


def test_d_step_of_a_linear_layer_is_the_papers_regression() -> None:
    """Each word: the mean residual of the outputs that use it, regressed on its inputs."""
    state, inputs, responses = started(LINEAR)
    part = inputs[:, 4:8]
    rest = state.codes()
    rest[:, 4:8] = 0
    residual = responses - inputs @ rest.T
    wanted = state.codebook[1].clone()
    for word in state.entry[:, 0, 1].unique():
        mean = residual[:, state.entry[:, 0, 1] == word].mean(1, keepdim=True)
        wanted[word] = torch.linalg.lstsq(part, mean).solution[:, 0]
    qcnn.fit_words(state, residual_of(state), 1)
    torch.testing.assert_close(state.codebook[1], wanted, rtol=1e-4, atol=1e-4)


def test_d_step_of_a_convolution_is_least_squares_over_all_words() -> None:
    state, inputs, responses = started(CONV)
    qcnn.fit_words(state, residual_of(state), 0)
    book = state.codebook[0].clone().requires_grad_()
    columns = torch.cat([torch.arange(4) + tap * 8 for tap in range(4)])
    held = state.codes()
    held[:, columns] = 0
    held[:, columns] += book[state.entry[:, :, 0]].flatten(1)
    (responses - inputs @ held.T).square().sum().backward()
    assert book.grad is not None
    scale = float((inputs.T @ responses).abs().max())
    assert float(book.grad.abs().max()) < 1e-4 * scale


@pytest.mark.parametrize("shape", [CONV, LINEAR], ids=["conv", "linear"])
def test_b_step_takes_the_best_word_of_all(shape: WeightShape) -> None:
    state, inputs, responses = started(shape)
    qcnn.choose_words(state, residual_of(state), 1)
    best = missed(state, inputs, responses)
    # The last tap was chosen with all others as they are now.
    for output, word in itertools.product(range(6), range(16)):
        before = int(state.entry[output, -1, 1])
        state.entry[output, -1, 1] = word
        assert missed(state, inputs, responses) >= best * (1 - 1e-9)
        state.entry[output, -1, 1] = before


@pytest.mark.parametrize("shape", [CONV, LINEAR], ids=["conv", "linear"])
def test_every_step_lowers_the_sum_over_samples(shape: WeightShape) -> None:
    state, inputs, responses = started(shape)
    residual = residual_of(state)
    found = [missed(state, inputs, responses)]
    for _ in range(3):
        for group in range(state.entry.shape[2]):
            for step in (qcnn.fit_words, qcnn.choose_words):
                step(state, residual, group)
                found.append(missed(state, inputs, responses))
    assert all(after <= before * (1 + 1e-9) for before, after in itertools.pairwise(found))
    assert found[-1] < 0.8 * found[0]
    torch.testing.assert_close(residual, residual_of(state))


def test_without_error_correction_it_is_k_means_alone() -> None:
    weight, moments = random_problem(CONV)
    plain = ProductOptions(4, 16, procedure="paper-plain")
    coded = encode.encode(weight, moments, CONV, plain, 0)
    other = encode.encode(weight, torch.eye(32)[None], CONV, plain, 0)
    assert all((coded.inputs[name] == other.inputs[name]).all() for name in coded.inputs)
    assert len(set(decode_scale(coded).tolist())) == 1


def test_error_correction_pays_and_ours_pays_more() -> None:
    weight, moments = random_problem(CONV)
    errors = [
        relative_error(
            weight,
            decode_weight(encode.encode(weight, moments, CONV, options, 0)),
            moments,
        )
        for options in (
            ProductOptions(4, 16, procedure="paper-plain"),
            PAPER,
            ProductOptions(4, 16),
        )
    ]
    assert errors[0] > 1.15 * errors[1]
    assert errors[1] > errors[2]


def test_words_that_nothing_uses_do_no_harm() -> None:
    shape = WeightShape(4, 1, 12)
    weight, moments = random_problem(shape)
    decoded = decode_weight(encode.encode(weight, moments, shape, PAPER, 0))
    assert relative_error(weight, decoded, moments) < 1e-2


def test_options_that_the_paper_does_not_have() -> None:
    with pytest.raises(OptionError, match=r"one codebook per channel group.*gain 1, not shared"):
        ProductOptions(gain=1, procedure="paper")
    with pytest.raises(OptionError, match=r"gain 0, shared"):
        ProductOptions(shared=True, procedure="paper-plain")
    with pytest.raises(OptionError, match=r"unknown procedure.*got guess"):
        ProductOptions(procedure="guess")  # type: ignore[arg-type]


def test_more_words_than_sub_columns() -> None:
    with pytest.raises(OptionError, match=r"96 sub-columns.*at most 64 words.*got 128"):
        form.check_words(CONV, ProductOptions(8, 128))
    form.check_words(CONV, ProductOptions(4, 128, shared=True))
    form.check_words(WeightShape(2, 1, 8), ProductOptions(4, 16))
