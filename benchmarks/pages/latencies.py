"""The page of benchmarks/latencies.py: plans and single formats that take as long."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.latencies import SPREAD, TRIALS, TURNS, best_forms
from benchmarks.pages.markdown import table
from benchmarks.records import Record, machines

_HEADER = (
    "# Plans for a latency",
    "",
    "Made by `python -m benchmarks.tables` from `benchmarks/results/latencies/*.json`, which",
    "`python -m benchmarks.latencies` writes. One format for all layers (d: channels a code, g:",
    "gain bits; or weights of so many bits) stands against plans of `--latency` for its time. Both",
    "are coded from the same samples, 8-bit activations, no tuning. *divergence*: KL(float ||",
    "compressed) in nats on test samples; for other outputs than class scores, squared error over",
    "variance. *ms*: CPU time of one sample on the native kernels, one thread, median of",
    f"{TURNS} turns of all files.",
)
_BEST_HEADER = (
    "## The plan against the best single format",
    "",
    "Of every network the formats that no other format beats in as much time, and the plan that is",
    f"closest to the float network in as much time. A file that takes up to {100 * SPREAD:.0f} %",
    "longer, as single files do from turn to turn, counts as equally fast. Below zero: the plan",
    "diverges more. At the time of 8 bits for all layers the plan has little to choose.",
)
_TRIED_HEADER = (f"*By trial*: the choice of `--trials {TRIALS}`, where it has been run.",)


def latencies_page(records: Sequence[Record]) -> str:
    """The whole page."""
    if not records:
        return "\n".join([*_HEADER, "", "No network has a record yet.", ""])
    columns = ("network", "format", "bits", "ms", "divergence")
    plan = ("plan: bits", "plan: ms", "plan: divergence", "lower by")
    tried = ("by trial: bits", "by trial: ms", "by trial: divergence", "by trial: lower by")
    rows = [_best_row(record, *row) for record in records for row in best_forms(record)]
    by_trial = any("tried" in record for record in records)
    lines = [*_HEADER, "", *_BEST_HEADER, *(_TRIED_HEADER if by_trial else ()), ""]
    headings = (*columns, *plan, *(tried if by_trial else ()))
    lines += table(headings, (row[: len(headings)] for row in rows))
    for record in records:
        lines += ["", f"## {record['network']}", "", *_files(record)]
    return "\n".join([*lines, "", *machines(records), ""])


def _best_row(record: Record, form: Record, plan: Record | None, tried: Record | None) -> list[str]:
    by_trial = _against(form, tried) if "tried" in record else [""] * 4
    return [record["network"], form["name"], *_figures(form), *_against(form, plan), *by_trial]


def _against(form: Record, plan: Record | None) -> list[str]:
    if plan is None:
        return ["none so fast", "", "", ""]
    return [*_figures(plan), f"{100 * (1 - plan['divergence'] / form['divergence']):.0f} %"]


def _figures(row: Record) -> list[str]:
    return [f"{row['bits']:.2f}", f"{row['latency_ms']:.3f}", f"{row['divergence']:.4f}"]


def _files(record: Record) -> list[str]:
    samples = record["samples"]
    said = (
        f"Coded from {samples['calibration']} samples; divergence on {samples['judged']} test "
        "samples. All files, the fastest first; *asked*: the latency that a plan was made for, if "
        "8 bits for all layers take as long as here."
    )
    seeds = max(len(row["divergences"]) for row in record["forms"])
    said += (
        f" Divergence is the mean of {seeds} seeds, and its range." if seeds > 1 else " One seed."
    )
    if record.get("to_eight"):
        said += " Times are ratios to 8 bits in the same turn, times the median time of 8 bits."
    columns = ("file", "asked", "ms", "quartiles", "bits", "kB", "divergence", "agreement")
    rows = sorted(_all_files(record), key=lambda row: float(row["latency_ms"]))
    return [said, "", *table(columns, map(_file_row, rows))]


def _all_files(record: Record) -> list[Record]:
    return [*record["forms"], *record["plans"], *record.get("tried", [])]


def _file_row(row: Record) -> list[str]:
    low, high = row["quartiles_ms"]
    return [
        row["name"],
        f"{row['limit_ms']:.3f}" if "limit_ms" in row else "",
        f"{row['latency_ms']:.3f}",
        f"{low:.3f} to {high:.3f}",
        f"{row['bits']:.2f}",
        f"{row['file_bytes'] / 1e3:,.0f}",
        _divergence(row),
        "" if row["agreement"] is None else f"{row['agreement']:.1f} %",
    ]


def _divergence(row: Record) -> str:
    mean, found = f"{row['divergence']:.4f}", row["divergences"]
    return mean if len(found) == 1 else f"{mean} ({min(found):.4f} to {max(found):.4f})"
