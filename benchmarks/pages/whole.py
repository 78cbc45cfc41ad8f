"""The page of whole networks on the native kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.pages.markdown import table

Record = dict[str, Any]

_WHOLE_HEADER = (
    "# Whole networks with the native kernels",
    "",
    "Made by `python -m benchmarks.tables` from `benchmarks/results/whole_networks.json`, which",
    "`python -m benchmarks.whole_networks` writes; it describes the networks. Medians of",
    "wall time at batch 1, all sides in turn in one process; in brackets, how many times faster",
    "than the best int8 and the best float peer of the same run. *loads* and *memory*: a fresh",
    "process loads the file (float: in ONNX Runtime) and runs it once. *cosine* and *same top-1*:",
    "the native outputs against the portable ones of the same file. At level avx2 the kernels",
    "and OpenVINO (ONEDNN_MAX_CPU_ISA=AVX2) are held to AVX2; ONNX Runtime and ncnn are not.",
)


def whole_page(records: Sequence[Record], threads: Record) -> str:
    """A section a record and network: latency of every side, then what each file costs to load;
    and one of the sides on more threads, each in a process of its own."""
    lines = [*_WHOLE_HEADER, ""]
    for record in records:
        for network in record["networks"]:
            lines += [f"## {network['network']}, level {record['isa']}", ""]
            lines += [*_latency(network), "", *_files(network), ""]
            left_out = network["missing"]
            lines += [f"Not measured: {row['peer']}: {row['reason']}." for row in left_out]
            lines.append("")
        packages = ", ".join(f"{name} {version}" for name, version in record["packages"].items())
        lines += [f"{record['system']['cpu']}, {packages}.", ""]
    return "\n".join([*lines, *_threads(threads)])


def _threads(record: Record) -> list[str]:
    """``benchmarks.threads``: a row a side, a column a number of threads."""
    counts = sorted({row["threads"] for row in record["rows"]})
    found = {(row["side"], row["file"], row["threads"]): row for row in record["rows"]}
    sides = list(dict.fromkeys((side, label) for side, label, _ in found))
    peers = [side for side in sides if side[0] != "native"]
    best = {n: min(found[(*peer, n)]["median_ms"] for peer in peers) for n in counts}
    rows = []
    for side, label in sides:
        times = [found[side, label, n]["median_ms"] for n in counts]
        cells = [f"{t:.2f} ({best[n] / t:.2f}x)" for n, t in zip(counts, times, strict=True)]
        rows.append([label, side, *cells])
    columns = ("file", "side", *(f"ms, {n} thread(s)" for n in counts))
    return [
        f"## {record['network']} on more threads, level {record['isa']}",
        "",
        "From `benchmarks/results/threads.json`, which `python -m benchmarks.threads` writes: each",
        "side in processes of its own, as idle threads of other runtimes take cores; in brackets",
        "against the best int8 on as many threads.",
        "",
        *table(columns, rows),
        "",
    ]


def _latency(network: Record) -> list[str]:
    best = {
        (threads, kind): min(side["median_ms"] for side in sides if _kind(side) == kind)
        for threads, sides in network["latency"].items()
        for kind in ("int8", "float")
    }
    rows: dict[tuple[str, str], list[str]] = {}
    for threads, sides in network["latency"].items():
        for side in sides:
            ms = side["median_ms"]
            cell = (
                f"{ms:.2f} ({best[threads, 'int8'] / ms:.2f}x, {best[threads, 'float'] / ms:.2f}x)"
            )
            name = "onnxruntime-fp32" if _kind(side) == "float" else side["engine"]
            name = side["engine"] if side["engine"].endswith("fp32") else name
            rows.setdefault((side["file"], name), []).append(cell)
    columns = ("file", "engine", *(f"ms, {threads} thread(s)" for threads in network["latency"]))
    return table(columns, ([*key, *cells] for key, cells in rows.items()))


def _kind(side: Record) -> str:
    """What a side is a case of: a float peer, an int8 peer, or a compressed file."""
    if side["file"] != "float":
        return "compressed"
    return "int8" if side["engine"].endswith("int8") else "float"


def _files(network: Record) -> list[str]:
    rows = []
    for label, size in network["bytes"].items():
        cost, engines = network["loading"][label], network["engines"].get(label)
        close = (f"{engines['cosine']:.4f}", _agreement(engines)) if engines else ("", "")
        top1 = (
            f"{engines['native_top1']:.2f} / {engines['portable_top1']:.2f}"
            if engines and "native_top1" in engines
            else ""
        )
        figures = (f"{size / 1e6:.2f}", f"{cost['load_ms']:.0f}", f"{cost['peak_mb']:.0f}")
        rows.append([label, *figures, *close, top1])
    columns = (
        "file",
        "MB",
        "loads, ms",
        "memory, MB",
        "cosine",
        "same top-1",
        "top-1 native / portable",
    )
    return table(columns, rows)


def _agreement(engines: Record) -> str:
    """Nothing where random weights decide by chance, or few images would say little."""
    return f"{engines['agreement']:.2f} %" if "native_top1" in engines else ""
