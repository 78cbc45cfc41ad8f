"""The site of the documentation, opened from a disk: search works and nothing is loaded."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.report.browser import CHROMIUM, open_browser

ROOT = Path(__file__).parents[1]
PATIENCE = 60.0
TYPE = """
document.querySelector("[data-md-component=search-query]").focus();
document.querySelector("[data-md-component=search-query]").value = "codebook";
document.querySelector("[data-md-component=search-query]").dispatchEvent(new Event("keyup"));
"""
FOUND = "[...document.querySelectorAll('a.md-search-result__link')].map((found) => found.href)"


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="no extra docs: mkdocs")
def test_search_works_from_a_disk(tmp_path: Path) -> None:
    site = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(site)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        check=True,
        capture_output=True,
    )
    with open_browser(tmp_path / "browser") as page:
        page.open(site / "methods" / "binary.html")
        page.value(TYPE)
        end = time.monotonic() + PATIENCE
        while not (found := page.value(FOUND)) and time.monotonic() < end:
            time.sleep(0.1)
        assert (site / "methods" / "product.html").as_uri() in found
        assert all(address.startswith(("file:", "data:", "about:")) for address in page.requests)
        assert page.problems == []
