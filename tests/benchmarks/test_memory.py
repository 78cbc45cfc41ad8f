"""Memory of the program on networks far larger than what it should hold of them at once."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

import pytest

from benchmarks import memory
from benchmarks.memory import run_program, write_stack
from benchmarks.pages.memory import memory_table

# Of the weights that a network has more: the float ones once, the coded ones, a quarter as large,
# five times while the file is made and checked, and half for what an allocator does not give
# back. Two more copies of the float ones, which reading the file used to make, are too many.
MOST_COPIES = 1 + 5 / 4 + 1 / 2


def test_a_network_in_external_data_takes_its_weights_once(tmp_path: Path) -> None:
    """Two networks that differ by 120 MB of weights; `benchmarks.memory` has one of 1 GB."""
    peaks, sizes = [], []
    for linears in (2, 31):
        folder = tmp_path / str(linears)
        folder.mkdir()
        path, calib = write_stack(folder, 1024, 0, linears, samples=16)
        (folder / "plan.toml").write_text("")
        options = ("--calib", calib, "--plan", folder / "plan.toml")
        used = run_program("compress", path, *options, "-o", folder / "small.onnx")
        peaks.append(used.peak_bytes)
        sizes.append((folder / "stack.data").stat().st_size)
        assert (folder / "small.onnx").stat().st_size < 0.26 * sizes[-1]
    assert sizes[1] - sizes[0] > 120_000_000
    assert peaks[1] - peaks[0] < MOST_COPIES * (sizes[1] - sizes[0])


def test_a_failed_command_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError, match="exit status 2"):
        run_program("inspect", tmp_path / "none.onnx")


def test_table() -> None:
    used = dataclasses.asdict(memory.Usage(2 << 30, 90.0, 100.0))
    rows = [{"run": "Net", "command": "plan --bits 2", "weight_bytes": 102_000_000, **used}]
    record = {"system": {"cpu": "A CPU"}, "rows": rows}
    assert memory_table(record).splitlines()[-1] == (
        "| Net | plan --bits 2 | 102 MB | 2.00 GiB | 90 s |"
    )
