"""Budgets of accuracy: what counts as a refusal."""

from __future__ import annotations

from subprocess import CompletedProcess

import pytest

from benchmarks.keep import refusal

SAID = "error: --max-drop out of reach: what is lost: expected at most 0.5 points, got 0.52"


def done(status: int, stderr: str) -> CompletedProcess[str]:
    return CompletedProcess([], status, None, stderr)


def test_a_network_that_cannot_be_vouched_for_is_a_result() -> None:
    assert refusal(done(2, f"Layers 3/3\n{SAID}\n")) == SAID
    assert refusal(done(0, "Layers 3/3\n")) == ""


@pytest.mark.parametrize(
    ("status", "stderr"), [(2, "error: no such file: net.onnx\n"), (2, ""), (1, SAID), (-9, "")]
)
def test_other_failures_end_the_run(status: int, stderr: str) -> None:
    with pytest.raises(SystemExit, match=f"exit status {status}"):
        refusal(done(status, stderr))
