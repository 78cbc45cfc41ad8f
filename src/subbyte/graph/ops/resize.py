"""Resize: separable interpolation, one axis after the other.

Output position i of an axis reads x at a real coordinate c(i); its value is the sum over a
few taps t of weight[t, i] * x[index[t, i]]. Indices and weights depend on sizes only, so
they are worked out once per size in float64 and the operator is differentiable in x.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from subbyte.graph.ops.registry import Kernel, NodeView, operator

Array = NDArray[np.float64]

NEAREST: dict[str, Callable[[Array], Array]] = {
    "round_prefer_floor": lambda c: np.ceil(c - 0.5),
    "round_prefer_ceil": lambda c: np.floor(c + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}
COORDINATES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
)


@dataclass(frozen=True)
class Rule:
    """How coordinates map and which taps are taken; hashable, so taps can be cached."""

    mode: str
    coordinates: str
    nearest: str
    cubic: float
    exclude_outside: bool
    antialias: bool


def _coordinates(rule: Rule, size: int, outputs: int, scale: float) -> Array:
    # In float32, as runtimes do it: otherwise nearest differs where a coordinate is a tie.
    at, half, ratio = np.arange(outputs, dtype=np.float32), np.float32(0.5), np.float32(scale)
    if rule.coordinates == "align_corners":
        steps = np.float32(max(outputs - 1, 1))
        return (at * np.float32(size - 1) / steps).astype(np.float64)
    if rule.coordinates == "asymmetric":
        return (at / ratio).astype(np.float64)
    if rule.coordinates == "pytorch_half_pixel" and outputs == 1:
        return np.zeros(1)
    position = (at + half) / ratio
    if rule.coordinates == "half_pixel_symmetric":
        adjustment = np.float32(outputs) / (ratio * np.float32(size))
        position = np.float32(size) * half * (1 - adjustment) + position
    return (position - half).astype(np.float64)


def _weights(rule: Rule, distance: Array) -> Array:
    """The interpolation kernel at |distance| from a sample."""
    d = np.abs(distance)
    if rule.mode == "linear":
        return np.maximum(0.0, 1.0 - d)
    a = rule.cubic
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


@lru_cache(maxsize=256)
def taps(rule: Rule, size: int, outputs: int, scale: float) -> tuple[NDArray[np.int64], Array]:
    """(index, weight), both [taps, outputs], for one axis."""
    at = _coordinates(rule, size, outputs, scale)
    if rule.mode == "nearest":
        index = np.clip(NEAREST[rule.nearest](at), 0, size - 1)
        return index.astype(np.int64)[None], np.ones((1, outputs))
    stretch = min(scale, 1.0) if rule.antialias else 1.0
    reach = (1.0 if rule.mode == "linear" else 2.0) / stretch
    first = np.floor(at - reach) + 1
    index = first + np.arange(int(np.ceil(2 * reach)) + (1 if rule.antialias else 0))[:, None]
    weight = _weights(rule, (index - at) * stretch)
    if rule.exclude_outside:
        weight = np.where((index >= 0) & (index < size), weight, 0.0)
    if rule.exclude_outside or rule.antialias:
        weight = weight / weight.sum(0)
    return np.clip(index, 0, size - 1).astype(np.int64), weight


def resize_axis(x: Tensor, axis: int, outputs: int, scale: float, rule: Rule) -> Tensor:
    """x interpolated along one axis."""
    index, weight = taps(rule, x.shape[axis], outputs, scale)
    total = None
    shape = [-1 if place == axis else 1 for place in range(x.ndim)]
    for places, factors in zip(index, weight, strict=True):
        part = x.index_select(axis, torch.from_numpy(places).to(x.device))
        if rule.mode != "nearest":
            part = part * torch.from_numpy(factors).to(x.device, x.dtype).reshape(shape)
        total = part if total is None else total + part
    return x if total is None else total


def _read_rule(form: NodeView) -> Rule:
    rule = Rule(
        mode=form.attribute("mode", "nearest"),
        coordinates=form.attribute("coordinate_transformation_mode", "half_pixel"),
        nearest=form.attribute("nearest_mode", "round_prefer_floor"),
        cubic=form.attribute("cubic_coeff_a", -0.75),
        exclude_outside=bool(form.attribute("exclude_outside", 0)),
        antialias=bool(form.attribute("antialias", 0)),
    )
    form.attribute("extrapolation_value", 0.0)  # concerns tf_crop_and_resize only
    for name, value, known in (
        ("mode", rule.mode, ("nearest", "linear", "cubic")),
        ("coordinate_transformation_mode", rule.coordinates, COORDINATES),
        ("nearest_mode", rule.nearest, tuple(NEAREST)),
    ):
        if value not in known:
            form.unsupported(f"{name}={value}")
    return rule


def _fast(x: Tensor, outputs: list[int], scales: list[float], rule: Rule) -> Tensor | None:
    """The same by torch's own kernels, where they compute the same."""
    if x.ndim != 4 or x.shape[:2] != tuple(outputs[:2]) or not x.is_floating_point():
        return None
    whole = all(scale == int(scale) for scale in scales)
    up = all(size * scale == out for size, scale, out in zip(x.shape, scales, outputs, strict=True))
    if rule.mode == "nearest" and whole and up:
        plain = rule.coordinates == "asymmetric" and rule.nearest == "floor"
        centred = rule.coordinates == "half_pixel" and rule.nearest.startswith("round")
        return F.interpolate(x, size=outputs[2:], mode="nearest") if plain or centred else None
    corners = rule.coordinates == "align_corners"
    simple = rule.mode == "linear" and not rule.antialias and not rule.exclude_outside
    if simple and up and (corners or rule.coordinates == "half_pixel"):
        return F.interpolate(x, size=outputs[2:], mode="bilinear", align_corners=corners)
    return None


