"""Normalisation layers and softmax."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from subbyte.graph.ops.registry import Kernel, NodeView, operator


@operator("BatchNormalization", statistics=(3, 4))
def batch_normalization(form: NodeView) -> Kernel:
    """scale * (x - mean) / sqrt(var + epsilon) + bias per channel, with the stored statistics."""
    epsilon = form.attribute("epsilon", 1e-5)
    form.attribute("momentum", 0.9)  # concerns training only
    if form.attribute("training_mode", 0):
        form.unsupported("training_mode=1")

    def run(x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, var: Tensor) -> Tensor:
        return F.batch_norm(x, mean, var, scale, bias, False, 0.0, epsilon)

    return run


@operator("LayerNormalization", outputs=3)
def layer_normalization(form: NodeView) -> Kernel:
    """scale * (x - mean) / sqrt(var + epsilon) + bias over axes >= ``axis``."""
    axis, epsilon = form.attribute("axis", -1), form.attribute("epsilon", 1e-5)
    form.attribute("stash_type", 1)
    statistics = any(form.outputs[1:])

    def run(x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor | tuple[Tensor, ...]:
        shape = x.shape[axis:]
        exact = scale.shape == shape and (bias is None or bias.shape == shape)
        if exact:
            y = F.layer_norm(x, shape, scale, bias, epsilon)
        else:
            y = F.layer_norm(x, shape, None, None, epsilon) * scale
            y = y if bias is None else y + bias
        if not statistics:
            return y
        axes = list(range(axis % x.ndim, x.ndim))
        variance, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
        return y, mean, torch.rsqrt(variance + epsilon)

    return run


@operator("RMSNormalization")
def rms_normalization(form: NodeView) -> Kernel:
    """scale * x / sqrt(mean(x^2) + epsilon) over axes >= ``axis``."""
    axis, epsilon = form.attribute("axis", -1), form.attribute("epsilon", 1e-5)
    form.attribute("stash_type", 1)
    return lambda x, scale: F.rms_norm(x, x.shape[axis:], None, epsilon) * scale


@operator("InstanceNormalization")
def instance_normalization(form: NodeView) -> Kernel:
    """Normalise each channel of each sample over its spatial axes."""
    epsilon = form.attribute("epsilon", 1e-5)

    def run(x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
        # Not the functions of F: they refuse a single element a channel.
        return torch.group_norm(x, x.shape[1], scale, bias, epsilon)

    return run


@operator("GroupNormalization")
def group_normalization(form: NodeView) -> Kernel:
    """Normalise over groups of channels; one scale and bias per channel (operator set 21)."""
    groups, epsilon = form.attribute("num_groups", 1), form.attribute("epsilon", 1e-5)
    form.attribute("stash_type", 1)
    return lambda x, scale, bias: torch.group_norm(
        x, groups, scale.reshape(-1), bias.reshape(-1), epsilon
    )


@operator("LpNormalization")
def lp_normalization(form: NodeView) -> Kernel:
    """x / ||x||_p along ``axis``; 0 where the norm is 0."""
    axis, p = form.attribute("axis", -1), form.attribute("p", 2)

    def run(x: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(x, p, axis, keepdim=True)
        return x / torch.where(norm == 0, torch.ones_like(norm), norm)

    return run


@operator("MeanVarianceNormalization")
def mean_variance_normalization(form: NodeView) -> Kernel:
    """(x - mean) / (sqrt(var) + 1e-9) over ``axes``."""
    axes = list(form.attribute("axes", (0, 2, 3)))

    def run(x: Tensor) -> Tensor:
        variance, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
        return (x - mean) / (variance.sqrt() + 1e-9)

    return run


@operator("LRN")
def local_response_normalization(form: NodeView) -> Kernel:
    """x / (bias + alpha / size * sum of x^2 over ``size`` neighbouring channels)^beta."""
    size, alpha = form.attribute("size", 1), form.attribute("alpha", 1e-4)
    beta, bias = form.attribute("beta", 0.75), form.attribute("bias", 1.0)

    def run(x: Tensor) -> Tensor:
        squares = (x * x).reshape(x.shape[0], 1, x.shape[1], -1)
        padded = F.pad(squares, [0, 0, (size - 1) // 2, size // 2])
        mean = F.avg_pool2d(padded, [size, 1], 1).reshape(x.shape)
        return x / (bias + alpha * mean) ** beta

    return run


@operator("Softmax")
def softmax(form: NodeView) -> Kernel:
    """exp(x) / sum exp(x) along ``axis``."""
    axis = form.attribute("axis", -1)
    return lambda x: torch.softmax(x, axis)


@operator("LogSoftmax")
def log_softmax(form: NodeView) -> Kernel:
    """x - log(sum exp(x)) along ``axis``."""
    axis = form.attribute("axis", -1)
    return lambda x: torch.log_softmax(x, axis)


@operator("Hardmax")
def hardmax(form: NodeView) -> Kernel:
    """1 at the first largest entry along ``axis``, else 0."""
    axis = form.attribute("axis", -1)

    def run(x: Tensor) -> Tensor:
        index = torch.argmax(x, axis, keepdim=True)
        return torch.zeros_like(x).scatter(axis, index, 1.0)

    return run
