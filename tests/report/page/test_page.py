"""The page in a browser, without a network."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from PIL import Image

import subbyte
from subbyte.report.page.rendering import render
from tests.report.browser import CHROMIUM, Page, open_browser
from tests.report.reported import make_pair

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")

COLUMN = "[...document.querySelectorAll('#layers tbody th')].map(cell => cell.textContent)"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    pair = make_pair(folder)
    document = subbyte.make_report(pair.model, pair.reference, pair.samples, pair.labels, runs=2)
    path = folder / "report.html"
    path.write_text(render(document, "html"), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("browser")
    with open_browser(folder) as page:
        yield page
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def page(browser: Page) -> Page:
    browser.problems.clear()
    browser.requests.clear()
    return browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 400])
def test_nothing_goes_wrong(
    page: Page, report: Path, tmp_path: Path, scheme: Literal["light", "dark"], width: int
) -> None:
    page.open(report, scheme, width)
    assert page.problems == []
    assert {url for url in page.requests if not url.startswith("data:")} == {report.as_uri()}
    # Only what scrolls by itself may be wider than the window.
    assert page.value("document.documentElement.scrollWidth") <= width
    page.screenshot(tmp_path / "page.png")
    with Image.open(tmp_path / "page.png") as image:
        corner = image.convert("L").getpixel((2, 2))
    assert isinstance(corner, int)
    assert (corner < 64) if scheme == "dark" else (corner > 192)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out(page: Page, report: Path, scheme: Literal["light", "dark"]) -> None:
    """Contrast of WCAG AA, 4.5, for text on the page and on notices."""
    page.open(report, scheme)
    found = page.value(
        """(() => {
          const shade = (rgb) => rgb.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
            .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
            .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
          const under = (node) => {
            for (; node; node = node.parentElement) {
              const colour = getComputedStyle(node).backgroundColor;
              if (!/, 0\\)$/.test(colour)) return shade(colour);
            }
            return 1;
          };
          return [...document.querySelectorAll("p,h1,h2,a,td,th,dt,dd,li,caption,button,svg text")]
            .map((node) => {
              const style = getComputedStyle(node);
              const front = shade(node.closest("svg") ? style.fill : style.color);
              const [a, b] = [front, under(node)].sort((x, y) => y - x);
              return (a + 0.05) / (b + 0.05);
            });
        })()"""
    )
    assert len(found) > 50
    assert min(found) >= 4.5


def test_tables_sort_from_the_keyboard(page: Page, report: Path) -> None:
    page.open(report)
    before = page.value(COLUMN)
    assert before == ["conv1", "conv2", "head"]
    heading = "document.querySelectorAll('#layers thead th')[6]"
    page.value(f"{heading}.querySelector('button').focus(), 1")
    # A focus that is seen: by the keyboard's own rule, as a key was pressed last.
    page.press("Shift", 16)
    assert page.value("document.activeElement.matches(':focus-visible')")
    assert page.value("parseFloat(getComputedStyle(document.activeElement).outlineWidth)") >= 2
    page.press("Enter", 13, "\r")
    assert page.value(f"{heading}.getAttribute('aria-sort')") == "descending"
    bytes_now = "[...document.querySelectorAll('#layers tbody tr')].map(r => +r.cells[6].dataset.v)"
    down = page.value(bytes_now)
    assert down == sorted(down, reverse=True)
    page.press("Enter", 13, "\r")
    assert page.value(f"{heading}.getAttribute('aria-sort')") == "ascending"
    assert page.value(bytes_now) == down[::-1]
    first = "document.querySelectorAll('#layers thead th')[0].querySelector('button')"
    page.value(f"{first}.click(), {first}.click()")
    assert page.value(COLUMN) == before
    assert page.value("document.querySelectorAll('[aria-sort]').length") == 1


def test_tab_reaches_the_content_first(page: Page, report: Path) -> None:
    page.open(report)
    page.press("Tab", 9)
    assert page.value("document.activeElement.className") == "skip"
    assert page.value("document.activeElement.getBoundingClientRect().left") >= 0
    seen = set()
    for _ in range(60):
        page.press("Tab", 9)
        seen.add(page.value("document.activeElement.closest('section')?.id ?? ''"))
    assert {"layers", "activations"} <= seen


def test_without_scripts_everything_is_there(page: Page, report: Path) -> None:
    page.open(report, scripts=False)
    assert page.problems == []
    page.open(report)
    assert page.value("document.querySelectorAll('#layers tbody tr').length") == 3
