from __future__ import annotations

import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from subbyte.report.page import charts
from subbyte.report.page.charts import Axis, Mark, scatter
from subbyte.report.page.pictures import heat_map, histogram, png, weight_pictures
from subbyte.report.page.text import byte_size, divergence, milliseconds

SIZE = Axis("size", "log", lambda v: byte_size(round(v)))
KL = Axis("KL", "root", lambda v: f"{v:.3g}")
TOP1 = Axis("accuracy", "linear", lambda v: f"{v:.4g}%", 100)
CROWD = [Mark(f"point {i}", 1000 + 200 * i, 0.01 * (12 - i), "point") for i in range(12)]
ENDS = [Mark("this file", 1200, 0.05, "this"), Mark("float", 30000, 0.0, "float")]


def texts(svg: str, kind: str) -> list[ElementTree.Element]:
    root = ElementTree.fromstring(svg)
    return [each for each in root.iter("text") if kind in each.attrib["class"].split()]


def box(text: ElementTree.Element) -> tuple[float, float, float, float]:
    width = 0.58 * charts.FONT * len(text.text or "")
    shift = {"start": 0.0, "middle": width / 2, "end": width}[text.attrib["text-anchor"]]
    left, base = float(text.attrib["x"]) - shift, float(text.attrib["y"])
    return left, base - charts.FONT, left + width, base + 3


def test_labels_keep_apart_and_inside() -> None:
    labels = texts(scatter("a", "KL against size", [*CROWD, *ENDS], SIZE, KL), "label")
    boxes = [box(label) for label in labels]
    # Marks that stand for something come first, whatever the crowd.
    assert {"this file", "float"} <= {label.text for label in labels}
    assert len(labels) > 4
    for i, a in enumerate(boxes):
        assert a[0] + 0.1 >= charts.LEFT
        assert a[2] <= charts.WIDTH + 0.1
        for b in boxes[:i]:
            assert (
                a[2] <= b[0] + 0.2 or b[2] <= a[0] + 0.2 or a[3] <= b[1] + 0.2 or b[3] <= a[1] + 0.2
            )


def test_places_follow_the_values() -> None:
    root = ElementTree.fromstring(scatter("a", "t", CROWD, SIZE, KL))
    circles = list(root.iter("circle"))
    x = [float(each.attrib["cx"]) for each in circles]
    y = [float(each.attrib["cy"]) for each in circles]
    assert x == sorted(x)
    assert y == sorted(y)
    assert len(re.findall("L", root.find("path[@class='front']").attrib["d"])) == 11  # type: ignore[union-attr]
    distances = np.diff(x) / np.diff(np.log([mark.x for mark in CROWD]))
    assert distances == pytest.approx(distances[0], rel=0.02)


@pytest.mark.parametrize("axis", [SIZE, KL, TOP1])
@pytest.mark.parametrize("values", [[3.0, 96.0], [50.0, 50.0], [0.001, 0.002, 90.0], [99.2, 100.0]])
def test_ticks_are_round_and_few(axis: Axis, values: list[float]) -> None:
    place = charts._Place(axis, values, 100.0, 500.0)
    ticks = place.ticks(32)
    assert 1 <= len(ticks) <= 13
    places = [place(tick) for tick in ticks]
    assert min(np.diff(places), default=32) >= 31.9
    assert all(99 <= each <= 501 for each in places)
    assert all(each <= axis.most for each in ticks)


def test_text_for_those_who_do_not_see() -> None:
    marks = [Mark("a & <b>", 1000, 0.5, "point"), Mark("int8", 4000, 0.1, "int8")]
    root = ElementTree.fromstring(scatter("c", "KL against size", marks, SIZE, KL))
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-labelledby"] == "c-t c-d"
    described = root.find("desc")
    assert described is not None
    assert described.text == "KL against size. a & <b>: 1 kB, 0.5; int8: 4 kB, 0.1"


def test_png_holds_the_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 4), dtype=np.uint8)
    with Image.open(io.BytesIO(png(pixels))) as image:
        assert image.mode == "RGBA"
        assert np.array_equal(np.asarray(image), pixels)


def test_heat_map_shows_sign_and_size() -> None:
    import base64

    books = np.array([[[-63, 0], [21, 63]], [[5, 5], [5, -5]]])
    uri = heat_map(books)
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as image:
        pixels = np.asarray(image).astype(int)
    assert pixels.shape == (2, 5, 4)
    assert pixels[:, :, 3].tolist() == [[255, 0, 0, 20, 20], [85, 255, 0, 20, 20]]
    blue, orange = pixels[0, 0], pixels[1, 1]
    assert blue[2] > blue[0]
    assert orange[0] > orange[2]
    assert heat_map(np.zeros((1, 2, 2))).startswith("data:image/png;base64,")


@pytest.mark.parametrize(
    ("values", "counts", "bars"),
    [([-1, 1], [3, 1], 2), ([-2, -1, 0, 1], [1, 4, 4, 1], 4), ([5], [9], 1),
     (list(range(-63, 64)), [1] * 127, 32), ([-40, 0, 40], [1, 2, 1], 3)],
)  # fmt: skip
def test_histogram(values: list[int], counts: list[int], bars: int) -> None:
    root = ElementTree.fromstring(histogram({"values": values, "counts": counts}, "a<b"))
    found = list(root.iter("rect"))
    assert len(found) == bars
    assert max(float(each.attrib["height"]) for each in found) == pytest.approx(64)
    assert all(0 <= float(each.attrib["x"]) < 240 for each in found)
    assert f"{len(values)} levels from {values[0]} to {values[-1]}" in root.attrib["aria-label"]


def test_codebooks_that_are_not_all_shown() -> None:
    words = np.ones((16, 4, 2), int).tolist()
    row = {"name": "a", "levels": {"values": [1], "counts": [9]},
           "codebooks": {"count": 40, "words": words}}  # fmt: skip
    found = weight_pictures(row)
    assert found["alt"] == "40 codebooks of 4 words with 2 values, the first 16 of them shown"
    assert (found["pixels"], found["words"]) == (47, 4)
    assert weight_pictures(row | {"codebooks": None})["heat_map"] == ""


def test_numbers() -> None:
    assert [milliseconds(v) for v in (0.0123, 0.5, 12.345)] == ["0.012 ms", "0.500 ms", "12.3 ms"]
    assert [divergence(v) for v in (0, 0.01234, 3.1e-6)] == ["0", "0.0123", "3.1e-06"]
