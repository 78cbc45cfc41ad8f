"""Layers with binary weights and inputs of order K, to put where nn.Conv2d or nn.Linear are."""

from __future__ import annotations

from typing import Any

import torch
import torch.onnx.ops
from torch import Tensor, nn
from torch.nn import functional

from subbyte.errors import OptionError
from subbyte.nn.binarize import (
    Backward,
    binarize_weight,
    check_choice,
    check_order,
    residual_binarize,
)
from subbyte.nn.functional import Scales, Window, residual_binary_conv2d


class ResidualBinaryConv2d(nn.Conv2d):
    """y = alpha[o] * sum over k of beta_k <sign(W[o]), H_k> + bias[o]: HORQ (ICCV 2017).

    x [N, C, H, W] float, W [O, C / groups, kh, kw] the latent weights that an optimizer updates,
    alpha[o] = mean |W[o]|. beta_k and H_k of a receptive field are as in `subbyte.nn.binarize`. The
    padding is zeros of x, with signs like any other value. Order 1 is XNOR-Net. Put a BatchNorm2d
    before it, and the ReLU, if any, not in between.

    The paper's: weights, the expansion of order K, a scale for every column and order. Ours:
    ``scales`` other than ``column`` (`subbyte.nn.functional`) and both forms of ``backward``.

    ``binarize_weights``: where false, W itself multiplies the binarized inputs (the first stage of
    training in two; see `set_binarize_weights`). Such a layer cannot be exported.

    Raises:
        OptionError: an order outside 1 to 8; scales or a backward form that do not exist; another
            padding than zeros. An input that is not [N, C, H, W] of the layer's C, or is smaller
            than the kernel, is one when the layer runs.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: str | int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        *,
        order: int = 2,
        scales: Scales = "column",
        backward: Backward = "leaf",
        binarize_weights: bool = True,
    ) -> None:
        if padding_mode != "zeros":
            raise OptionError("padding mode of a binary layer", expected="zeros", got=padding_mode)
        check_order(order)
        super().__init__(
            *(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias),
            device=device,
            dtype=dtype,
        )
        self.binarize_weights = binarize_weights
        self.window = Window(
            (self.stride[0], self.stride[1]),
            self._pads(),
            (self.dilation[0], self.dilation[1]),
            groups,
            order,
            scales,
            backward,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Y [N, O, out height, out width] of x [N, C, H, W]."""
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise OptionError(
                "input of a ResidualBinaryConv2d",
                expected=f"[N, {self.in_channels}, H, W]",
                got=list(x.shape),
            )
        sizes = [self._output_size(x, 0), self._output_size(x, 1)]
        if min(sizes) < 1:
            raise OptionError(
                "input of a ResidualBinaryConv2d",
                expected=f"the size of the kernel {list(self.kernel_size)} at least",
                got=list(x.shape),
            )
        if torch.onnx.is_in_onnx_export():
            return self._exported(x, sizes)
        weight = binarize_weight(self.weight) if self.binarize_weights else self.weight
        return residual_binary_conv2d(x, weight, self.bias, self.window)

    def extra_repr(self) -> str:
        """The layer's own options, beside the ones of nn.Conv2d."""
        window = self.window
        plain = super().extra_repr()  # type: ignore[no-untyped-call]
        return (
            f"{plain}, order={window.order}, scales={window.scales}, "
            f"backward={window.backward}, binarize_weights={self.binarize_weights}"
        )

    def _pads(self) -> tuple[int, int, int, int]:
        if self.padding == "valid":
            return 0, 0, 0, 0
        if self.padding == "same":
            totals = [self.dilation[i] * (self.kernel_size[i] - 1) for i in (0, 1)]
            before = [total // 2 for total in totals]
            return before[0], before[1], totals[0] - before[0], totals[1] - before[1]
        vertical, horizontal = (int(p) for p in self.padding)
        return vertical, horizontal, vertical, horizontal

    def _output_size(self, x: Tensor, axis: int) -> int:
        pads = self.window.pads
        span = self.dilation[axis] * (self.kernel_size[axis] - 1) + 1
        free = x.shape[2 + axis] + pads[axis] + pads[axis + 2] - span
        return free // self.stride[axis] + 1

    def _exported(self, x: Tensor, sizes: list[int]) -> Tensor:
        window = self.window
        return torch.onnx.ops.symbolic(
            "subbyte::ResidualBinaryConv",
            [x, self.weight] if self.bias is None else [x, self.weight, self.bias],
            {
                "kernel_shape": list(self.kernel_size),
                "strides": list(window.stride),
                "pads": list(window.pads),
                "dilations": list(window.dilation),
                "group": window.groups,
                "order": window.order,
                "scales": window.scales,
            },
            dtype=x.dtype,
            shape=(x.shape[0], self.out_channels, *sizes),
            version=1,
        )


class ResidualBinaryLinear(nn.Linear):
    """y = alpha[o] * sum over k of beta_k <sign(W[o]), H_k> + bias[o], x [..., I] -> y [..., O].

    As `ResidualBinaryConv2d`, with scales for every row of x.

    Raises:
        OptionError: an order outside 1 to 8, a backward form that does not exist, an input
            whose last dimension is not I.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        order: int = 2,
        backward: Backward = "leaf",
        binarize_weights: bool = True,
    ) -> None:
        check_order(order)
        check_choice("backward form", backward, Backward)
        super().__init__(in_features, out_features, bias, device=device, dtype=dtype)
        self.order = order
        self.backward_form: Backward = backward
        self.binarize_weights = binarize_weights

    def forward(self, x: Tensor) -> Tensor:
        """Y [..., O] of x [..., I]."""
        if x.ndim < 1 or x.shape[-1] != self.in_features:
            raise OptionError(
                "input of a ResidualBinaryLinear",
                expected=f"[..., {self.in_features}]",
                got=list(x.shape),
            )
        if torch.onnx.is_in_onnx_export():
            return self._exported(x)
        weight = binarize_weight(self.weight) if self.binarize_weights else self.weight
        return functional.linear(
            residual_binarize(x, self.order, self.backward_form), weight, self.bias
        )

    def extra_repr(self) -> str:
        """The layer's own options, beside the ones of nn.Linear."""
        return (
            f"{super().extra_repr()}, order={self.order}, backward={self.backward_form}, "
            f"binarize_weights={self.binarize_weights}"
        )

    def _exported(self, x: Tensor) -> Tensor:
        return torch.onnx.ops.symbolic(
            "subbyte::ResidualBinaryLinear",
            [x, self.weight] if self.bias is None else [x, self.weight, self.bias],
            {"order": self.order},
            dtype=x.dtype,
            shape=(*x.shape[:-1], self.out_features),
            version=1,
        )


def set_binarize_weights(module: nn.Module, value: bool) -> int:
    """Switch ``binarize_weights`` of every binary layer in ``module``; returns how many there are.

    For training in two stages (Real-to-Binary, Martinez et al., ICLR 2020): inputs binary and
    weights real first; then both binary, from the weights so found.
    """
    layers = binary_layers(module)
    for layer in layers:
        layer.binarize_weights = value
    return len(layers)


def binary_layers(module: nn.Module) -> list[ResidualBinaryConv2d | ResidualBinaryLinear]:
    """The binary layers in ``module``, in its order."""
    kinds = (ResidualBinaryConv2d, ResidualBinaryLinear)
    return [part for part in module.modules() if isinstance(part, kinds)]
