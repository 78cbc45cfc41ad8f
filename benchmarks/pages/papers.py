"""The page of the papers' reproductions, from what has been recorded of them."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.pages.markdown import table

Record = dict[str, Any]

_HEADER = (
    "# The papers",
    "",
    "Made by `python -m benchmarks.tables` from `benchmarks/results/papers/*.json`. Each section",
    "names the command that writes its JSON file. A paper's figure stands here only where its",
    "source was at hand; otherwise the page says that it is not known. Networks and data differ",
    "from the papers': compare the cost of coding, not the float figures.",
    "",
)


def papers_page(results: Path) -> str:
    """One section a paper, of those that have a record in the folder ``results``."""
    lines = list(_HEADER)
    for name, section in _SECTIONS.items():
        path = results / f"{name}.json"
        if path.exists():
            lines += [*section(json.loads(path.read_text())), ""]
    return "\n".join(lines)


def qcnn_section(record: Record) -> list[str]:
    """Errors of the MNIST networks."""
    rows = []
    for network in record["networks"]:
        for row in network["rows"]:
            rows.append(
                [
                    network["network"],
                    _QCNN_NAMES[row["procedure"]],
                    f"{network['float_error']:.2f}",
                    f"{row['error']:.2f} ({row['error'] - network['float_error']:+.2f})",
                    f"{row['error_int8']:.2f}",
                    "not known",
                    f"{network['paper_rate']:.1f}x",
                    f"{row['stored_rate']:.1f}x",
                ]
            )
    columns = (
        *("network", "coding, 4/32", "float error %", "error %", "8-bit activations"),
        *("the paper's error", "as the paper counts", "as stored"),
    )
    return [
        "## Q-CNN (`product`)",
        "",
        "`python -m benchmarks.papers.qcnn`: MNIST, all layers but the last in 32 words of length",
        "4. The paper counts float codebooks, codes and a float last layer; stored here are int8",
        "codebooks, codes, scales and a last layer of 8 bits. The paper, for AlexNet and larger:",
        "4 to 6 times faster, 15 to 20 times smaller, about one point lost.",
        "",
        *table(columns, rows),
    ]


_QCNN_NAMES = {
    "paper-plain": "without error correction",
    "paper": "with error correction",
    "corrected": "ours",
}


def ffn_section(record: Record) -> list[str]:
    """Ternary factors on the CIFAR-10 networks."""
    rows = [
        [
            row["network"],
            f"{row['bits_per_weight']:.2f}",
            "distilled" if row["tuned"] else "none",
            f"{row['samples']:,}",
            f"{row['float']:.2f}",
            f"{row['top1']:.2f} ({row['top1'] - row['float']:+.2f})",
            "not known",
        ]
        for row in record["runs"]
    ]
    columns = (
        "network",
        "bits",
        "training",
        "samples, no labels",
        "float top-1",
        "top-1",
        "the paper's",
    )
    return [
        "## FFN (`ternary`)",
        "",
        "`python -m benchmarks.papers.ffn`: CIFAR-10, the 2,880 lossless test images, 8-bit",
        "activations; all stored bits counted. The paper, on ImageNet: weights of -1, 0 and 1",
        "alone with comparable accuracy, and one-thousandth of the multiplications",
        "([counted](ffn_counts.md)).",
        "",
        *table(columns, rows),
    ]


def soft_hard_section(record: Record) -> list[str]:
    """The two stages on MNIST and CIFAR-10."""
    rows = []
    for data in record["data"]:
        for grid in data["grids"]:
            rows.append(
                [
                    data["data"],
                    grid["levels"],
                    f"{data['float']:.2f}",
                    f"{grid['hard']:.2f}",
                    f"{grid['tuned']:.2f} ({grid['tuned'] - data['float']:+.2f})",
                    f"{grid['file']['accuracy']:.2f}",
                    f"{grid['file']['bits_per_weight']:.3f}",
                    f"{100 * grid['seconds'] / data['seconds']:.1f} %",
                ]
            )
    columns = ("data", "levels", "float", "hard", "tuned", "file", "bits", "more training")
    return [
        "## Soft and hard stage (`scalar`)",
        "",
        "`python -m benchmarks.papers.soft_hard`: top-1. The paper: 2 bits, so 93.75 % less memory",
        "for weights, for 3 % more training; its accuracies are not known.",
        "",
        *table(columns, rows),
    ]


def horq_section(record: Record) -> list[str]:
    """Residual binary networks, a table for each, by order."""
    nets: dict[tuple[str, ...], list[Record]] = {}
    for run in record["runs"]:
        options = run.get("options")
        layers = run["layers"] + (f"; {options} in every block" if options else "")
        nets.setdefault((run["dataset"], run["net"], layers), []).append(run)
    lines = [
        "## HORQ (`binary`)",
        "",
        "`python -m benchmarks.papers.horq`: top-1 of one network at one budget, mean and range",
        "over the seeds. The paper: on MNIST more accurate than XNOR and faster to converge; on",
        "CIFAR-10, with a shallow network, about 3 % below float. Layers, batch and gradient of",
        "`wide` and `wider` were chosen on training images held out, the few images of `wide`",
        "after the test figures of `wider` in float and at order 2. `bottleneck` is made to gain",
        "most by order 2: few values enter its first binary layer. Its training was chosen on",
        "images held out: every order, float as well, goes on from the same float net, whose 16",
        "epochs count and which also teaches it (0.9 of the loss). There, over three seeds, float",
        "had 64.4, order 1 59.0 and order 2 61.9. Order 2 ends within 2 points of that float net,",
        "which going on does not improve; a float net trained from scratch for all 26 epochs is 4",
        "points better than order 2.",
        "",
        "Tried for it at 16 epochs in all, one seed, order 2, images held out (float: 63.4). From",
        "a float net of 6 epochs 60.1, of 2 epochs 59.8; from the net of 6 epochs, which then also",
        "teaches (0.5), 58.7; with a learned shift and PReLU 60.0. With shortcuts as well the",
        "training loss was higher after every epoch, and the run was stopped after 11. CPU seconds",
        "of `bottleneck` are of a busy machine.",
    ]
    for (_, net, layers), runs in nets.items():
        lines += ["", f"Network `{net}` ({layers}; the first layer and a linear last one float):"]
        lines += ["", *_orders(runs), *_gains(runs)]
    return lines


def _gains(runs: list[Record]) -> list[str]:
    """What order 2 gains over order 1 trained alike, and loses to every float net as long."""
    means: dict[tuple[Any, ...], dict[str, float]] = {}
    for key, group in _grouped(runs, "order", "images", "epochs", "backward").items():
        names = group[0]["accuracy"]
        means[key] = {n: statistics.mean(run["accuracy"][n] for run in group) for n in names}
    lines = []
    for (order, *budget, training), second in means.items():
        first = means.get((1, *budget, training))
        if order != 2 or first is None:
            continue
        parts = [f"order 2 over order 1 {_over(second, first)}"]
        for (other, images, epochs, _, how), mean in means.items():
            if other == 0 and [images, epochs] == budget[:2]:
                parts.append(f"over float {how} {_over(second, mean)}")
        lines += ["", f"{budget[0]:,} x {budget[1]}: {'; '.join(parts)}."]
    return lines


def _over(ours: dict[str, float], theirs: dict[str, float]) -> str:
    return " / ".join(f"{ours[name] - theirs[name]:+.2f}" for name in ours)


def _grouped(runs: list[Record], *names: str) -> dict[tuple[Any, ...], list[Record]]:
    """Runs that share ``names`` and their way of training, which ends the key."""
    groups: dict[tuple[Any, ...], list[Record]] = {}
    for run in runs:
        groups.setdefault((*(run[name] for name in names), _training(run)), []).append(run)
    return groups


def _orders(runs: list[Record]) -> list[str]:
    names = list(dict.fromkeys(name for run in runs for name in run["accuracy"]))
    key = ("dataset", "images", "epochs", "order", "backward", "batch")
    groups = _grouped(runs, *key)
    rows = [
        [
            dataset,
            f"{images:,} x {epochs}",
            "float" if order == 0 else f"{order}" + (" (XNOR)" if order == 1 else ""),
            backward if order else "",
            f"{len(seeds)}",
            *(_spread([run["accuracy"].get(name) for run in seeds]) for name in names),
            training,
            f"{batch}",
            f"{statistics.mean(run['training_cpu_seconds'] for run in seeds):.0f}",
        ]
        for (dataset, images, epochs, order, backward, batch, training), seeds in groups.items()
    ]
    budget = ("training", "batch", "training CPU s")
    columns = ("data", "images x epochs", "order", "backward", "seeds", *names, *budget)
    return table(columns, rows)


def _training(run: Record) -> str:
    """What the epochs of a binary net are, in words."""
    if not run.get("float_epochs"):
        return "from scratch"
    parts = [f"from the float net of {run['float_epochs']} epochs"]
    if run["real_epochs"]:
        parts.append(f"{run['real_epochs']} epochs with real weights")
    if run["distil"]:
        parts.append(f"distilled ({run['distil']:g})")
    return ", ".join(parts)


def _spread(values: Sequence[float | None]) -> str:
    """Mean, and the range where there are several."""
    found = [value for value in values if value is not None]
    if not found:
        return ""
    mean = f"{statistics.mean(found):.2f}"
    return mean if len(found) == 1 else f"{mean} ({min(found):.2f} to {max(found):.2f})"


def cbdnet_section(record: Record) -> list[str]:
    """The paper's planes and ours at the paper's bits."""
    rows = []
    for network in record["networks"]:
        for name in ("paper", "corrected"):
            row = network[name]
            counted = f"{row['counted_bits']:.2f}" if "counted_bits" in row else ""
            rows.append(
                [
                    network["network"],
                    {"paper": "the paper's", "corrected": "ours"}[name],
                    f"{network['paper_bits']:.2f} ({network['like']})",
                    counted,
                    f"{row['bits_per_weight']:.2f}",
                    network["metric"],
                    f"{network['float']:.2f}",
                    f"{row['metric']:.2f} ({_change(row, network['float'])})",
                    f"{row['metric_int8']:.2f}",
                    "minor",
                ]
            )
    columns = (
        *("network", "procedure", "the paper's bits", "as it counts", "stored", "metric"),
        *("float", "coded", "8-bit activations", "the paper's drop"),
    )
    return [
        "## CBDNet (`composite`)",
        "",
        "`python -m benchmarks.papers.cbdnet`: no training; the paper's procedure at the setting",
        "nearest its bits from below, ours within its bits with all that is stored counted. For",
        "lack of its networks, the nearest in kind of the data folder, and a small VGG trained",
        "here. The paper's drops are known as minor only. The YOLOs are tested on 64 images: ± is",
        "the standard error of the change, over images drawn with replacement.",
        "",
        *table(columns, rows),
    ]


def _change(row: Record, before: float) -> str:
    error = row.get("change_error")
    return f"{row['metric'] - before:+.2f}" + ("" if error is None else f" ± {error:.1f}")


_SECTIONS: Mapping[str, Callable[[Record], list[str]]] = {
    "qcnn": qcnn_section,
    "ffn": ffn_section,
    "soft_hard": soft_hard_section,
    "horq": horq_section,
    "cbdnet": cbdnet_section,
}
