"""The bits of a composite weight as the paper counts them, and by the entropy of its planes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from subbyte.methods.coded import CodedWeight
from subbyte.methods.composite import form, galois
from subbyte.methods.composite.galois import Plane


@dataclass(frozen=True)
class Accounting:
    """The counts of one composite weight.

    ``planes``: planes in use. ``paper_bits`` a weight: for each plane rank * (h + w) / (h w), or 1
    where that is more, and 1 for the sign (no scale, no table). ``entropy_bits``: for each plane
    the entropy of its ones' density, and the signs of the non-zeros.
    """

    planes: int
    paper_bits: float
    entropy_bits: float


def account(coded: CodedWeight) -> Accounting:
    """Both counts of a weight's planes, found anew from its integers."""
    levels = form.decode(coded).astype(np.int64)
    planes = form.planes_of(levels, form.matrix_rows(coded.shape))
    used = max((b + 1 for b, plane in enumerate(planes) if plane.any()), default=0)
    paper = 1 + sum(paper_bits(plane) for plane in planes[:used])
    entropy = np.count_nonzero(levels) / levels.size + sum(map(entropy_bits, planes[:used]))
    return Accounting(used, paper, float(entropy))


def paper_bits(plane: Plane) -> float:
    """min(1, rank * (h + w) / (h w)) for a plane [h, w]."""
    most = plane.size // sum(plane.shape)
    return min(1.0, galois.rank(plane, most) * sum(plane.shape) / plane.size)


def entropy_bits(plane: Plane) -> float:
    """-p log2 p - (1 - p) log2 (1 - p) for the density p of the plane's ones."""
    density = float(plane.mean())
    return -sum(p * float(np.log2(p)) for p in (density, 1 - density) if p > 0)


def count_planes(coded: CodedWeight) -> dict[str, float]:
    """A report's row: ``planes`` in use, ``factored`` ones, ``stored_bits`` a weight, and the
    ``paper_bits`` and ``entropy_bits`` of `Accounting`."""
    found = account(coded)
    return {
        "planes": found.planes,
        "factored": len(form.factors_of(coded)),
        "stored_bits": coded.bits_per_weight,
        "paper_bits": found.paper_bits,
        "entropy_bits": found.entropy_bits,
    }
