"""The stages of the benchmark, on data in small."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks.papers import soft_hard
from benchmarks.papers.soft_hard import Images, Row
from tests.compression.nets import smooth_images


def images() -> Images:
    x = torch.from_numpy(smooth_images(640, size=8))
    y = (x.mean((1, 2, 3)) > 0).long()
    return Images(x[:384], y[:384], x[384:], y[384:])


def network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 64, bias=False), nn.BatchNorm1d(64),
                         nn.ReLU(), nn.Linear(64, 2))  # fmt: skip


ROW = Row("small", images, network, 12, True)


def test_all_stages(tmp_path: Path) -> None:
    found = soft_hard.measure(ROW, tmp_path, soft_share=0.5, pairs=6)
    result = tmp_path / "papers" / "result.json"
    assert found["iterations"] == 36
    assert found["weights"] == 192 * 64 + 128
    assert found["float"] > 80
    for grid in found["grids"]:
        assert grid["soft_iterations"] == 18
        assert grid["tuned"] > found["float"] - 10
        assert grid["memory"]["reduction"] == 0.9375
        assert 2 < grid["file"]["bits_per_weight"] < 2.2
        assert grid["file"]["accuracy"] == pytest.approx(grid["tuned"], abs=1)
    # The float network is kept; the result takes its place beside others.
    assert soft_hard.measure(ROW, tmp_path, soft_share=0.5, pairs=6)["float"] == found["float"]
    soft_hard.record(found, ["other", "small"], result)
    soft_hard.record(found | {"data": "other"}, ["other", "small"], result)
    rows = json.loads(result.read_text())["data"]
    assert [row["data"] for row in rows] == ["other", "small"]
