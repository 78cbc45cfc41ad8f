"""Layers for training networks with binary weights and inputs: HORQ, XNOR-Net at order 1."""

from __future__ import annotations

from subbyte.nn.binarize import binarize_weight, residual_binarize
from subbyte.nn.block import ChannelShift, ResidualBinaryBlock
from subbyte.nn.modules import (
    ResidualBinaryConv2d,
    ResidualBinaryLinear,
    binary_layers,
    set_binarize_weights,
)

__all__ = [
    "ChannelShift",
    "ResidualBinaryBlock",
    "ResidualBinaryConv2d",
    "ResidualBinaryLinear",
    "binarize_weight",
    "binary_layers",
    "residual_binarize",
    "set_binarize_weights",
]
