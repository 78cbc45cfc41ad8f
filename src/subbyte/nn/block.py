"""A convolution of binary weights and inputs, with the surroundings that later work gave it."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from subbyte.errors import OptionError
from subbyte.nn.binarize import Backward, check_choice
from subbyte.nn.functional import Scales
from subbyte.nn.modules import ResidualBinaryConv2d

Activation = Literal["none", "relu", "prelu"]


class ChannelShift(nn.Module):
    """y = x + shift[c], learned: where the sign of an input changes (ReActNet, ECCV 2020)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Y [N, C, H, W]."""
        return x + self.shift[:, None, None]


class ResidualBinaryBlock(nn.Module):
    """y = activation(conv(shift(BN(x)))) (+ shortcut(x)), x [N, C, H, W] -> y [N, O, ...].

    BatchNorm before the signs and ReLU after the convolution are XNOR-Net's. The options are from
    later work:

    - ``shift``: a learned shift before the signs (ReActNet, ECCV 2020);
    - ``activation="prelu"`` (ReActNet);
    - ``shortcut``: real values around every convolution (Bi-Real Net, ECCV 2018). x is averaged
      over the stride. Its channels are repeated or, where the outputs are no multiple of the
      inputs, mapped by a float 1 x 1 convolution.

    The shortcut needs a convolution that keeps the size but for its stride: odd kernel, padding of
    half of it.

    Raises:
        OptionError: an activation that does not exist, an even kernel with a shortcut, and the
            errors of `ResidualBinaryConv2d`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        *,
        order: int = 2,
        scales: Scales = "column",
        backward: Backward = "leaf",
        shift: bool = False,
        activation: Activation = "relu",
        shortcut: bool = False,
    ) -> None:
        super().__init__()
        check_choice("activation of a binary block", activation, Activation)
        if shortcut and kernel_size % 2 == 0:
            raise OptionError(
                "kernel of a binary block with a shortcut", expected="an odd size", got=kernel_size
            )
        self.norm = nn.BatchNorm2d(in_channels)
        self.shift = ChannelShift(in_channels) if shift else nn.Identity()
        self.conv = ResidualBinaryConv2d(
            *(in_channels, out_channels, kernel_size, stride, kernel_size // 2),
            bias=False,
            order=order,
            scales=scales,
            backward=backward,
        )
        self.activation = _activation(activation, out_channels)
        self.shortcut = _Shortcut(in_channels, out_channels, stride) if shortcut else None

    def forward(self, x: Tensor) -> Tensor:
        """Y [N, O, out height, out width]."""
        y: Tensor = self.activation(self.conv(self.shift(self.norm(x))))
        return y if self.shortcut is None else y + self.shortcut(x)


def _activation(name: Activation, channels: int) -> nn.Module:
    if name == "none":
        return nn.Identity()
    return nn.ReLU() if name == "relu" else nn.PReLU(channels)


class _Shortcut(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.repeats, rest = divmod(out_channels, in_channels)
        self.mix = nn.Conv2d(in_channels, out_channels, 1, bias=False) if rest else None

    def forward(self, x: Tensor) -> Tensor:
        if self.stride > 1:
            # The last row and column of an odd size are averages of fewer pixels.
            x = functional.avg_pool2d(x, self.stride, ceil_mode=True, count_include_pad=False)
        if self.mix is not None:
            return self.mix(x)
        return x if self.repeats == 1 else torch.cat([x] * self.repeats, 1)
