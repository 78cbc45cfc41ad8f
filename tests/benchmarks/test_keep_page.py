"""The page of budgets of accuracy."""

from __future__ import annotations

from typing import Any

from benchmarks.pages.keep import keep_page


def keep(**changed: Any) -> dict[str, Any]:
    found = {"bits": 2.5, "file_bytes": 105_400, "metric": 93.5}
    record = {"network": "resnet20", "samples": {"calibration": 1000}, "float": 93.75}
    return record | {"compressed": found, "said": ""} | changed


def test_what_is_kept_and_what_is_refused() -> None:
    refused = keep(network="kwt1", compressed=None, said="error: 100 | 165 samples")
    page = keep_page([keep(), refused])
    assert "| resnet20 | 1,000 | 93.75 | 93.50 | +0.25 | 2.50 | 105 kB |" in page
    assert "| kwt1 | 1,000 | 93.75 | error: 100 / 165 samples |  |  |  |" in page
