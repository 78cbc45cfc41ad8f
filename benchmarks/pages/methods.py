"""The page of benchmarks/methods.py: network x method -> bits, metric, size, latency."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.pages.markdown import table
from benchmarks.records import Record, machine, read_records

_METHODS = ("product", "scalar", "ternary", "composite", "binary")
_HEADER = (
    "# Every method on every network",
    "",
    "Made by `python -m benchmarks.tables` from `benchmarks/results/methods/*.json`, which",
    "`python -m benchmarks.methods` writes: each method with its defaults (`binary`: order 2) on",
    "at most 250 unlabelled samples, no tuning, through `subbyte compress`. *metric*: of the",
    "compressed file on the native kernels. *ms*: median of 30 runs at batch 1, one thread, of",
    "the float network in ONNX Runtime, of the file there, and of the file on the native kernels.",
    "`binary` is meant for networks trained for it ([methods/binary.md](../methods/binary.md)):",
    "here it shows the accuracy that is left without such training, on layers of any kind.",
    "[networks.md](networks.md) has single networks at other sizes.",
)


def read_methods(folder: Path) -> list[Record]:
    """The records in the order of the catalog and of the methods."""
    return read_records(folder, lambda record: _METHODS.index(record["method"]))


def methods_page(records: Sequence[Record]) -> str:
    """The whole page."""
    columns = (
        *("network", "method", "bits", "metric", "float", "compressed", "drop"),
        *("size", "float ms", "ONNX Runtime ms", "native ms"),
    )
    machines = {machine(r, f"level {r['latency']['native_isa']}") for r in records}
    rows = (_row(record) for record in records)
    return "\n".join([*_HEADER, "", *table(columns, rows), "", *sorted(machines), ""])


def _row(record: Record) -> list[str]:
    before, after, times = record["float"], record["compressed"], record["latency"]
    return [
        record["network"],
        record["method"],
        f"{after['bits_per_weight']:.2f}",
        record["metric"],
        f"{before['metric']:.2f}",
        f"{after['metric']:.2f}",
        f"{before['metric'] - after['metric']:+.2f}",
        f"{before['file_bytes'] / after['file_bytes']:.1f}x smaller",
        *(f"{times[kind]['median_ms']:.2f}" for kind in ("float", "portable", "native")),
    ]
