"""The table of recipes: how a random node of each operator comes about."""

from __future__ import annotations

from collections.abc import Callable

from tests.random_graphs.pool import Draft, Pool

Recipe = Callable[[Pool, str], Draft]
"""Proposes a node of the operator on values of the pool; raises `Hopeless`."""

RECIPES: dict[str, Recipe] = {}


def recipe(*op_types: str) -> Callable[[Recipe], Recipe]:
    """Register a recipe for these operators."""

    def register(function: Recipe) -> Recipe:
        for op_type in op_types:
            if op_type in RECIPES:
                raise KeyError(f"{op_type} has two recipes")
            RECIPES[op_type] = function
        return function

    return register
