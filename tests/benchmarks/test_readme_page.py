"""The README's figures and picture, made from records."""

from __future__ import annotations

from typing import Any

from benchmarks.pages.readme import highlights, speed_table
from benchmarks.pages.readme_picture import tradeoff_picture


def run(network: str, bits: float, metric: float) -> dict[str, Any]:
    return {
        "network": network,
        "bits": bits,
        "float": {"metric": 90.0, "file_bytes": 1200},
        "compressed": {"metric": metric, "file_bytes": 100},
    }


def side(file: str, engine: str, ms: float) -> dict[str, Any]:
    return {"file": file, "engine": engine, "median_ms": ms}


def whole(network: str, label: str, **engines: float) -> dict[str, Any]:
    sides = [
        side("float", "portable", 40.0),
        side(label, "native", 5.0),
        side(label, "portable", 10.0),
        side("float", "onnxruntime-int8", 9.0),
        side("float", "openvino-int8", 8.0),
    ]
    return {
        "network": network,
        "bytes": {"float": 4_000_000, label: 500_000},
        "engines": {label: {"cosine": 1.0} | engines},
        "latency": {"1": sides},
    }


WHOLE = {
    "isa": "avx512",
    "networks": [
        whole("ResNet-18", "d=4, 2-bit gain"),
        whole("ResNet-20", "2 bits", native_top1=89.0),
    ],
}


def test_bullets_name_what_was_measured() -> None:
    runs = [run("resnet20", 2, 89.5), run("densenet40", 2, 89.9), run("espnet", 3, 89.9)]
    stock = {"networks": [{"network": "a", "ratio": 0.97}, {"network": "b", "ratio": 1.04}]}
    small, fast, portable = highlights(runs, WHOLE, stock).splitlines()
    assert "12 to 12 times smaller and lose 0.1 to 0.5 points" in small
    assert "(resnet20, densenet40)" in small
    assert "5.0 ms" in fast
    assert "the best int8 (openvino) takes 8.0 ms" in fast
    assert "0.97 to 1.04 times as long" in portable


def test_networks_that_lose_more_are_not_named() -> None:
    runs = [run("resnet20", 2, 89.5), run("kwt1", 2, 80.0)]
    stock = {"networks": [{"network": "a", "ratio": 1.0}]}
    assert "kwt1" not in highlights(runs, WHOLE, stock)


def test_the_table_has_losers_too_and_no_accuracy_of_random_weights() -> None:
    package = {
        "network": "slow",
        "task": None,
        "bits": 2.997,
        "ms": {"float": 3.0, "int8": 1.0, "native": 2.0},
        "bytes": {"float": 1_000_000, "portable": 100_000},
    }
    lines = speed_table(
        [WHOLE], [package, package | {"ms": {"native": 1.0}}], [run("resnet20", 2, 89)]
    )
    rows = lines.splitlines()[2:]
    assert rows[0].startswith("| ResNet-18, avx512 | random weights | random weights |")
    assert rows[1] == (
        "| ResNet-20, avx512 | top-1 90.0 | 89.0 | 2 bits | 4.00 -> 0.50 | 5.00 | 8.00 (openvino) |"
    )
    assert rows[2].endswith("| 3.00 | 1.00 -> 0.10 | 2.00 | 1.00 (onnxruntime) |")
    assert len(rows) == 3


def test_the_picture_has_a_line_for_each_network_and_leaves_far_points_out() -> None:
    names = ("resnet20", "densenet40", "kwt1", "espnet", "mobilenet_v1_025", "yolo_nano_voc")
    points = [
        {"file_bytes": 100, "metric": 89.0},
        {"file_bytes": 150, "metric": 90.0},
        {"file_bytes": 10, "metric": 89.0},
        {"file_bytes": 120, "metric": 1.0},
    ]
    records = [
        {
            "network": name,
            "metric": "top-1",
            "float": {"file_bytes": 1000, "metric": 90.0},
            "points": points,
        }
        for name in names
    ]
    picture = tradeoff_picture(records)
    assert all(f"{name}, top-1 90.0" in picture for name in names)
    assert picture.count("<circle") == 2 * len(names)
