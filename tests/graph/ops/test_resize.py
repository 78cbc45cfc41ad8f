from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from subbyte.graph.ops.resize import COORDINATES, NEAREST
from tests.graph.one_node import check

X = np.random.default_rng(0).standard_normal((2, 3, 5, 7)).astype(np.float32)


def check_resize(
    scales: tuple[float, ...] | None = None, sizes: tuple[int, ...] | None = None, **more: Any
) -> None:
    inputs = [
        X,
        np.zeros(0, np.float32) if more.get("opset") == 11 else None,
        np.array(scales or (), np.float32) if scales or more.get("opset") == 11 else None,
        None if sizes is None else np.array(sizes, np.int64),
    ]
    inputs = inputs if sizes is not None else inputs[:3]
    constants = {place: value for place, value in enumerate(inputs) if place and value is not None}
    check("Resize", inputs, constants=constants, tolerance=2e-5, **more)
    if "opset" not in more:
        check("Resize", inputs, tolerance=2e-5, **more)


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("scales", [(1, 1, 2, 2), (1, 1, 0.6, 1.3), (1, 1, 0.5, 0.5)])
def test_interpolation(coordinates: str, mode: str, scales: tuple[float, ...]) -> None:
    opset = 19 if coordinates == "half_pixel_symmetric" else 18
    check_resize(
        scales, opset=opset, mode=mode, coordinate_transformation_mode=coordinates
    )  # fmt: skip


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("nearest", NEAREST)
@pytest.mark.parametrize("scales", [(1, 1, 2, 3), (1, 1, 0.7, 1.3), (1, 1, 2, 0.5)])
def test_nearest(coordinates: str, nearest: str, scales: tuple[float, ...]) -> None:
    opset = 19 if coordinates == "half_pixel_symmetric" else 18
    check_resize(
        scales, opset=opset, coordinate_transformation_mode=coordinates, nearest_mode=nearest
    )  # fmt: skip


@pytest.mark.parametrize("opset", [11, 13, 18])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_exported_forms(opset: int, mode: str) -> None:
    coordinates = "asymmetric" if mode == "nearest" else "pytorch_half_pixel"
    check_resize(
        (1, 1, 2, 2), opset=opset, mode=mode, coordinate_transformation_mode=coordinates,
        nearest_mode="floor",
    )  # fmt: skip
    check_resize(
        sizes=(2, 3, 8, 9), opset=opset, mode=mode, coordinate_transformation_mode=coordinates
    )  # fmt: skip


def test_cubic_options() -> None:
    check_resize((1, 1, 1.6, 0.7), mode="cubic", cubic_coeff_a=-0.5)
    check_resize((1, 1, 1.6, 0.7), mode="cubic", exclude_outside=1)


@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_antialias(mode: str) -> None:
    check_resize((1, 1, 0.6, 0.4), opset=18, mode=mode, antialias=1)


@pytest.mark.parametrize("policy", ["not_larger", "not_smaller"])
def test_aspect_ratio(policy: str) -> None:
    check_resize(
        sizes=(10, 9), mode="linear", axes=[2, 3], keep_aspect_ratio_policy=policy, opset=18
    )  # fmt: skip
