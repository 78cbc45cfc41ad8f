from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import subbyte
from subbyte.report.page.document import Report
from subbyte.report.page.rendering import render
from tests.report.reported import make_pair


class Outline(HTMLParser):
    """Checks nesting, and collects what a reader's software looks for."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, dict[str, str]]] = []
        self.text: dict[str, list[str]] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in ("meta", "link", "img", "br", "wbr"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.text.setdefault(self.open[-1], []).append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.attributes if name == tag]


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    pair = make_pair(tmp_path_factory.mktemp("pair"), tight=0.4)
    return subbyte.make_report(pair.model, pair.reference, pair.samples, pair.labels, runs=2)


@pytest.fixture(scope="module")
def page(document: Report) -> Outline:
    outline = Outline()
    outline.feed(render(document, "html"))
    assert outline.open == []
    return outline


def test_page_needs_no_other_file(document: Report, page: Outline) -> None:
    for tag, attributes in page.attributes:
        for key in ("src", "href", "data", "action", "srcset", "poster"):
            value = attributes.get(key, "")
            assert value == "" or value.startswith(("#", "data:")), (tag, value)
    text = render(document, "html")
    assert re.findall(r"https?://|@import|url\(", text) == []
    policy = next(a for a in page.all("meta") if "content-security" in str(a).lower())
    assert policy["content"].startswith("default-src 'none'")


def test_page_can_be_read_aloud(page: Outline) -> None:
    assert page.all("html")[0]["lang"] == "en"
    tables = page.all("table")
    assert len(tables) >= 3
    assert len(page.all("caption")) == len(tables)
    assert all("scope" in heading for heading in page.all("th"))
    assert all(image["alt"] for image in page.all("img"))
    for picture in page.all("svg"):
        assert picture["role"] == "img"
        assert picture.get("aria-label") or picture.get("aria-labelledby")
    assert len(page.all("h1")) == 1
    assert not any("onclick" in attributes or "onmouseover" in attributes
                   for _, attributes in page.attributes)  # fmt: skip
    for region in page.all("div"):
        if region.get("class") == "scroll":
            assert region["tabindex"] == "0"
            assert region["aria-label"]


def test_links_and_labels_lead_somewhere(page: Outline) -> None:
    ids = [attributes["id"] for _, attributes in page.attributes if "id" in attributes]
    assert len(ids) == len(set(ids))
    wanted = {a["href"][1:] for a in page.all("a")}
    for _, attributes in page.attributes:
        wanted |= set(attributes.get("aria-labelledby", "").split())
    assert wanted <= set(ids)
    assert {"advice", "trade-off", "layers", "weights", "activations", "about"} <= wanted


def test_page_says_what_the_document_does(document: Report, page: Outline) -> None:
    said = " ".join(" ".join(parts) for parts in page.text.values())
    for text in document.advice:
        assert text in said
    assert any("saturates" in text for text in document.advice)
    for row in document.layers:
        assert f"{row['bits_per_weight']:.2f}" in page.text["td"]
        assert row["name"] in page.text["th"]
    assert f"{document.scores[0]['kl']:.4f}" in page.text["dd"]


def test_names_cannot_break_the_page(document: Report) -> None:
    hostile = '<script>alert("x")</script>|&\'"'
    layers = [{**row, "name": hostile, "reason": hostile} for row in document.layers]
    changed = replace(document, layers=layers, model=hostile, left_out=[hostile])
    text = render(changed, "html")
    assert text.count("<script>") == 1
    outline = Outline()
    outline.feed(text)
    assert outline.open == []
    assert hostile in "".join(outline.text["th"])
    row = next(line for line in render(changed, "md").splitlines() if line.startswith("| <script>"))
    assert row.count(" | ") == 9


def test_markdown_tables_are_whole(document: Report, tmp_path: Path) -> None:
    text = render(document, "md")
    widths: list[int] = []
    for line in text.splitlines():
        if not line.startswith("|"):
            widths = []
            continue
        widths.append(line.count("|"))
        assert widths[0] == widths[-1], line
    assert "## Layers" in text
    assert "## Activations" in text
    assert "\n\n\n" not in text


@pytest.mark.parametrize(("agreement", "said"), [(97.0, "KL, nats"), (None, "error")])
def test_only_classifiers_have_a_divergence_in_nats(
    document: Report, agreement: float | None, said: str
) -> None:
    point = {"file": "a.onnx", "bits": 2.0, "bytes": 1000, "kl": 0.1, "agreement": agreement}
    point |= {"metric": None, "latency_ms": 1.0}
    points = [point | {"name": "a"}, point | {"name": "b", "kl": 0.2}]
    changed = replace(document, points=points, scores=None)
    assert f"| size | {said} | agreement |" in render(changed, "md")
    page = render(changed, "html")
    assert f'class="n">{said}</th>' in page
    assert ("KL from float" in page) == (agreement is not None)
