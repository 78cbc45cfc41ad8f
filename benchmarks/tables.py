"""The tables of the docs, made from the recorded results.

python -m benchmarks.tables            write them
python -m benchmarks.tables --check    exit with 1 if one is out of date
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.networks.catalog import NETWORKS
from benchmarks.packages.catalog import in_order
from benchmarks.pages.keep import keep_page
from benchmarks.pages.latencies import latencies_page
from benchmarks.pages.markdown import table
from benchmarks.pages.memory import memory_table
from benchmarks.pages.methods import methods_page, read_methods
from benchmarks.pages.native import layers_table, linear_table
from benchmarks.pages.packages import packages_page, sceptic_lines
from benchmarks.pages.papers import papers_page
from benchmarks.pages.readme import highlights, speed_table
from benchmarks.pages.readme_picture import tradeoff_picture
from benchmarks.pages.tradeoffs import tradeoffs_page
from benchmarks.pages.whole import whole_page
from benchmarks.records import Record, machine, read_records

ROOT = Path(__file__).parents[1]
RECORDS = ROOT / "benchmarks" / "results" / "networks"
STOCK = ROOT / "benchmarks" / "results" / "stock_int8.json"
WHOLE = ("whole_networks.json", "whole_networks_avx2.json")
NOTES = ROOT / "benchmarks" / "networks" / "notes.toml"

NATIVE = ROOT / "benchmarks" / "results" / "native_layers.json"
MEMORY = ROOT / "benchmarks" / "results" / "memory.json"
PAPERS = ROOT / "benchmarks" / "results" / "papers"
COUNTS = PAPERS / "ffn_counts.json"

_BEGIN, _END = "<!-- {} table: begin (make docs) -->", "<!-- {} table: end -->"
_HEADER = (
    "# Networks",
    "",
    "Made by `python -m benchmarks.tables` from `benchmarks/results/networks/*.json`; the",
    "JSON files have the exact command, CPU and versions of each run.",
    "",
    "- *bits*: bits per weight over all convolution and linear weights, everything stored",
    "  included (codes, codebooks, scales, layers kept at 8 bits).",
    "- *agreement*, *KL*: against the float network on the test samples; KL is the mean of",
    "  KL(float || compressed) in nats.",
    "- *file*: float file size divided by compressed file size.",
    "- *seconds*: wall time of the `subbyte compress` command.",
    "- Calibration samples have no labels and are never test samples. Where one set had to",
    "  serve for both, it was divided into halves, so float figures are the test half's.",
)

_STOCK_HEADER = (
    "# In stock ONNX Runtime",
    "",
    "Made by `python -m benchmarks.tables` from `benchmarks/results/stock_int8.json`, which",
    "`python -m benchmarks.stock_int8` writes. A compressed file without any kernels of ours",
    "stands against ONNX Runtime's own int8 model of the same network (QDQ, uint8 activations,",
    "int8 weights per channel). Both run in turn in one process: medians of process CPU time at",
    "batch 1. ResNet-18 has random weights at 224 x 224. Below 1: the compressed file is faster.",
)

_COUNTS_HEADER = (
    "# FFN: operations",
    "",
    "Made by `python -m benchmarks.tables` from `benchmarks/results/papers/ffn_counts.json`,",
    "which `python -m benchmarks.papers.ffn_counts` computes from the networks' shapes alone.",
    "The paper: one-thousandth of the multiplications. Rank min(m, n), at most 3,072 for linear",
    "layers; one multiplication per term and output position; 45 % of the factors zeros, as found",
    "for Gaussian matrices. The count of `subbyte inspect` for a file has one more multiplication",
    "per output, for the scale.",
)


def main() -> int:
    """Write the tables, or say which are out of date."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables", description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = [path for path, text in pages().items() if _read(path) != text]
    if not check:
        for path, text in pages().items():
            path.write_text(text)
        return 0
    for path in stale:
        print(f"{path.relative_to(ROOT)} is out of date: run make docs", file=sys.stderr)
    return 1 if stale else 0


