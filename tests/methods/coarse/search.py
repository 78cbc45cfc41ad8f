"""The candidates of coarse steps: all numbers of levels, priced by plain rounding."""

from __future__ import annotations

from subbyte.methods.base import Found, LayerTraits, SearchProblem
from subbyte.methods.options import Given, MethodOptions
from tests.methods.coarse.form import CoarseOptions


def default(layer: LayerTraits, given: Given) -> MethodOptions | None:
    return None if layer.kept else CoarseOptions(int(given.get("levels", 3)))


def search(problem: SearchProblem, given: Given) -> list[Found]:
    found = []
    for levels in (1, 3, 7):
        if levels != given.get("levels", levels):
            continue
        scale = problem.rows.abs().mean((2, 3), keepdim=True).clamp_min(1e-12) * 3 / levels
        missed = problem.rows - (problem.rows / scale).round().clamp(-levels, levels) * scale
        error = float((missed.square() * problem.energy[:, None, None]).sum())
        found.append(Found(CoarseOptions(levels), error))
    return found
