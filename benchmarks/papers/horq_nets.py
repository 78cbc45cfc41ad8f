"""The nets of the HORQ comparison: the same layers for every order, order 0 being float."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from subbyte.nn import ResidualBinaryBlock, ResidualBinaryConv2d
from subbyte.nn.binarize import Backward
from subbyte.nn.block import Activation


@dataclass(frozen=True)
class Net:
    """Channels of its convolutions, which of them max-pooling follows, and options of the blocks.

    Without options a block is XNOR-Net's: BatchNorm, convolution, ReLU.
    """

    channels: tuple[int, ...]
    pooled: tuple[int, ...]
    shift: bool = False
    activation: Activation = "relu"
    shortcut: bool = False

    @property
    def layers(self) -> str:
        """In words."""
        sizes = ["5x5/2", *["3x3"] * (len(self.channels) - 1)]
        return ", ".join(
            f"{size} {channels}" + ", pool" * (index in self.pooled)
            for index, (size, channels) in enumerate(zip(sizes, self.channels, strict=True))
        )

    @property
    def options(self) -> str:
        """In words, what later work put into the blocks."""
        activation = "" if self.activation == "relu" else self.activation
        names = ("shift" * self.shift, activation, "shortcut" * self.shortcut)
        return ", ".join(filter(None, names))


NETS = {
    "mnist": {"narrow": Net((16, 32, 64), (1,))},
    "cifar10": {
        "narrow": Net((32, 32, 64, 128), (1, 2)),
        "wide": Net((32, 128, 256), (0, 1)),
        "wider": Net((48, 128, 256), (0, 1)),
        # Few values into the first binary layer, many outputs of each: order counts most.
        "bottleneck": Net((16, 128, 192), (0, 1)),
        "prelu": Net((16, 128, 192), (0, 1), shift=True, activation="prelu"),
        "shortcut": Net((16, 128, 192), (0, 1), shift=True, activation="prelu", shortcut=True),
    },
}


def build(net: Net, inputs: int, order: int, backward: Backward) -> nn.Sequential:
    """``net`` for images of ``inputs`` channels; ``order`` 0 has float convolutions."""
    layers: list[nn.Module] = []
    for index, above in enumerate(net.channels):
        if index == 0:
            layers += [nn.Conv2d(inputs, above, 5, 2, 2, bias=False), nn.ReLU()]
        elif net.options:
            layers.append(_block(net, index, order, backward))
        else:
            below = net.channels[index - 1]
            conv = _convolution(below, above, order, backward)
            layers += [nn.BatchNorm2d(below), conv, nn.ReLU()]
        if index in net.pooled:
            layers.append(nn.MaxPool2d(2))
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    layers += [nn.BatchNorm1d(net.channels[-1]), nn.Linear(net.channels[-1], 10)]
    return nn.Sequential(*layers)


def _block(net: Net, index: int, order: int, backward: Backward) -> ResidualBinaryBlock:
    below, above = net.channels[index - 1 : index + 1]
    block = ResidualBinaryBlock(
        below,
        above,
        order=max(1, order),
        backward=backward,
        shift=net.shift,
        activation=net.activation,
        shortcut=net.shortcut,
    )
    block.register_module("conv", _convolution(below, above, order, backward))
    return block


def _convolution(below: int, above: int, order: int, backward: Backward) -> nn.Module:
    if order == 0:
        return nn.Conv2d(below, above, 3, padding=1, bias=False)
    return ResidualBinaryConv2d(
        below, above, 3, padding=1, bias=False, order=order, backward=backward
    )
