"""Product codes: the encoder's steps, the int8 limits, the trainable form."""

import itertools

import numpy as np
import pytest
import torch

from subbyte.errors import OptionError
from subbyte.methods import WeightShape, decode_weight
from subbyte.methods.coded import decode_scale
from subbyte.methods.product import descent, encode, form
from subbyte.methods.product.form import ProductOptions
from subbyte.methods.product.kmeans import kmeans
from subbyte.methods.product.trainable import ProductWeight
from tests.methods.cases import random_problem

SHAPE = WeightShape(24, 9, 10)


@pytest.mark.parametrize(("field", "value"), [("group", 0), ("words", 17), ("gain", 5)])
def test_options_out_of_range_are_named(field: str, value: int) -> None:
    with pytest.raises(OptionError, match=f"{field} out of range.*got {value}"):
        ProductOptions(**{field: value})  # type: ignore[arg-type]


def test_gain_levels() -> None:
    assert ProductOptions(gain=0).gain_levels().tolist() == [64]
    assert ProductOptions(gain=1).gain_levels().tolist() == [64, -64]
    for bits in (2, 3, 4):
        levels = ProductOptions(gain=bits).gain_levels()
        assert len(set(levels.tolist())) == 1 << bits
        assert set(levels.tolist()) == {-level for level in levels.tolist()}


def test_kmeans_finds_separated_clusters() -> None:
    rng = torch.Generator().manual_seed(0)
    centres = torch.tensor([[0.0, 5.0], [5.0, 0.0], [-5.0, -5.0]])
    points = centres.repeat_interleave(20, 0) + 0.01 * torch.randn(60, 2, generator=rng)
    found = kmeans(points[None], torch.ones(1, 60), 3, torch.ones(1), 10, rng)[0]
    distance = torch.cdist(centres, found)
    assert float(distance.amin(1).max()) < 0.1
    assert len(set(distance.argmin(1).tolist())) == 3


def test_gains_let_one_word_serve_many_points() -> None:
    """With a sign, half the words are enough for points that come in pairs."""
    rng = torch.Generator().manual_seed(1)
    half = torch.randn(8, 4, generator=rng)
    points = torch.cat([half, -half])[None]
    gains = torch.tensor([1.0, -1.0])
    found = kmeans(points, torch.ones(1, 16), 8, gains, 30, rng)[0]
    entries = torch.cat([found, -found])
    assert float(torch.cdist(points[0], entries).amin(1).mean()) < 0.5 * float(
        half.norm(dim=1).mean()
    )


def _state(options: ProductOptions):  # type: ignore[no-untyped-def]
    weight, moments = random_problem(SHAPE)
    rng = torch.Generator().manual_seed(0)
    return encode.start(weight, moments[0], options, rng, 5)


@pytest.mark.parametrize("gain", [0, 2])
@pytest.mark.parametrize("shared", [False, True])
def test_every_step_lowers_the_loss(gain: int, shared: bool) -> None:
    state = _state(ProductOptions(4, 16, gain, shared))
    losses = [state.loss()]
    for step in (
        descent.fit_scale,
        lambda s: descent.sweep_codes(s, 1),
        descent.fit_codebook,
        descent.fit_scale,
        lambda s: descent.sweep_codes(s, 1),
    ):
        step(state)
        losses.append(state.loss())
    assert all(after <= before + 1e-6 for before, after in itertools.pairwise(losses))
    assert losses[-1] < 0.9 * losses[0]


def test_panels_change_nothing() -> None:
    """Passing changes on panel by panel gives the codes that passing them on at once gives."""
    entries = []
    for width in (4, 12, 10**6):
        state = _state(ProductOptions(4))
        descent.sequential_pass(state, width)
        descent.sweep_codes(state, 2, width)
        entries.append(state.entry.clone())
    assert torch.equal(entries[0], entries[2])
    assert torch.equal(entries[1], entries[2])


@pytest.mark.parametrize(("group", "words"), [(2, 16), (4, 16), (8, 256), (6, 128)])
def test_codebooks_keep_the_int8_limits(group: int, words: int) -> None:
    weight, moments = random_problem(SHAPE)
    coded = encode.encode(weight, moments, SHAPE, ProductOptions(group, words), 0)
    book = coded.inputs["codebook"].astype(int)
    assert coded.inputs["codebook"].dtype == np.int8
    assert np.abs(book).max() <= form.WORD_LIMIT
    assert np.clip(book, 0, None).sum(-1).max() <= form.PART_LIMIT
    assert np.clip(-book, 0, None).sum(-1).max() <= form.PART_LIMIT
    largest = max(np.abs(book).max() / 63, np.abs(book).sum(-1).max() / 126)
    assert largest > 0.5, "the int8 range is left unused"


@pytest.mark.parametrize("options", [ProductOptions(4, 16, 2), ProductOptions(3, 32, 0, True)])
def test_trainable_starts_as_the_coded_weight_and_packs_to_it(options: ProductOptions) -> None:
    weight, moments = random_problem(SHAPE)
    coded = encode.encode(weight, moments, SHAPE, options, 0)
    assert form.made_with(coded) == options
    module = ProductWeight(coded)
    np.testing.assert_allclose(
        module().detach().numpy(), decode_weight(coded), rtol=2e-5, atol=1e-7
    )
    packed = module.coded()
    np.testing.assert_array_equal(form.decode(packed), form.decode(coded))
    np.testing.assert_allclose(decode_scale(packed), decode_scale(coded), rtol=1e-6)


def test_training_the_trainable_form_lowers_an_error() -> None:
    weight, moments = random_problem(SHAPE)
    coded = encode.encode(weight, moments, SHAPE, ProductOptions(8), 0)
    module = ProductWeight(coded, move=True)
    optimizer = torch.optim.Adam(module.parameters(), lr=3e-3)
    errors = []
    for _ in range(60):
        loss = (module() - weight).square().mean()
        errors.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        module.settle()
    packed = torch.from_numpy(decode_weight(module.coded()))
    assert errors[-1] < 0.97 * errors[0]
    assert float((packed - weight).square().mean()) < 0.97 * errors[0]


def test_grouped_convolution_has_its_own_codebooks() -> None:
    shape = WeightShape(8, 4, 8, groups=2)
    weight, moments = random_problem(shape)
    coded = encode.encode(weight, moments, shape, ProductOptions(4), 0)
    assert coded.inputs["codebook"].shape == (4, 16, 4)
