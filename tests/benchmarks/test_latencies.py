"""Plans for a latency: the page, and which plan is compared with which form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.latencies import FORMS, SPREAD, best_forms, kept_limits, latencies_to_eight
from benchmarks.pages.latencies import latencies_page
from subbyte.methods.product.form import GROUPS, ProductOptions


def _file(name: str, latency: float, divergence: float, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "bits": 2.25,
        "file_bytes": 150_000,
        "divergence": divergence,
        "divergences": [divergence],
        "agreement": 97.5,
        "latency_ms": latency,
        "quartiles_ms": [latency - 0.001, latency + 0.002],
    } | more


@pytest.fixture
def record() -> dict[str, Any]:
    return {
        "network": "resnet20",
        "samples": {"calibration": 128, "judged": 250},
        "forms": [
            _file("8-bit", 0.5, 0.001),
            _file("d4-g4", 0.3, 0.05),
            _file("d4-g0", 0.299, 0.2),
            _file("4-bit", 0.5, 0.01),
            _file("d8-g4", 0.2, 0.25),
        ],
        "plans": [
            _file("plan-d4-g4", 0.302, 0.04, limit_ms=0.3),
            _file("plan-8-bit", 0.48, 0.0012, limit_ms=0.5),
        ],
        "system": {"cpu": "a CPU", "versions": {"python": "3.11"}},
    }


def _names(record: dict[str, Any]) -> list[tuple[str, str | None]]:
    return [(form["name"], plan and plan["name"]) for form, plan, _ in best_forms(record)]


def test_the_best_forms_meet_the_best_plan_in_their_time(record: dict[str, Any]) -> None:
    """A form that another beats in as much time is left out, and a plan may serve many."""
    assert _names(record) == [
        ("d8-g4", None),
        ("d4-g4", "plan-d4-g4"),
        ("8-bit", "plan-8-bit"),
    ]
    record["plans"].append(_file("plan-d8-g4", 0.19, 0.0005, limit_ms=0.2))
    assert {plan for _, plan in _names(record)} == {"plan-d8-g4"}


def test_a_plan_may_take_as_much_longer_as_single_files_do(record: dict[str, Any]) -> None:
    plan = record["plans"][0]
    plan["latency_ms"] = 0.3 * (1 + 0.99 * SPREAD)
    assert _names(record)[1] == ("d4-g4", "plan-d4-g4")
    plan["latency_ms"] = 0.3 * (1 + 1.01 * SPREAD)
    assert _names(record)[1] == ("d4-g4", None)


def test_the_page_says_what_the_plan_gains(record: dict[str, Any]) -> None:
    page = latencies_page([record])
    assert (
        "| resnet20 | d4-g4 | 2.25 | 0.300 | 0.0500 | 2.25 | 0.302 | 0.0400 | 20 % |\n"
        "| resnet20 | 8-bit | 2.25 | 0.500 | 0.0010 | 2.25 | 0.480 | 0.0012 | -20 % |"
    ) in page
    assert "| resnet20 | d8-g4 | 2.25 | 0.200 | 0.2500 | none so fast |  |  |  |" in page
    assert "128 samples" in page
    assert "a CPU, python 3.11." in page


def test_the_page_has_all_files_the_fastest_first(record: dict[str, Any]) -> None:
    record["forms"][0]["agreement"] = None
    lines = latencies_page([record]).partition("## resnet20")[2].splitlines()
    rows = [line.split(" | ") for line in lines if line.startswith("| ")][2:]
    assert [row[0] for row in rows[:3]] == ["| d8-g4", "| d4-g0", "| d4-g4"]
    assert "| plan-d4-g4 | 0.300 | 0.302 | 0.301 to 0.304 | 2.25 | 150 | 0.0400 | 97.5 % |" in lines
    assert "| 8-bit |  | 0.500 | 0.499 to 0.502 | 2.25 | 150 | 0.0010 |  |" in lines


def test_seeds_are_said(record: dict[str, Any]) -> None:
    assert "seeds" not in latencies_page([record])
    for row in (*record["forms"], *record["plans"]):
        row["divergences"] = [0.9 * row["divergence"], 1.1 * row["divergence"]]
    page = latencies_page([record])
    assert "the mean of 2 seeds" in page
    assert "| 0.0400 (0.0360 to 0.0440) | 97.5 % |" in page


def test_every_group_is_a_form_with_the_finest_gain() -> None:
    finest = {form for form in FORMS.values() if isinstance(form, ProductOptions) and form.gain}
    assert finest == {ProductOptions(group, 16, 4) for group in GROUPS}


def test_a_page_without_records_has_no_tables() -> None:
    page = latencies_page([])
    assert "No network has a record yet." in page
    assert "|" not in " ".join(page.split()).replace("KL(float || compressed)", "")


def test_limits_are_parts_of_what_8_bits_take(tmp_path: Path) -> None:
    """Of forms that are equally fast, one; and a run that goes on has those of the first."""
    times = {"d8-g4": 0.2, "d4-g4": 0.3, "d4-g0": 0.301, "8-bit": 0.5}
    for slower in (1.0, 1.3):
        found = {name: {"latency_ms": slower * time} for name, time in times.items()}
        limits = kept_limits(tmp_path / "limits.json", lambda found=found: found)  # type: ignore[misc]
        assert limits == {"d8-g4": 0.404, "d4-g4": 0.606, "8-bit": 1.01}
        times["d8-g4"] = 0.1


def test_files_are_timed_to_8_bits_in_the_same_turn() -> None:
    """A machine that gets slower changes no median but that of 8 bits."""
    speeds = (1.0, 1.5, 2.0, 1.25, 1.75, 1.1, 1.2)
    parts = {"8-bit": 1e-3, "d4-g4": 6e-4}
    turns = [{name: slower * part for name, part in parts.items()} for slower in speeds]
    assert latencies_to_eight(turns) == {
        "8-bit": {"latency_ms": 1.25, "quartiles_ms": [1.25, 1.25]},
        "d4-g4": {"latency_ms": 0.75, "quartiles_ms": [0.75, 0.75]},
    }
