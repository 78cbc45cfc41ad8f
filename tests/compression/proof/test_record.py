"""What a proof says in words and as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from subbyte.compression.proof.record import Divergence, Proof
from subbyte.runtime import Engine


def proof(portable: Divergence | None, native: Divergence | None, **others: Any) -> Proof:
    engines: dict[Engine, Divergence | None] = {"portable": portable, "native": native}
    given: dict[str, Any] = {"samples": 8, "batches": (1, 7), "held_back": True}
    given |= {"float_engine": "onnxruntime", "engines": tuple(engines), "outputs": {"y": engines}}
    return Proof(**(given | others))


@pytest.mark.parametrize(
    ("found", "large"),
    [
        (Divergence(0.09), False),
        (Divergence(0.11), True),
        (Divergence(float("nan")), True),
        (Divergence(0.2, 0.19, 90.0), False),
        (Divergence(0.2, 0.21, 90.0), True),
        # Of integers some differ in any case: by their variance nothing can be told.
        (Divergence(7.0, None, 91.0), False),
        (Divergence(7.0, None, 89.0), True),
        (Divergence(0.0, broken=0.1), True),
        # Probabilities: their KL is small however wrong they are.
        (Divergence(0.9, 0.01, 50.0), True),
    ],
)
def test_what_is_large(found: Divergence, large: bool) -> None:
    assert found.large is large
    warnings = proof(found, found).warnings()
    assert len(warnings) == large
    if large:
        assert warnings[0].startswith("output y is far from the float network's (")
        assert "more bits, more samples, `tune`, `activations=float`" in warnings[0]


def test_an_output_that_is_of_no_use() -> None:
    (said,) = proof(Divergence(3.5), Divergence(3.5)).warnings()
    assert "error 3.5 of the variance, no better than a constant" in said


def test_one_engine_only() -> None:
    far, worse = proof(Divergence(0.05), Divergence(0.3)).warnings()
    assert "error 0.3 of the variance, native only" in far
    assert worse == (
        "output y is 6 times as far from the float network on the native kernels (error 0.3 of the "
        "variance) as in ONNX Runtime alone (error 0.05 of the variance): load it with engine "
        "portable where that matters"
    )


@pytest.mark.parametrize(
    ("portable", "native", "said"),
    [(0.04, 0.0439, False), (0.04, 0.0445, True), (1e-9, 9e-5, False), (0.0, 2e-4, True)],
)
def test_native_is_worse_by_more_than_a_tenth(portable: float, native: float, said: bool) -> None:
    assert len(proof(Divergence(portable), Divergence(native)).warnings()) == said


def test_nothing_is_said_of_what_cannot_be_compared() -> None:
    found = proof(None, None)
    assert found.warnings() == []
    assert found.worst is None
    assert found.document()["outputs"] == [{"name": "y", "portable": None, "native": None}]


def test_document_is_json() -> None:
    found = proof(Divergence(0.5, 0.25, 75.0), Divergence(0.125))
    document = json.loads(json.dumps(found.document(), allow_nan=False))
    assert document["outputs"] == [
        {
            "name": "y",
            "portable": {"error": 0.5, "kl": 0.25, "agreement": 75.0},
            "native": {"error": 0.125},
        }
    ]
    assert document["warnings"] == found.warnings()
    assert (document["samples"], document["held_back"]) == (8, True)
    assert found.worst == Divergence(0.5, 0.25, 75.0)
