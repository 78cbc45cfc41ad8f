"""The figures on the README's first screen, from the recorded results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from benchmarks.pages.markdown import table
from benchmarks.records import Record

# The file of each whole network that stands in the table: the form that keeps most accuracy.
_FILES = ("d=4, 2-bit gain", "2 bits")
_COLUMNS = ("network", "float", "compressed", "bits", "MB", "ms", "best int8, ms")
_RANDOM = "random weights"
_NO_TASK = "no task of its own"


def highlights(good: Sequence[Record], whole: Record, stock: Record, *, points: float = 1.0) -> str:
    """Three bullets: size at 2 bits, speed with our kernels, speed without them.

    ``good``: of each network the run with the fewest bits that loses at most ``points``; runs
    above 2 bits are not named. ``whole``, ``stock``: records of `benchmarks.whole_networks` and
    `benchmarks.stock_int8`.
    """
    return "\n".join([_small(good, points), _fast(whole), _portable(stock)])


def _small(runs: Sequence[Record], points: float) -> str:
    found = [run for run in runs if run["bits"] <= 2 and _lost(run) <= points]
    names = ", ".join(run["network"] for run in found)
    smaller = [run["float"]["file_bytes"] / run["compressed"]["file_bytes"] for run in found]
    lost = [_lost(run) for run in found]
    return (
        f"- **Small.** At 2 bits a weight, files are {min(smaller):.0f} to {max(smaller):.0f} "
        f"times smaller and lose {min(lost):.1f} to {max(lost):.1f} points of accuracy ({names})."
    )


def _lost(run: Record) -> float:
    return float(run["float"]["metric"] - run["compressed"]["metric"])


def _fast(whole: Record) -> str:
    network = next(n for n in whole["networks"] if n["network"] == "ResNet-18")
    ours, best, engine = _times(network)
    return (
        f"- **Fast.** A network of {network['network']}'s shape takes {ours:.1f} ms a picture with "
        f"our kernels (one thread, {whole['isa']}); the best int8 ({engine}) takes {best:.1f} ms."
    )


def _portable(stock: Record) -> str:
    ratios = [row["ratio"] for row in stock["networks"]]
    names = " and ".join(row["network"] for row in stock["networks"])
    return (
        f"- **Portable.** Without our kernels, ONNX Runtime takes {min(ratios):.2f} to "
        f"{max(ratios):.2f} times as long for our files as for its own int8 ({names})."
    )


def speed_table(
    wholes: Sequence[Record], packages: Sequence[Record], runs: Sequence[Record]
) -> str:
    """Accuracy, bits, size and time of every network that was also timed as int8.

    ``wholes``: records of `benchmarks.whole_networks`, one a level; ``packages``: records of
    `benchmarks.packages`; ``runs``: records of `benchmarks.networks`, for the float accuracy.
    """
    accuracy = {run["network"]: run["float"]["metric"] for run in runs}
    rows = [*_whole_rows(wholes, accuracy), *_package_rows(packages)]
    return "\n".join(table(_COLUMNS, rows))


def _whole_rows(wholes: Sequence[Record], accuracy: Mapping[str, float]) -> Iterator[list[str]]:
    for record in wholes:
        for network in record["networks"]:
            label = _label(network)
            engines = network["engines"][label]
            top1 = engines.get("native_top1")
            ours, best, engine = _times(network)
            yield [
                f"{network['network']}, {record['isa']}",
                _RANDOM if top1 is None else f"top-1 {accuracy[_catalog(network)]:.1f}",
                _RANDOM if top1 is None else f"{top1:.1f}",
                label,
                _sizes(network["bytes"]["float"], network["bytes"][label]),
                f"{ours:.2f}",
                f"{best:.2f} ({engine})",
            ]


def _package_rows(records: Sequence[Record]) -> Iterator[list[str]]:
    for record in records:
        task, times = record["task"], record["ms"]
        if not {"int8", "native"} <= set(times):
            continue
        yield [
            record["network"],
            f"{task['name'].removesuffix(', %')} {task['float']:.1f}" if task else _NO_TASK,
            f"{task['native']:.1f}" if task else _NO_TASK,
            f"{record['bits']:.2f}",
            _sizes(record["bytes"]["float"], record["bytes"]["portable"]),
            f"{times['native']:.2f}",
            f"{times['int8']:.2f} (onnxruntime)",
        ]


def _sizes(before: int, after: int) -> str:
    return f"{before / 1e6:.2f} -> {after / 1e6:.2f}"


def _catalog(network: Record) -> str:
    return str(network["network"]).lower().replace("-", "")


def _label(network: Record) -> str:
    return next(label for label in _FILES if label in network["bytes"])


def _times(network: Record) -> tuple[float, float, str]:
    """Milliseconds of our file on our kernels and of the fastest int8, on one thread; its name."""
    sides, label = network["latency"]["1"], _label(network)
    ours = next(s for s in sides if s["file"] == label and s["engine"] == "native")
    best = min(
        (s for s in sides if s["engine"].endswith("-int8")), key=lambda side: side["median_ms"]
    )
    engine = best["engine"].removesuffix("-int8")
    return float(ours["median_ms"]), float(best["median_ms"]), engine