def _policy_scales(wanted: list[float], policy: str) -> list[float]:
    if policy == "stretch":
        return wanted
    scale = min(wanted) if policy == "not_larger" else max(wanted)
    return [scale] * len(wanted)


@operator("Resize", lengths=(1, 2, 3))
def resize(form: NodeView) -> Kernel:
    """x interpolated to the given sizes, or by the given scales."""
    rule, axes = _read_rule(form), form.optional("axes")
    policy = form.attribute("keep_aspect_ratio_policy", "stretch")
    fixed_scales, read_sizes = form.static(2), form.integers(3)
    fixed = None if fixed_scales is None else fixed_scales.astype(float).reshape(-1).tolist()
    form.static(1)  # the region of interest concerns tf_crop_and_resize only

    def run(x: Tensor, *tensors: Tensor | None) -> Tensor:
        _, scales_tensor, sizes_tensor = (*tensors, None, None, None)[:3]
        given: Any = fixed if scales_tensor is None else scales_tensor.reshape(-1).tolist()
        sizes = read_sizes(sizes_tensor)
        chosen = [axis % x.ndim for axis in axes] if axes is not None else range(x.ndim)
        outputs, scales = list(x.shape), [1.0] * x.ndim
        if sizes:
            wanted = [size / x.shape[axis] for size, axis in zip(sizes, chosen, strict=True)]
            given = _policy_scales(wanted, policy)
        for entry, axis in enumerate(chosen):
            scales[axis] = given[entry]
            exact = x.shape[axis] * given[entry]
            if sizes:
                outputs[axis] = sizes[entry] if policy == "stretch" else int(exact + 0.5)
            else:
                outputs[axis] = int(exact)
        return _resize(x, outputs, scales, rule)

    return run


def _resize(x: Tensor, outputs: list[int], scales: list[float], rule: Rule) -> Tensor:
    y = _fast(x, outputs, scales, rule)
    if y is not None:
        return y
    for axis, (size, scale) in enumerate(zip(outputs, scales, strict=True)):
        if size != x.shape[axis] or scale != 1.0:
            x = resize_axis(x, axis, size, scale, rule)
    return x
