"""Numbers as people read them."""

from __future__ import annotations


def byte_size(count: int) -> str:
    """``1.05 MB``: decimal units, three digits."""
    value, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            break
        value /= 1000
    return f"{count} B" if unit == "B" else f"{value:.3g} {unit}"


def milliseconds(value: float) -> str:
    """``0.012 ms``: three digits, no fewer than 0.001."""
    return f"{value:.3f} ms" if value < 1 else f"{value:.3g} ms"


def divergence(value: float) -> str:
    """A KL in nats or a relative error: three digits, ``0`` where it is none."""
    return "0" if value == 0 else f"{value:.2g}" if abs(value) < 1e-4 else f"{value:.4f}"
