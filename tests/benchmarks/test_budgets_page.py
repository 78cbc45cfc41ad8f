"""The page of budgets of accuracy and of time."""

from __future__ import annotations

from typing import Any

from benchmarks.budgets_page import budgets_page


def keep(**changed: Any) -> dict[str, Any]:
    found = {"bits": 2.5, "file_bytes": 105_400, "metric": 93.5}
    record = {"network": "resnet20", "samples": {"calibration": 1000}, "float": 93.75}
    return record | {"compressed": found, "said": ""} | changed


def test_what_is_kept_and_what_is_refused() -> None:
    refused = keep(network="kwt1", compressed=None, said="error: 100 | 165 samples")
    page = budgets_page([keep(), refused], [])
    assert "| resnet20 | 1,000 | 93.75 | 93.50 | +0.25 | 2.50 | 105 kB |" in page
    assert "| kwt1 | 1,000 | 93.75 | error: 100 / 165 samples |  |  |  |" in page


def test_a_form_and_the_plan_for_its_time() -> None:
    def file(name: str, bits: float, divergence: float, latency: float) -> dict[str, Any]:
        return {"name": name, "bits": bits, "divergence": divergence, "latency_ms": latency}

    files = [file("d4-g0", 1.25, 0.2, 1.5), file("plan-d4-g0", 1.75, 0.1, 1.49)]
    page = budgets_page([], [{"network": "resnet_mid", "files": files}])
    assert "| resnet_mid | d4-g0 | 1.500 | 0.2000 | 1.490 | 0.1000 | 1.25 | 1.75 |" in page
