"""The page of benchmarks/keep.py and benchmarks/latencies.py: budgets of accuracy and of time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.markdown import table

Record = dict[str, Any]

_HEADER = (
    "# Budgets of accuracy and of time",
    "",
    "Made by `python -m benchmarks.tables`; the JSON files have the commands, CPU and versions.",
)
_KEEP_HEADER = (
    "## `--keep 0.5%`",
    "",
    "`python -m benchmarks.keep`, `benchmarks/results/keep.json`: top-1 on test samples that the",
    "command never saw, 8-bit activations, native kernels. Where too few samples can be held back,",
    "or too much is lost, the command says so and writes nothing.",
)
_LATENCY_HEADER = (
    "## Plans against single forms of the same time",
    "",
    "`python -m benchmarks.latencies`, `benchmarks/results/latencies.json`: one product form for",
    "all layers (d: channels a code), and `--methods product,scalar --latency` with the time that",
    "it takes. *divergence*: KL(float || compressed) in nats on test samples; for what is no",
    "classifier squared error over variance. One sample, one thread, native kernels.",
)


def budgets_page(keep: Sequence[Record], latencies: Sequence[Record]) -> str:
    """The whole page."""
    lines = [*_HEADER, "", *_KEEP_HEADER, ""]
    columns = ("network", "samples", "float", "compressed", "lost", "bits", "size")
    lines += table(columns, map(_keep_row, keep))
    lines += ["", *_LATENCY_HEADER, ""]
    pairs = (
        *("network", "form", "ms, form", "divergence, form"),
        *("ms, plan", "divergence, plan", "bits, form", "bits, plan"),
    )
    lines += table(pairs, [row for record in latencies for row in _latency_rows(record)])
    return "\n".join([*lines, ""])


def _keep_row(record: Record) -> list[str]:
    found = record["compressed"]
    first = [record["network"], f"{record['samples']['calibration']:,}", f"{record['float']:.2f}"]
    if found is None:
        return [*first, record["said"].replace("|", "/"), "", "", ""]
    lost = f"{record['float'] - found['metric']:+.2f}"
    size = f"{found['file_bytes'] / 1e3:,.0f} kB"
    return [*first, f"{found['metric']:.2f}", lost, f"{found['bits']:.2f}", size]


def _latency_rows(record: Record) -> list[list[str]]:
    """A row a form: it and the plan for its time."""
    files = {file["name"]: file for file in record["files"]}
    rows = []
    for name, form in files.items():
        plan = files.get(f"plan-{name}")
        if plan is not None:
            both = [(f"{f['latency_ms']:.3f}", f"{f['divergence']:.4f}") for f in (form, plan)]
            bits = [f"{form['bits']:.2f}", f"{plan['bits']:.2f}"]
            rows.append([record["network"], name, *both[0], *both[1], *bits])
    return rows
