"""Trade-offs of networks: the page, and which point is compared with which form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.pages.tradeoffs import equal_bits, tradeoffs_page
from benchmarks.records import read_records


def _point(bits: float, divergence: float, **more: Any) -> dict[str, Any]:
    return {
        "name": f"bits-{bits}",
        "bits": bits,
        "file_bytes": 1000 * bits,
        "divergence": divergence,
        "agreement": 97.5,
        "metric": 90.0,
    } | more


@pytest.fixture
def record() -> dict[str, Any]:
    return {
        "network": "resnet20",
        "metric": "top-1",
        "samples": {"calibration": 200, "judged": 500},
        "float": {"file_bytes": 32000, "metric": 93.75},
        "points": [_point(1.5, 0.12, latency_ms=0.25), _point(2.1199, 0.04), _point(2.5, 0.02)],
        "forms": [_point(2.12, 0.05, name="d4-g3")],
        "system": {"cpu": "a CPU", "versions": {"python": "3.11"}},
    }


def test_a_form_is_compared_with_the_point_of_its_bits(record: dict[str, Any]) -> None:
    [(form, point)] = equal_bits(record)
    assert (form["name"], point["bits"]) == ("d4-g3", 2.1199)


def test_the_page_says_how_much_lower_the_plan_is(record: dict[str, Any]) -> None:
    page = tradeoffs_page([record])
    assert "| resnet20 | d4-g3 | 2.12 | 0.0500 | 0.0400 | 20 % |  |  |" in page
    assert "| 1.50 | 2 | 21.3x | 90.00 | 0.1200 | 97.5 % | 0.25 |" in page
    assert "| 2.50 | 2 | 12.8x | 90.00 | 0.0200 | 97.5 % |  |" in page


def test_the_page_has_plans_by_trial(record: dict[str, Any]) -> None:
    record |= {"trials": 4, "tried": [_point(2.118, 0.03, name="d4-g3")]}
    page = tradeoffs_page([record])
    assert "| resnet20 | d4-g3 | 2.12 | 0.0500 | 0.0400 | 20 % | 0.0300 | 40 % |" in page


def test_the_page_has_means_over_seeds(record: dict[str, Any]) -> None:
    row = {"name": "d4-g3", "bits": 2.12, "forms": [0.05, 0.07], "plans": [0.04, 0.05]}
    record |= {"seeds": {"judged": 2880, "rows": [row]}}
    page = tradeoffs_page([record, record | {"network": "kwt1"}])
    means = "2880 | 0.0600 (0.0500 to 0.0700) | 0.0450 (0.0400 to 0.0500) | 25 % |"
    assert f"| resnet20 | d4-g3 | 2.12 | {means}" in page
    assert f"| kwt1 | d4-g3 | 2.12 | {means}" in page


def test_a_page_without_seeds_has_no_table_of_them(record: dict[str, Any]) -> None:
    assert "several seeds" not in tradeoffs_page([record])


def test_what_is_no_classifier_has_no_agreement(record: dict[str, Any]) -> None:
    record["points"][2]["agreement"] = None
    assert "| 2.50 | 2 | 12.8x | 90.00 | 0.0200 |  |  |" in tradeoffs_page([record])


def test_records_come_in_the_order_of_the_catalog(record: dict[str, Any], tmp_path: Path) -> None:
    for name in ("kwt1", "resnet20"):
        (tmp_path / f"{name}.json").write_text(json.dumps(record | {"network": name}))
    assert [r["network"] for r in read_records(tmp_path)] == ["resnet20", "kwt1"]
