from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from subbyte.errors import OptionError
from subbyte.nn import (
    ResidualBinaryConv2d,
    ResidualBinaryLinear,
    binarize_weight,
    binary_layers,
    residual_binarize,
    set_binarize_weights,
)


def test_linear_is_the_product_of_what_is_binarized() -> None:
    layer = ResidualBinaryLinear(20, 7, order=3)
    x = torch.randn(2, 5, 20)
    expected = residual_binarize(x, 3) @ binarize_weight(layer.weight).T + layer.bias
    torch.testing.assert_close(layer(x), expected)


def test_layers_take_the_place_of_float_ones() -> None:
    """Same parameters, same shapes of output."""
    for plain, binary in (
        (nn.Conv2d(6, 4, (3, 2), 2, 1, 1, 2), ResidualBinaryConv2d(6, 4, (3, 2), 2, 1, 1, 2)),
        (nn.Conv2d(6, 4, 3, padding="same"), ResidualBinaryConv2d(6, 4, 3, padding="same")),
        (nn.Conv2d(6, 4, 2, padding="valid"), ResidualBinaryConv2d(6, 4, 2, padding="valid")),
        (nn.Linear(9, 3, False), ResidualBinaryLinear(9, 3, False)),
    ):
        binary.load_state_dict(plain.state_dict())
        x = torch.randn(2, 6, 8, 9)
        assert binary(x).shape == plain(x).shape


def test_a_wide_layer_is_close_to_the_float_product_of_binary_weights() -> None:
    layer = ResidualBinaryLinear(512, 64, bias=False, order=8)
    x = torch.randn(16, 512)
    exact = (x @ binarize_weight(layer.weight).T).detach()
    errors = []
    for order in (1, 2, 4, 8):
        layer.order = order
        errors.append(float((layer(x).detach() - exact).norm() / exact.norm()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.2


def test_two_stages() -> None:
    net = nn.Sequential(ResidualBinaryConv2d(3, 4, 3), nn.Flatten(), ResidualBinaryLinear(16, 2))
    x = torch.randn(1, 3, 4, 4)
    both = net(x)
    assert set_binarize_weights(net, False) == 2
    first = net[0]
    assert isinstance(first, ResidualBinaryConv2d)
    assert not torch.allclose(net(x), both)
    set_binarize_weights(net, True)
    torch.testing.assert_close(net(x), both)
    assert binary_layers(net) == [net[0], net[2]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": 0}, "order of a residual binarization: expected 1 to 8, got 0"),
        ({"order": 9}, "expected 1 to 8, got 9"),
        ({"scales": "row"}, "scales: expected column or pixel or image, got row"),
        ({"backward": "both"}, "backward form: expected leaf or chain, got both"),
        ({"padding_mode": "reflect"}, "padding mode of a binary layer: expected zeros"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        ResidualBinaryConv2d(3, 4, 3, **options)
    if not options.keys() & {"scales", "padding_mode"}:
        with pytest.raises(OptionError, match=message):
            ResidualBinaryLinear(3, 4, **options)


def test_bad_inputs() -> None:
    with pytest.raises(OptionError, match=r"expected \[N, 3, H, W\], got \[2, 4, 5, 5\]"):
        ResidualBinaryConv2d(3, 4, 3)(torch.ones(2, 4, 5, 5))
    with pytest.raises(OptionError, match=r"the size of the kernel \[3, 3\] at least"):
        ResidualBinaryConv2d(3, 4, 3)(torch.ones(2, 3, 5, 2))
    with pytest.raises(OptionError, match=r"expected \[\.\.\., 3\], got \[2, 4\]"):
        ResidualBinaryLinear(3, 4)(torch.ones(2, 4))


def test_representation_names_the_options() -> None:
    text = repr(ResidualBinaryConv2d(3, 4, 3, order=3, scales="pixel", backward="chain"))
    assert "order=3, scales=pixel, backward=chain, binarize_weights=True" in text
    assert "order=2, backward=leaf" in repr(ResidualBinaryLinear(3, 4))
