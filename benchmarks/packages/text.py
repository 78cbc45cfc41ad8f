"""Text: lines and pages drawn with Pillow's own font on photographs of the data folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.networks.datasets import natural_images
from benchmarks.packages.inputs import (
    Array,
    Inputs,
    Outputs,
    Task,
    alternate,
    labels_alike,
    overlap,
)
from subbyte.runtime import load

_SENTENCES = """
the quick brown fox jumps over a lazy dog while seven wizards pack my box with five dozen
liquor jugs Invoice Total 2024 Room 117 Exit Warning Station Platform 9 Street Market Open
Closed Monday Price 12.50 Order No. 4831 Thank you Please Do not enter Paris London
"""
WORDS = tuple(_SENTENCES.split())
DRAWN = "synthetic: English words drawn on photographs"


def lines(data: Path, source: Path) -> Inputs:
    """Lines of text for the reader, 48 x 320, B G R from -1 to 1."""
    rng = np.random.default_rng(0)
    photographs = natural_images(data)
    pictures = [_line(rng, photographs, (320, 48)) for _ in range(256)]
    fit, test = alternate(_scaled(pictures), load(source, engine="portable").inputs[0].name)
    return Inputs(f"{DRAWN}, lines of 48 x 320", fit, test, Task("lines read alike, %", _alike))


def directions(data: Path, source: Path) -> Inputs:
    """Lines of 48 x 192, every other upside down."""
    rng = np.random.default_rng(1)
    photographs = natural_images(data)
    pictures = [_line(rng, photographs, (192, 48)) for _ in range(256)]
    turned = [p if k % 4 < 2 else p[::-1, ::-1] for k, p in enumerate(pictures)]
    fit, test = alternate(_scaled(turned), load(source, engine="portable").inputs[0].name)
    return Inputs(
        f"{DRAWN}, lines of 48 x 192, half of them upside down", fit, test, labels_alike()
    )


def pages(data: Path, source: Path) -> Inputs:
    """Pages of 320 x 320 for the text detector, normalized as its package does."""
    rng = np.random.default_rng(2)
    photographs = natural_images(data)
    found = np.stack([_page(rng, photographs, 320) for _ in range(64)])[..., ::-1] / 255
    found = (found - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    channels_first = np.moveaxis(found, -1, 1).astype(np.float32)
    fit, test = alternate(channels_first, load(source, engine="portable").inputs[0].name)
    return Inputs(f"{DRAWN}, pages of 320 x 320", fit, test, overlap(0.3))


def _scaled(pictures: list[Array]) -> Array:
    stacked = np.stack(pictures)[..., ::-1].astype(np.float32) / 127.5 - 1
    return np.ascontiguousarray(np.moveaxis(stacked, -1, 1))


def _ground(
    rng: np.random.Generator, photographs: list[Image.Image], size: tuple[int, int]
) -> Image.Image:
    """A paled or darkened piece of a photograph."""
    photograph = photographs[int(rng.integers(len(photographs)))].resize((512, 512))
    left, top = (int(rng.integers(512 - side + 1)) for side in size)
    piece = photograph.crop((left, top, left + size[0], top + size[1]))
    plain = Image.new("RGB", size, (255, 255, 255) if rng.random() < 0.6 else (0, 0, 0))
    return Image.blend(piece, plain, float(rng.uniform(0.5, 0.9)))


def _ink(rng: np.random.Generator, ground: Image.Image) -> tuple[int, ...]:
    dark = np.asarray(ground).mean() > 127
    return tuple(int(x) for x in (rng.integers(0, 80, 3) if dark else rng.integers(180, 256, 3)))


def _line(rng: np.random.Generator, photographs: list[Image.Image], size: tuple[int, int]) -> Array:
    ground = _ground(rng, photographs, size)
    font = ImageFont.load_default(float(rng.uniform(22, 34)))
    draw = ImageDraw.Draw(ground)
    text = ""
    while (longer := f"{text} {WORDS[int(rng.integers(len(WORDS)))]}".strip()) and (
        draw.textlength(longer, font) < size[0] - 8
    ):
        text = longer
    draw.text((4, float(rng.uniform(1, 8))), text or "Open", _ink(rng, ground), font)
    return np.asarray(ground)


def _page(rng: np.random.Generator, photographs: list[Image.Image], size: int) -> Array:
    ground = _ground(rng, photographs, (size, size))
    draw = ImageDraw.Draw(ground)
    ink = _ink(rng, ground)
    top = float(rng.uniform(5, 40))
    while top < size - 40:
        height = float(rng.uniform(14, 32))
        words = [WORDS[int(k)] for k in rng.integers(len(WORDS), size=rng.integers(1, 4))]
        place = (float(rng.uniform(4, size / 3)), top)
        draw.text(place, " ".join(words), ink, ImageFont.load_default(height))
        top += height * float(rng.uniform(1.4, 3))
    return np.asarray(ground)


def _alike(outputs: Outputs, reference: Outputs) -> float:
    same = [_read(a[0]) == _read(b[0]) for a, b in zip(outputs, reference, strict=True)]
    return 100 * float(np.mean(same))


def _read(scores: Array) -> list[int]:
    """The greedy reading of scores [1, T, characters]: repeats and blanks (0) left out."""
    best = scores[0].argmax(-1)
    kept = np.concatenate([[True], best[1:] != best[:-1]]) & (best != 0)
    return [int(k) for k in best[kept]]
