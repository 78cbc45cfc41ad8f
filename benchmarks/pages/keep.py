"""The page of benchmarks/keep.py: budgets of accuracy."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.pages.markdown import table
from benchmarks.records import Record

_HEADER = (
    "# Accuracy kept",
    "",
    "Made by `python -m benchmarks.tables` from `benchmarks/results/keep.json`, which",
    "`python -m benchmarks.keep` writes: `subbyte compress --max-drop 0.5`, and top-1 on test",
    "samples that the command never saw, with 8-bit activations on the native kernels. Where too",
    "few samples can be held back, or too much is lost, the command says so and writes nothing.",
)


def keep_page(records: Sequence[Record]) -> str:
    """The whole page."""
    columns = ("network", "samples", "float", "compressed", "lost", "bits", "size")
    return "\n".join([*_HEADER, "", *table(columns, map(_keep_row, records)), ""])


def _keep_row(record: Record) -> list[str]:
    found = record["compressed"]
    first = [record["network"], f"{record['samples']['calibration']:,}", f"{record['float']:.2f}"]
    if found is None:
        return [*first, record["said"].replace("|", "/"), "", "", ""]
    lost = f"{record['float'] - found['metric']:+.2f}"
    size = f"{found['file_bytes'] / 1e3:,.0f} kB"
    return [*first, f"{found['metric']:.2f}", lost, f"{found['bits']:.2f}", size]
