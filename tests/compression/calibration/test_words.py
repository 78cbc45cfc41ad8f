"""Codebooks of 32 to 256 words from a plan file to the native kernels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import subbyte
from subbyte.graph.functions.layer import TABLE_SHIFT
from tests import tiny
from tests.compression.nets import relative, smooth_images

WIDTH = 64
# The codes of the other layers lose so much that what tables add is nothing beside it.
PLAN = """
[layers.conv1]
method = "scalar"
bits = 2
[layers.head]
method = "scalar"
bits = 2
[layers.conv2]
method = "product"
group = {group}
words = {words}
gain = {gain}
"""


@pytest.mark.parametrize(
    ("words", "group", "gain", "looked_up"),
    [
        (32, 4, 0, True),
        (32, 8, 3, True),
        (128, 8, 0, True),
        (256, 8, 0, False),
    ],
)
def test_plan_to_kernels(
    words: int,
    group: int,
    gain: int,
    looked_up: bool,
    tmp_path: Path,
) -> None:
    """Look-ups where they are faster; then native and portable differ by rounded entries."""
    plan, target = tmp_path / "plan.toml", tmp_path / "small.onnx"
    plan.write_text(PLAN.format(words=words, group=group, gain=gain))
    model = tiny.classifier(tiny.conv_weights(width=WIDTH))
    images = smooth_images(100, size=tiny.SIZE)
    subbyte.compress(model, target, images, plan=plan)
    node = next(x for x in onnx.load(target).graph.node if x.name == "conv2")
    assert node.op_type.startswith("ProductGainConv" if gain else "ProductConv")
    assert (TABLE_SHIFT in [a.name for a in node.attribute]) == looked_up
    fresh = smooth_images(20, size=tiny.SIZE, seed=5)
    native, portable = (
        np.asarray(subbyte.load(target, engine=engine).run(fresh))
        for engine in ("native", "portable")
    )
    assert relative(native, portable) < 0.01
