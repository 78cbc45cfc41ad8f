"""The reproductions' own counting, and the page made of their records."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from benchmarks.pages.papers import horq_section, papers_page
from benchmarks.papers import ffn, qcnn
from subbyte.compression.planning.plan_file import parse_plan, planned_layers
from subbyte.graph.load.network import read_network
from subbyte.graph.load.torch_export import export_module
from subbyte.methods.product.form import ProductOptions
from subbyte.methods.scalar.form import ScalarOptions

RECORDS: dict[str, Any] = {
    "qcnn": {
        "networks": [
            {
                "network": "784-1000-10",
                "float_error": 1.2,
                "paper_rate": 12.08,
                "rows": [
                    {"procedure": "paper", "error": 1.25, "error_int8": 1.3, "stored_rate": 19.9}
                ],
            }
        ]
    },
    "ffn": {
        "runs": [
            {
                "network": "resnet20",
                "samples": 4000,
                "tuned": True,
                "float": 93.75,
                "top1": 93.02,
                "bits_per_weight": 1.999,
            }
        ]
    },
    "horq": {
        "runs": [
            {
                "dataset": "cifar10",
                "net": "narrow",
                "layers": "5x5/2 32, 3x3 64",
                "images": 20000,
                "epochs": 4,
                "batch": 64,
                "training_cpu_seconds": 40.0,
                "order": order,
                "backward": "leaf",
                "accuracy": {"jpeg": 60.0 + seed, "lossless": 61.0},
            }
            for order in (0, 1)
            for seed in (0, 1, 2)
        ]
    },
    "soft_hard": {
        "data": [
            {
                "data": "mnist",
                "float": 99.2,
                "seconds": 100.0,
                "grids": [
                    {
                        "levels": "ternary",
                        "hard": 99.0,
                        "tuned": 99.15,
                        "seconds": 3.9,
                        "file": {"accuracy": 99.14, "bits_per_weight": 2.01},
                    }
                ],
            }
        ]
    },
    "cbdnet": {
        "networks": [
            {
                "network": "espnet",
                "like": "SegNet",
                "paper_bits": 5.18,
                "metric": "mIoU",
                "float": 57.0,
                "paper": {
                    "counted_bits": 5.12,
                    "bits_per_weight": 4.68,
                    "metric": 56.5,
                    "metric_int8": 56.0,
                },
                "corrected": {"bits_per_weight": 5.18, "metric": 57.0, "metric_int8": 56.9},
            }
        ]
    },
}
ROWS = {
    "qcnn": "| 784-1000-10 | with error correction | 1.20 | 1.25 (+0.05) | 1.30 | not known |",
    "ffn": "| resnet20 | 2.00 | distilled | 4,000 | 93.75 | 93.02 (-0.73) | not known |",
    "horq": "| cifar10 | 20,000 x 4 | 1 (XNOR) | leaf | 3 | 61.00 (60.00 to 62.00) |",
    "soft_hard": "| mnist | ternary | 99.20 | 99.00 | 99.15 (-0.05) | 99.14 | 2.010 | 3.9 % |",
    "cbdnet": "| espnet | the paper's | 5.18 (SegNet) | 5.12 | 4.68 | mIoU | 57.00 |",
}


@pytest.mark.parametrize("present", [list(RECORDS), ["ffn"], []])
def test_page_shows_what_is_recorded(present: list[str], tmp_path: Path) -> None:
    for name in present:
        (tmp_path / f"{name}.json").write_text(json.dumps(RECORDS[name]))
    page = papers_page(tmp_path)
    assert [name for name, row in ROWS.items() if row in page] == [n for n in ROWS if n in present]
    assert page.count("\n## ") == len(present)


def test_what_order_2_gains_at_one_budget() -> None:
    budget = {"dataset": "cifar10", "net": "narrow", "layers": "5x5/2 32", "images": 5000}
    budget |= {"epochs": 26, "batch": 16, "backward": "chain", "training_cpu_seconds": 40.0}
    budget |= {"options": "shift, prelu"}
    taught = {"float_epochs": 16, "real_epochs": 2, "distil": 0.9}
    runs = [
        budget | taught | {"order": order, "accuracy": {"a": top1 + seed, "b": 50.0}}
        for order, top1 in ((0, 64.0), (1, 58.0), (2, 61.0))
        for seed in (0, 1)
    ]
    runs.append(budget | {"order": 0, "accuracy": {"a": 70.0, "b": 70.0}})
    page = "\n".join(horq_section({"runs": runs}))
    assert "Network `narrow` (5x5/2 32; shift, prelu in every block" in page
    words = "from the float net of 16 epochs, 2 epochs with real weights, distilled (0.9)"
    assert page.count(f"| {words} |") == 3
    assert page.count("order 2 over order 1") == 1
    gain = "5,000 x 26: order 2 over order 1 +3.00 / +0.00"
    assert f"{gain}; over float {words} -3.00 / +0.00; over float from scratch -8.50" in page


def test_rates_as_the_paper_counts() -> None:
    assert qcnn.paper_rate("784-1000-10") == pytest.approx(12.08, abs=0.005)
    assert qcnn.paper_rate("784-1000-1000-1000-10") == pytest.approx(13.44, abs=0.005)


def test_all_layers_but_the_last_are_coded(tmp_path: Path) -> None:
    model = qcnn.network("784-32-32-10").eval()
    path = tmp_path / "net.onnx"
    onnx.save(export_module(model, torch.zeros(2, 784)), path)
    layers = planned_layers(read_network(path))
    plan = list(parse_plan(qcnn.plan(path, "paper"), layers, "plan").values())
    assert plan == [ProductOptions(4, 32, procedure="paper")] * 2 + [ScalarOptions(8)]


def test_jitter_moves_images_whole() -> None:
    images = torch.zeros(64, 28, 28)
    images[:, 10:18, 10:18] = torch.arange(64.0).reshape(8, 8) + 1
    moved = qcnn.jitter(images.flatten(1), torch.Generator().manual_seed(0)).reshape(-1, 28, 28)
    assert torch.equal(moved.sum((1, 2)), images.sum((1, 2)))
    assert len({tuple(np.argwhere(one.numpy() == 1)[0]) for one in moved}) > 10


def test_runs_have_their_order_and_replace_each_other(tmp_path: Path) -> None:
    path = tmp_path / "ffn.json"
    labels = [setting.label() for setting in ffn.SETTINGS]
    for name, top1 in (("resnet32", 1.0), ("resnet20", 2.0), ("resnet32", 3.0)):
        ffn.write([{"id": f"{name}-{label}", "top1": top1} for label in labels], path)
    runs = json.loads(path.read_text())["runs"]
    assert [run["top1"] for run in runs] == [2.0] * 3 + [3.0] * 3
    assert all(a["id"] != b["id"] for a, b in pairwise(runs))