def pages() -> dict[Path, str]:
    """Every page that holds generated text, and what it should be."""
    records = read_records(RECORDS, lambda record: (-record["bits"], record["id"]))
    readme = ROOT / "README.md"
    kernels = ROOT / "docs" / "results" / "kernels.md"
    native = json.loads(NATIVE.read_text())
    budgets = ROOT / "docs" / "budgets.md"
    made = ROOT / "docs" / "results"
    results = ROOT / "benchmarks" / "results"
    packages = in_order(results / "packages")
    wholes = [json.loads((results / name).read_text()) for name in WHOLE]
    stock = json.loads(STOCK.read_text())
    tradeoffs = read_records(results / "tradeoffs")
    return {
        made / "whole_networks.md": whole_page(
            wholes, json.loads((results / "threads.json").read_text())
        ),
        kernels: fill_all(
            kernels.read_text(),
            {"native layers": layers_table(native), "native linear layers": linear_table(native)},
        ),
        budgets: fill(budgets.read_text(), memory_table(json.loads(MEMORY.read_text())), "memory"),
        made / "networks.md": networks_page(records, _notes()),
        made / "stock_int8.md": stock_page(stock),
        made / "papers.md": papers_page(PAPERS),
        made / "ffn_counts.md": counts_page(json.loads(COUNTS.read_text())),
        made / "methods.md": methods_page(read_methods(results / "methods")),
        made / "keep.md": keep_page(json.loads((results / "keep.json").read_text())),
        made / "tradeoffs.md": tradeoffs_page(tradeoffs),
        ROOT / "docs" / "assets" / "tradeoff.svg": tradeoff_picture(tradeoffs),
        made / "latencies.md": latencies_page(read_records(results / "latencies")),
        made / "packages.md": packages_page(packages, in_order(results / "packages_8_bits")),
        readme: fill_all(
            readme.read_text(),
            {
                "highlights": highlights(best(records), wholes[0], stock),
                "speed": speed_table(wholes, packages, records),
                "networks": summary(records),
                "packages": sceptic_lines(packages),
            },
        ),
    }


def networks_page(records: Sequence[Record], notes: dict[str, str]) -> str:
    """The whole page: one table, what was measured on what, explanations."""
    columns = (
        *("network", "metric", "float", "compressed", "drop", "agreement", "KL"),
        *("bits", "file", "seconds", "options"),
    )
    names = dict.fromkeys(record["network"] for record in records)
    return "\n".join(
        [
            *_HEADER,
            "",
            *table(columns, (_full_row(record) for record in records)),
            "",
            "## Samples",
            "",
            *table(("network", "calibrated on", "tested on"), map(_samples_row, names)),
            "",
            *_explanations([name for name in names if name in notes], notes),
            "## Where",
            "",
            *_machines(records),
            "",
        ]
    )


def stock_page(record: Record) -> str:
    """Latency of compressed files in stock onnxruntime against its own int8 models."""
    columns = ("network", "subbyte ms", "int8 ms", "ratio (quartiles)", "subbyte kB", "int8 kB")
    rows = []
    for row in record["networks"]:
        ours, theirs = row["sides"]["subbyte"], row["sides"]["int8"]
        low, high = row["ratio_quartiles"]
        rows.append(
            [
                row["network"],
                *(f"{side['median_us'] / 1000:.2f}" for side in (ours, theirs)),
                f"{row['ratio']:.2f} ({low:.2f} to {high:.2f})",
                *(f"{side['file_bytes'] / 1000:.0f}" for side in (ours, theirs)),
            ]
        )
    return "\n".join(
        [*_STOCK_HEADER, "", *table(columns, rows), "", machine(record, "one thread"), ""]
    )


