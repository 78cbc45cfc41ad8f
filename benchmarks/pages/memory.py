"""The table of memory in docs/budgets.md, from the record of `benchmarks.memory`."""

from __future__ import annotations

from typing import Any

from benchmarks.pages.markdown import table


def memory_table(record: dict[str, Any]) -> str:
    """A row a run: weights, the largest resident set of the process, its CPU time."""
    columns = ("network", "command", "float weights", "peak memory", "CPU time")
    rows = [
        [
            row["run"],
            row["command"],
            f"{row['weight_bytes'] / 1e6:.0f} MB",
            f"{row['peak_bytes'] / 2**30:.2f} GiB",
            f"{row['cpu_seconds']:.0f} s",
        ]
        for row in record["rows"]
    ]
    return "\n".join([f"{record['system']['cpu']}, one thread:", "", *table(columns, rows)])
