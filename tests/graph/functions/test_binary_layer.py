"""Function bodies of binary layers against the definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from subbyte.graph.functions.binary_layer import binary_layer
from subbyte.graph.functions.body import Body
from subbyte.graph.quant_params import QuantParams
from subbyte.methods import CodedWeight, WeightShape, binarization_of, decode_weight
from subbyte.methods.binarization import Binarization, binarize_fields, scales_of
from tests.graph.functions.one_call import WINDOWS, M, R, X, Y, coded, codes, nhwc, run

VARIANTS = ["column1", "column2", "pixel3", "image2", "image4"]


def conv(x: torch.Tensor, weight: CodedWeight, window: dict[str, list[int]]) -> torch.Tensor:
    """sum of W x~ over the receptive fields of x [N, C, H, W], in float64, without bias."""
    form = binarization_of(weight)
    assert form is not None
    groups, kernel = weight.shape.groups, window["kernel_shape"]
    top, left, bottom, right = window["pads"]
    padded = F.pad(x.double(), (left, right, top, bottom))
    columns = F.unfold(padded, kernel, window["dilations"], 0, window["strides"])
    fields = columns.unflatten(1, (groups, weight.shape.inputs, weight.shape.taps))
    scales = None
    if form.scales == "image":
        scales = scales_of(x.double().reshape(len(x), groups, 1, 1, -1), form.order, (-1,))
    fields = binarize_fields(fields.permute(0, 1, 4, 3, 2), form, scales).flatten(3)
    matrix = torch.from_numpy(decode_weight(weight)).double().reshape(groups, -1, fields.shape[3])
    rows = torch.einsum("ngpk,gok->ngop", fields, matrix).flatten(1, 2)
    empty = F.conv2d(
        padded,
        torch.zeros(1, x.shape[1], *kernel).double(),
        None,
        window["strides"],
        0,
        window["dilations"],
    )
    return rows.reshape(len(x), -1, *empty.shape[2:])


def whole(q: np.ndarray, params: QuantParams) -> torch.Tensor:
    """Codes less their zero point, channels first."""
    return torch.from_numpy(np.moveaxis(q.astype(np.float64) - params.zero_point, -1, 1))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("window", "groups"), [(WINDOWS[0], 1), (WINDOWS[1], 1), (WINDOWS[2], 2)])
def test_conv(variant: str, window: dict[str, list[int]], groups: int) -> None:
    taps = int(np.prod(window["kernel_shape"]))
    weight = coded(variant, WeightShape(12, taps, 16 // groups, groups))
    q, _ = codes((2, 7, 9, 16), X, 2)
    bias = np.linspace(-1, 2, 12, dtype=np.float32)
    exact = conv(whole(q, X), weight, window) * X.scale + torch.from_numpy(bias)[:, None, None]
    for optimize in (False, True):
        actual = run(weight, "Conv", "", {"x": q}, bias, {**window, "group": groups}, optimize)
        difference = np.abs(actual.astype(int) - Y.quantize(nhwc(exact.float())).astype(int))
        assert difference.max() <= 1
        assert (difference > 0).mean() < 0.01
        assert len(np.unique(actual)) > 20


@pytest.mark.parametrize("variant", VARIANTS)
def test_float_conv(variant: str) -> None:
    weight = coded(variant, WeightShape(12, 6, 8, 2))
    x = np.random.default_rng(3).standard_normal((2, 16, 6, 7)).astype(np.float32)
    bias = np.linspace(-1, 2, 12, dtype=np.float32)
    actual = run(weight, "Conv", "Float", {"x": x}, bias, {**WINDOWS[2], "group": 2}, True)
    exact = conv(torch.from_numpy(x), weight, WINDOWS[2]).numpy() + bias[:, None, None]
    np.testing.assert_allclose(actual, exact, atol=2e-5)


def test_no_image_at_all() -> None:
    weight = coded("image2", WeightShape(12, 9, 16))
    q = np.zeros((0, 7, 9, 16), np.uint8)
    bias = np.zeros(12, np.float32)
    assert run(weight, "Conv", "", {"x": q}, bias, {**WINDOWS[0], "group": 1}, True).size == 0


def test_conv_with_sum_rounds_before_it_adds() -> None:
    weight = coded("column2", WeightShape(12, 9, 16))
    q, _ = codes((2, 5, 6, 16), X, 4)
    r, other = codes((2, 5, 6, 12), R, 5)
    bias = np.linspace(-1, 1, 12, dtype=np.float32)
    feeds = {"x": q, "r": r}
    actual = run(weight, "Conv", "Add", feeds, bias, {**WINDOWS[0], "group": 1}, True)
    y = conv(whole(q, X), weight, WINDOWS[0]) * X.scale + torch.from_numpy(bias)[:, None, None]
    inner = (M.quantize(y.float().numpy()).astype(np.float32) - M.zero_point) * M.scale
    expected = Y.quantize(nhwc(torch.from_numpy(inner) + other))
    difference = np.abs(actual.astype(int) - expected.astype(int))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.02


@pytest.mark.parametrize("lead", [(3,), (2, 5), (0,)])
@pytest.mark.parametrize("form", ["", "Dequant", "Float"])
def test_linear(form: str, lead: tuple[int, ...]) -> None:
    """A row is a column, also where the variant names another kind."""
    for variant in ("column3", "image3"):
        weight = coded(variant, WeightShape(24, 1, 32))
        q = np.random.default_rng(7).integers(0, 256, (*lead, 32)).astype(np.uint8)
        x = q.astype(np.float32) - np.float32(X.zero_point)
        bias = np.linspace(-1, 2, 24, dtype=np.float32)
        feed = x if form == "Float" else q
        actual = run(weight, "Linear", form, {"x": feed}, bias, {}, True)
        rows = binarize_fields(torch.from_numpy(x)[..., None, :], Binarization(3))[..., 0, :]
        scale = 1 if form == "Float" else X.scale
        y = rows.numpy() @ decode_weight(weight)[:, 0].T * scale + bias
        if form:
            np.testing.assert_allclose(actual, y, atol=1e-3 if form == "Float" else 2e-5)
        else:
            assert np.abs(actual.astype(int) - Y.quantize(y).astype(int)).max(initial=0) <= 1


def test_other_operators_are_refused() -> None:
    with pytest.raises(ValueError, match="LinearLeft"):
        binary_layer(Body(), "LinearLeft", "Float", Binarization())