def counts_page(record: Record) -> str:
    """Multiplications and additions of FFN's factors, from shapes alone."""
    columns = ("network", "factored", "multiplications", "of before", "additions", "of before")
    rows = []
    for row in record["networks"]:
        cells = [row["network"], row["factored"]]
        for kind in ("multiplications", "additions"):
            before, after = row[f"{kind}_before"], row[f"{kind}_after"]
            part = f"1/{before / after:.0f}" if before > 2 * after else f"{after / before:.2f}"
            cells += [f"{before / 1e6:,.0f} M -> {after / 1e6:,.2f} M", part]
        rows.append(cells)
    return "\n".join([*_COUNTS_HEADER, "", *table(columns, rows), ""])


def summary(records: Sequence[Record]) -> str:
    """The short table for the README: per network, the smallest file within 1 point."""
    columns = ("network", "test set", "metric", "float", "compressed", "bits", "file")
    return "\n".join(table(columns, (_short_row(record) for record in best(records))))


def best(records: Sequence[Record], loss: float = 1.0) -> list[Record]:
    """Of each network the run with the fewest bits that loses at most ``loss`` points.

    A network none of whose runs is that good is represented by the one that loses least.
    """
    chosen = []
    for name in dict.fromkeys(record["network"] for record in records):
        runs = [record for record in records if record["network"] == name]
        good = [record for record in runs if drop(record) <= loss]
        chosen.append(
            min(good, key=lambda r: r["compressed"]["bits_per_weight"])
            if good
            else min(runs, key=drop)
        )
    return chosen


def drop(record: Record) -> float:
    """Points of the metric that compression cost."""
    return float(record["float"]["metric"] - record["compressed"]["metric"])


def fill(page: str, text: str, name: str = "networks") -> str:
    """``page`` with ``text`` between the two marks of the table ``name``."""
    first, last = _BEGIN.format(name), _END.format(name)
    before, begin, rest = page.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise SystemExit(f"no place for the table: {first} ... {last}")
    return f"{before}{begin}\n{text}\n{end}{after}"


def fill_all(page: str, tables: Mapping[str, str]) -> str:
    """``page`` with each of ``tables``, by name, between its marks."""
    for name, text in tables.items():
        page = fill(page, text, name)
    return page


def _explanations(names: Sequence[str], notes: dict[str, str]) -> list[str]:
    if not names:
        return []
    lines = (f"- **{name}**: {notes[name]}" for name in names)
    return ["## What was lost, and why", "", *lines, ""]


def _full_row(record: Record) -> list[str]:
    small = record["compressed"]
    return [
        record["network"],
        record["metric"],
        f"{record['float']['metric']:.2f}",
        f"{small['metric']:.2f}",
        f"{drop(record):+.2f}",
        f"{small['agreement']:.1f} %" if "agreement" in small else "",
        f"{small['kl']:.3f}" if "kl" in small else "",
        f"{small['bits_per_weight']:.2f}",
        _ratio(record),
        f"{record['seconds']:.0f}",
        " ".join([f"--samples {record['calibration']['samples']}", *record["options"]]),
    ]


def _short_row(record: Record) -> list[str]:
    return [
        record["network"],
        record["test"]["source"],
        record["metric"],
        f"{record['float']['metric']:.2f}",
        f"{record['compressed']['metric']:.2f}",
        f"{record['compressed']['bits_per_weight']:.2f}",
        _ratio(record),
    ]


def _samples_row(name: str) -> list[str]:
    return [name, NETWORKS[name].calibrated_on, NETWORKS[name].tested_on]


def _ratio(record: Record) -> str:
    return f"{record['float']['file_bytes'] / record['compressed']['file_bytes']:.1f}x smaller"


def _machines(records: Sequence[Record]) -> list[str]:
    """One line per kind of machine and set of versions."""
    lines = dict.fromkeys(
        f"- {record['system']['cpu']}, {record['system']['cores']} cores, "
        + ", ".join(
            f"{name} {version}"
            for name, version in (record["system"]["versions"] | record["packages"]).items()
        )
        for record in records
    )
    return list(lines)


def _notes() -> dict[str, str]:
    return dict(tomllib.loads(NOTES.read_text()))


def _read(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


if __name__ == "__main__":
    sys.exit(main())
