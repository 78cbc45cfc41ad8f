"""Tables made from records."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.tables import (
    best,
    fill,
    networks_page,
    pages,
    stock_page,
    summary,
    whole_page,
)


def record(network: str, bits: float, compressed: float, **options: Any) -> dict[str, Any]:
    return {
        "id": f"{network}-{bits}",
        "network": network,
        "metric": "top-1",
        "bits": bits,
        "options": [],
        "seconds": 12.3,
        "calibration": {"samples": 1000, "source": "training images"},
        "test": {"samples": 2880, "source": "test images"},
        "float": {"metric": 93.75, "file_bytes": 1000},
        "compressed": {"metric": compressed, "bits_per_weight": bits, "file_bytes": 100} | options,
        "system": {"cpu": "A CPU", "cores": 2, "versions": {"python": "3.11.7"}},
        "packages": {"torch": "2.13.0"},
    }


def test_best_is_the_smallest_that_loses_little() -> None:
    records = [record("resnet20", b, m) for b, m in ((3, 93.7), (2, 93.0), (1.4, 91.6))]
    assert [r["bits"] for r in best(records)] == [2]


def test_best_falls_back_to_the_least_loss() -> None:
    records = [record("kwt1", b, m) for b, m in ((3, 90.0), (2, 80.0))]
    assert [r["bits"] for r in best(records)] == [3]


def test_page_has_every_run_and_the_note() -> None:
    records = [record("resnet20", 2, 93.0, kl=0.0456, agreement=97.25), record("espnet", 3, 90.0)]
    page = networks_page(records, {"resnet20": "why."})
    row = (
        "| resnet20 | top-1 | 93.75 | 93.00 | +0.75 | 97.2 % | 0.046 | 2.00 | 10.0x smaller | 12 |"
    )
    assert row in page
    assert "| espnet | top-1 | 93.75 | 90.00 | +3.75 |  |  | 3.00 |" in page
    assert "- **resnet20**: why." in page
    assert page.count("A CPU") == 1


def test_fill_replaces_what_stands_between_the_marks() -> None:
    begin, end = "<!-- networks table: begin (make docs) -->", "<!-- networks table: end -->"
    page = f"a\n{begin}\nold\n{end}\nb\n"
    assert fill(page, "new") == f"a\n{begin}\nnew\n{end}\nb\n"


def test_fill_says_when_there_is_no_place() -> None:
    with pytest.raises(SystemExit, match="no place"):
        fill("nothing", "new")


def test_summary_has_one_row_per_network() -> None:
    records = [record("resnet20", b, 93.0) for b in (2, 3)] + [record("kwt1", 3, 92.0)]
    assert len(summary(records).splitlines()) == 4


def test_committed_pages_are_up_to_date() -> None:
    stale = [path.name for path, text in pages().items() if path.read_text() != text]
    assert stale == []


def test_stock_page_shows_each_ratio_with_its_spread() -> None:
    sides = {
        "subbyte": {"median_us": 1500.0, "file_bytes": 90_000},
        "int8": {"median_us": 2000.0, "file_bytes": 300_000},
    }
    system = {"cpu": "Some CPU", "versions": {"onnxruntime": "1.2"}}
    row = {"network": "Net", "ratio": 0.75, "ratio_quartiles": [0.7, 0.8], "sides": sides}
    page = stock_page({"networks": [row], "system": system})
    assert "| Net | 1.50 | 2.00 | 0.75 (0.70 to 0.80) | 90 | 300 |" in page
    assert "Some CPU, one thread, onnxruntime 1.2." in page


def test_whole_page_measures_against_the_best_peers() -> None:
    def side(file: str, engine: str, ms: float) -> dict[str, Any]:
        return {"file": file, "engine": engine, "median_ms": ms}

    sides = [
        side("float", "portable", 30.0),
        side("float", "ncnn-fp32", 20.0),
        side("float", "openvino-int8", 8.0),
        side("float", "onnxruntime-int8", 10.0),
        side("d=4", "native", 4.0),
    ]
    network = {
        "network": "Net",
        "latency": {"1": sides},
        "missing": [{"peer": "mnn", "reason": "why"}],
        "bytes": {"float": 4_000_000, "d=4": 125_000},
        "loading": {name: {"load_ms": 12.0, "peak_mb": 34.0} for name in ("float", "d=4")},
        "engines": {
            "d=4": {
                "cosine": 0.99,
                "agreement": 99.5,
                "native_top1": 90.1,
                "portable_top1": 90.0,
            }
        },
    }
    record = {"networks": [network], "isa": "avx2", "packages": {"ncnn": "1"}}
    rows = [
        {"side": side, "file": file, "threads": threads, "median_ms": ms}
        for side, file, threads, ms in (
            ("native", "d=4", 1, 4.0),
            ("native", "d=4", 2, 2.0),
            ("openvino-int8", "float", 1, 8.0),
            ("openvino-int8", "float", 2, 5.0),
        )
    ]
    threads = {"network": "Net", "isa": "avx512", "rows": rows}
    page = whole_page([record | {"system": {"cpu": "A CPU"}}], threads)
    assert "| d=4 | native | 4.00 (2.00x) | 2.00 (2.50x) |" in page
    assert "| float | openvino-int8 | 8.00 (1.00x) | 5.00 (1.00x) |" in page
    assert "| d=4 | native | 4.00 (2.00x, 5.00x) |" in page
    assert "| float | onnxruntime-fp32 | 30.00 (0.27x, 0.67x) |" in page
    assert "| d=4 | 0.12 | 12 | 34 | 0.9900 | 99.50 % | 90.10 / 90.00 |" in page
    assert "Not measured: mnn: why." in page
    assert "## Net, level avx2" in page
    assert "A CPU, ncnn 1." in page
