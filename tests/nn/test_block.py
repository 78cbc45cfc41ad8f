from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn import functional

from subbyte.errors import OptionError
from subbyte.graph.load.torch_export import export_module
from subbyte.nn import ResidualBinaryBlock, set_binarize_weights


def test_the_parts_in_their_order() -> None:
    block = ResidualBinaryBlock(4, 8, stride=2, shift=True, activation="prelu", shortcut=True)
    block.eval()
    nn.init.normal_(block.shift.shift)  # type: ignore[arg-type]
    x = torch.randn(2, 4, 6, 6)
    y = block.activation(block.conv(block.norm(x) + block.shift.shift[:, None, None]))  # type: ignore[index]
    around = functional.avg_pool2d(x, 2)
    torch.testing.assert_close(block(x), y + torch.cat([around, around], 1))


@pytest.mark.parametrize("sizes", [(4, 4), (4, 12), (4, 6), (6, 4)])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_shortcuts_fit_every_shape(sizes: tuple[int, int], stride: int) -> None:
    block = ResidualBinaryBlock(*sizes, 3, stride, shortcut=True)
    for side in (7, 8, 9):
        plain = functional.conv2d(
            torch.ones(2, 1, side, side), torch.ones(1, 1, 3, 3), None, stride, 1
        )
        assert block(torch.randn(2, sizes[0], side, side)).shape[1:] == (sizes[1], *plain.shape[2:])


def test_blocks_are_exported() -> None:
    block = ResidualBinaryBlock(4, 6, stride=2, shift=True, activation="prelu", shortcut=True)
    x = torch.randn(3, 4, 7, 7)
    model = export_module(block, x)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (y,) = session.run(None, {model.graph.input[0].name: x.numpy()})
    expected = block.eval()(x).detach().numpy()
    assert np.linalg.norm(y - expected) < 0.05 * np.linalg.norm(expected)


def test_a_net_of_blocks_learns_in_two_stages() -> None:
    """Which quarter of an image is bright: the loss falls in both stages, every part moves."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        ResidualBinaryBlock(8, 16, stride=2, shift=True, activation="prelu", shortcut=True),
        ResidualBinaryBlock(16, 16, stride=2),
        nn.Flatten(),
        nn.Linear(64, 4),
    )
    labels = torch.arange(64) % 4
    x = torch.randn(64, 1, 8, 8)
    for image, label in zip(x, labels, strict=True):
        row, column = divmod(int(label), 2)
        image[0, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 1
    start = {name: value.detach().clone() for name, value in net.named_parameters()}
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    losses = []
    for binarize in (False, True):
        set_binarize_weights(net, binarize)
        for _ in range(15):
            loss = functional.cross_entropy(net(x), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    assert losses[14] < 0.5 * losses[0]
    assert losses[29] < 0.5 * losses[15]
    assert all(not torch.equal(value, start[name]) for name, value in net.named_parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "gelu"}, "activation of a binary block: expected none or relu or prelu"),
        ({"kernel_size": 2, "shortcut": True}, "kernel of a binary block with a shortcut"),
        ({"order": 9}, "order of a residual binarization"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        ResidualBinaryBlock(4, 4, **options)
