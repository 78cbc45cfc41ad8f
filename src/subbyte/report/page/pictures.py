"""Pictures of weights: codebooks as heat maps, levels as histograms."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

BINS = 32
_WIDTH, _HEIGHT, _LABELS = 240, 64, 16
_NEGATIVE, _POSITIVE = (37, 99, 200), (214, 96, 20)


def heat_map(books: ArrayLike) -> str:
    """A PNG of codebooks [n, words, d] side by side, a row a word, as a data URI.

    Blue below zero, orange above, the fainter the smaller: zero is transparent, so that the
    picture suits a light and a dark page.
    """
    values = np.asarray(books, np.float32)
    count, words, width = values.shape
    pixels = np.zeros((words, count * (width + 1) - 1, 4), np.uint8)
    largest = float(np.abs(values).max()) or 1.0
    for number, book in enumerate(values):
        left = number * (width + 1)
        tile = pixels[:, left : left + width]
        tile[..., :3] = np.where(book[..., None] < 0, _NEGATIVE, _POSITIVE)
        tile[..., 3] = np.rint(255 * np.abs(book) / largest)
    return "data:image/png;base64," + base64.b64encode(png(pixels)).decode()


def png(pixels: NDArray[np.uint8]) -> bytes:
    """RGBA uint8 [height, width, 4] as a PNG file."""
    height, width, _ = pixels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def histogram(levels: Mapping[str, Sequence[int]], name: str) -> str:
    """An SVG of how often each integer level occurs; many levels are put into `BINS` bins."""
    values, counts = np.asarray(levels["values"]), np.asarray(levels["counts"], np.float64)
    low, high = int(values.min()), int(values.max())
    if len(values) > BINS:
        edges = np.linspace(low, high, BINS + 1)
        heights = np.histogram(values, edges, weights=counts)[0]
        places, width = np.arange(BINS) / BINS, 1 / BINS
    else:
        steps = max(int(np.diff(values).min()), 1) if len(values) > 1 else 1
        slots = (high - low) // steps + 1
        heights, width = counts, 1 / slots
        places = (values - low) // steps / slots
    share = heights / counts.sum()
    bars = "".join(
        f'<rect x="{_WIDTH * x + 0.5:.1f}" y="{_HEIGHT * (1 - h):.1f}" '
        f'width="{max(_WIDTH * width - 1, 3):.1f}" height="{_HEIGHT * h:.1f}"/>'
        for x, h in zip(places, share / share.max(), strict=True)
    )
    label = (
        f"Integer weights of {name}: {len(values)} levels from {low} to {high}, "
        f"the most frequent takes {100 * counts.max() / counts.sum():.0f}%"
    )
    return (
        f'<svg class="levels" viewBox="0 0 {_WIDTH} {_HEIGHT + _LABELS}" role="img" '
        f'aria-label="{escape(label, quote=True)}">{bars}'
        f'<text x="1" y="{_HEIGHT + 13}">{low}</text>'
        f'<text x="{_WIDTH - 1}" y="{_HEIGHT + 13}" text-anchor="end">{high}</text></svg>'
    )


def weight_pictures(row: Mapping[str, Any]) -> dict[str, Any]:
    """The pictures of one layer of a report's document."""
    picture = histogram(row["levels"], row["name"])
    found: dict[str, Any] = {"histogram": picture, "heat_map": "", "alt": ""}
    books = row["codebooks"]
    if books is not None:
        words = np.asarray(books["words"])
        shown = len(words)
        which = "" if shown == books["count"] else f", the first {shown} of them shown"
        found |= {
            "heat_map": heat_map(words),
            "pixels": shown * (words.shape[2] + 1) - 1,
            "words": words.shape[1],
            "alt": f"{books['count']} codebook{'s' if books['count'] > 1 else ''} of "
            f"{words.shape[1]} words with {words.shape[2]} values{which}",
        }
    return found
