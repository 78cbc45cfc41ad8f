"""A short run of the fuzzer; `make fuzz` is the long one."""

from __future__ import annotations

import subbyte
from tests.native.fuzz import fuzz


def test_mutated_models_never_crash() -> None:
    outcomes = fuzz(2000, seed=1, library=subbyte.library_path())
    # Both happen: mutations that pass the checks are computed, the others refused.
    assert outcomes["ran"] > 150
    assert outcomes["refused"] > 400
