"""A short run of the fuzzer; `make fuzz` is the long one."""

from __future__ import annotations

import subbyte
from tests.native.fuzz import fuzz, total
from tests.native.fuzz_nodes import operators
from tests.native.registered import registered_operators


def test_mutated_models_never_crash() -> None:
    outcomes = fuzz(2000, seed=1, library=subbyte.library_path())
    # Both happen: mutations that pass the checks are computed, the others refused.
    assert total(outcomes)["ran"] > 150
    assert total(outcomes)["refused"] > 400
    assert all(counts["ran"] > 0 for counts in outcomes.values()), outcomes


def test_every_operator_is_fuzzed() -> None:
    registered = registered_operators(subbyte.library_path())
    assert len(set(registered)) == len(registered) > 170
    assert sorted(operators()) == sorted(registered)
