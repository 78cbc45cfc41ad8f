"""The knapsack: what is chosen, and how far it is from the best."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subbyte.compression.planning.candidates import Candidate
from subbyte.compression.planning.knapsack import choose, choose_finely, least
from subbyte.methods import EIGHT_BITS
from subbyte.methods.scalar.form import ScalarOptions


def candidates(rng: np.random.Generator, count: int) -> list[Candidate]:
    """Ways to code a layer, as they are: error falls by about 4 with every bit."""
    size, share = rng.integers(100, 3000), rng.uniform(0.5, 2)
    bits = np.sort(rng.uniform(0.5, 4, count))
    return [
        Candidate(EIGHT_BITS, int(size * b / 8) + i, float(share * 4**-b * rng.uniform(0.8, 1.3)))
        for i, b in enumerate(bits)
    ]


def instance(seed: int, layers: int, count: int) -> dict[str, list[Candidate]]:
    rng = np.random.default_rng(seed)
    return {f"w{number}": candidates(rng, count) for number in range(layers)}


def extent(choices: dict[str, list[Candidate]]) -> tuple[int, int]:
    smallest = sum(min(c.bytes for c in found) for found in choices.values())
    return smallest, sum(max(c.bytes for c in found) for found in choices.values())


def largest_step(found: list[Candidate]) -> float:
    """The largest fall of harm between neighbours on the lower convex hull."""
    hull: list[Candidate] = []
    for c in sorted(found, key=lambda c: (c.bytes, c.harm)):
        if hull and c.harm >= hull[-1].harm:
            continue
        while len(hull) > 1 and (hull[-1].harm - hull[-2].harm) * (c.bytes - hull[-2].bytes) >= (
            c.harm - hull[-2].harm
        ) * (hull[-1].bytes - hull[-2].bytes):
            hull.pop()
        hull.append(c)
    return max((a.harm - b.harm for a, b in itertools.pairwise(hull)), default=0.0)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.floats(0, 1), st.integers(1, 4), st.integers(1, 6))
def test_choice_is_near_the_best(seed: int, part: float, layers: int, count: int) -> None:
    choices = instance(seed, layers, count)
    smallest, most = extent(choices)
    budget = smallest + part * (most - smallest)
    found = choose(choices, budget)
    assert sum(c.bytes for c in found.chosen.values()) <= budget
    assert all(c in choices[name] for name, c in found.chosen.items())
    assert found.harm == pytest.approx(sum(c.harm for c in found.chosen.values()))
    best = min(
        sum(c.harm for c in chosen)
        for chosen in itertools.product(*choices.values())
        if sum(c.bytes for c in chosen) <= budget
    )
    gap = max(largest_step(found) for found in choices.values())
    assert found.bound <= best * (1 + 1e-9)
    assert best <= found.harm * (1 + 1e-9)
    assert found.harm <= best + gap + 1e-12
    assert found.gap >= (found.harm - best) / found.harm - 1e-9


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.floats(0, 1), st.integers(1, 4), st.integers(1, 6))
def test_fine_choice_is_the_best(seed: int, part: float, layers: int, count: int) -> None:
    """The best within a budget that is smaller by a step a layer, or better."""
    choices = instance(seed, layers, count)
    smallest, most = extent(choices)
    budget = smallest + part * (most - smallest)
    found = choose_finely(choices, budget)
    assert sum(c.bytes for c in found.chosen.values()) <= budget
    assert list(found.chosen) == list(choices)
    assert found.harm == pytest.approx(sum(c.harm for c in found.chosen.values()))
    assert found.harm <= choose(choices, budget).harm
    best = min(
        sum(c.harm for c in chosen)
        for chosen in itertools.product(*choices.values())
        if sum(c.bytes for c in chosen) <= budget - 1e-4 * layers * (budget - smallest)
    )
    assert found.bound <= found.harm <= best * (1 + 1e-9)


def test_fine_choice_finds_what_the_relaxation_misses() -> None:
    """One layer has the best gain per cost, and leaves too little for the two others."""
    sizes = {"a": (10, 0.0), "b": (9, 0.15), "c": (9, 0.15)}
    choices = {
        name: [Candidate(EIGHT_BITS, 0, 1.0), Candidate(EIGHT_BITS, size, harm)]
        for name, (size, harm) in sizes.items()
    }
    assert choose(choices, 18.5).harm == pytest.approx(2.0)
    found = choose_finely(choices, 18.5)
    assert [candidate.bytes for candidate in found.chosen.values()] == [0, 9, 9]
    assert found.harm == pytest.approx(1.3)


@pytest.mark.parametrize("seed", range(12))
def test_more_budget_never_harms_more(seed: int) -> None:
    choices = instance(seed, 6, 20)
    smallest, most = extent(choices)
    harms = [choose(choices, budget).harm for budget in np.linspace(smallest, most, 25)]
    assert all(b <= a * (1 + 1e-9) for a, b in itertools.pairwise(harms))
    assert harms[-1] == pytest.approx(sum(min(c.harm for c in f) for f in choices.values()))


def test_least_budget_takes_the_smallest() -> None:
    choices = instance(0, 3, 5)
    smallest, _ = extent(choices)
    found = choose(choices, smallest)
    assert sum(c.bytes for c in found.chosen.values()) == smallest == least(choices)


def test_larger_but_worse_is_never_chosen() -> None:
    small, worse = Candidate(EIGHT_BITS, 10, 0.1), Candidate(ScalarOptions(2), 20, 0.2)
    assert choose({"a": [worse, small]}, 100).chosen["a"] is small


def test_any_cost_can_be_limited() -> None:
    fast = Candidate(ScalarOptions(2), 10, 0.5, seconds=1e-6)
    slow = Candidate(EIGHT_BITS, 40, 0.0, seconds=3e-6)
    choices = {"a": [fast, slow], "b": [fast, slow]}
    found = choose(choices, 4.1e-6, cost=lambda c: c.seconds or 0.0)
    assert sorted(c.bytes for c in found.chosen.values()) == [10, 40]
    assert found.harm == 0.5


def test_what_costs_no_more_and_harms_less_is_taken() -> None:
    rough = Candidate(ScalarOptions(2), 10, 0.5, seconds=1e-6)
    fine = Candidate(EIGHT_BITS, 40, 0.0, seconds=1e-6)
    found = choose({"a": [rough, fine]}, 1e-6, cost=lambda c: c.seconds or 0.0)
    assert found.chosen["a"] is fine
    assert found.gap == 0.0
