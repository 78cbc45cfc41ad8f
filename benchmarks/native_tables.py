"""The page of whole networks on the native kernels."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

_HEADER = (
    "# On the native kernels",
    "",
    "Made by `python -m benchmarks.tables` from `benchmarks/results/native_networks/*.json`,",
    "which `python -m benchmarks.native_networks` writes. Milliseconds at batch 1, wall time,",
    "medians, all sides in turn in one process; in brackets how many times faster than the",
    "faster int8 peer. Random weights and codes at 224 x 224, activations calibrated; first and",
    "last layers, depthwise and tiny ones at 8 bits. int8 is onnxruntime's static quantization",
    "(QDQ, uint8 activations, int8 weights per channel), run by both.",
)

Record = dict[str, Any]


def read(folder: Path) -> list[Record]:
    """The records: by network as measured, by level, by threads."""
    records = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    order = ("ResNet-18", "VGG-16", "MobileNetV2")
    levels = ("avx512", "avx2")
    return sorted(
        records,
        key=lambda r: (levels.index(r["isa"]), r["threads"], order.index(r["network"])),
    )


def page(records: Sequence[Record]) -> str:
    """One table per level and number of threads, then loading and memory."""
    lines = list(_HEADER)
    for isa, threads in dict.fromkeys((r["isa"], r["threads"]) for r in records):
        chosen = [r for r in records if (r["isa"], r["threads"]) == (isa, threads)]
        lines += ["", f"## {isa}, {threads} thread{'s' if threads > 1 else ''}", ""]
        lines += _table(("network", *chosen[0]["sides"]), map(_row, chosen))
    lines += ["", "## Loading and memory", "", *_LOADING, ""]
    for record in records:
        if record["processes"] and record["isa"] == "avx512":
            lines += [*_table(("", *record["processes"]), _processes(record)), ""]
    systems = dict.fromkeys(_system(record) for record in records)
    return "\n".join([*lines, "## Where", "", *systems, ""])


_LOADING = (
    "Seconds to open a session, and how far that and one run raise the process's peak memory,",
    "one thread, a process each. The float file in onnxruntime, the others on the kernels.",
)


def _row(record: Record) -> list[str]:
    sides = record["sides"]
    best = min(row["median_ms"] for side, row in sides.items() if side.endswith(" int8"))
    cells = [record["network"]]
    for side, row in sides.items():
        text = f"{row['median_ms']:.2f}"
        peer = side.startswith(("onnxruntime", "openvino"))
        cells.append(text if peer else f"{text} ({best / row['median_ms']:.2f}x)")
    return cells


def _processes(record: Record) -> Iterable[list[str]]:
    rows = record["processes"].values()
    yield [f"{record['network']}, seconds", *(f"{row['load_seconds']:.2f}" for row in rows)]
    yield [f"{record['network']}, MiB", *(f"{row['peak_mib']:.0f}" for row in rows)]


def _system(record: Record) -> str:
    system = record["system"]
    versions = ", ".join(f"{name} {version}" for name, version in system["versions"].items())
    return f"- {system['cpu']}, {versions}, openvino {record['openvino']}"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [columns, ["---"] * len(columns), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]
