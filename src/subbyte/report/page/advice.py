"""The advice of a report, in sentences."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

MUCH_HARM = 30.0
LITTLE_HARM = 1.0
MUCH_OF_FILE = 15.0
CLIPS = 1.0
HALF = 50.0
FASTER = 0.9
JOINT = 5.0
_NAMED = 3

Row = Mapping[str, Any]


def advice(document: Mapping[str, Any]) -> list[str]:
    """Sentences on all that stands out, the weightiest first, by the limits of this module."""
    layers, sensitivity = document["layers"], document["sensitivity"]
    joint = list(_joint(sensitivity))
    proof = document.get("proof") or {"warnings": ()}
    return [
        *map(_sentence, proof["warnings"]),
        *(joint or list(_much_harm(layers)) or _most_harm(layers)),
        *_activations(sensitivity),
        *_saturation(document["activations"] or ()),
        *_wide(layers),
        *_floats(layers),
        *([] if joint else _little_harm(layers)),
        *_graph(document["summary"]),
        *_latency(document["latency"] or ()),
    ]


def _sentence(text: str) -> str:
    """A warning of the proof."""
    return f"{text[:1].upper()}{text[1:]}."


def _joint(sensitivity: Row | None) -> Iterator[str]:
    """Layers that do together much less than each alone: shares of harm are no guide then."""
    if sensitivity is None or sensitivity["weights"] <= 0:
        return
    times = sensitivity["alone"] / sensitivity["weights"]
    if times >= JOINT:
        yield (
            f"Each alone, the layers would do {times:.0f} times the harm that they do together: "
            "they were tuned, or fitted to these very samples, and shares of harm do not tell "
            "where bits are missing. Measure on samples that compressing has not seen."
        )


def _much_harm(layers: Sequence[Row]) -> Iterator[str]:
    """Layers whose share of the harm is out of proportion to their share of the weights."""
    for row in _by(layers, "harm_share"):
        share = row["harm_share"]
        if share < MUCH_HARM or share < 2 * row["weights_share"]:
            continue
        text = (
            f"{row['name']} does {share:.0f}% of all harm, "
            f"with {row['weights_share']:.1f}% of the weights"
        )
        if row["bits_per_weight"] < 6:
            text += ": give it 1 bit more"
        elif row["method"] != "float":
            text += ": it has 8 bits already, only tuning is left"
        yield text + "."


def _most_harm(layers: Sequence[Row]) -> Iterator[str]:
    rows = _by(layers, "harm_share")[:_NAMED]
    if len(rows) == _NAMED:
        named = ", ".join(f"{row['name']} ({row['harm_share']:.0f}%)" for row in rows)
        yield f"No layer stands out; most harm is done by {named}."


def _little_harm(layers: Sequence[Row]) -> Iterator[str]:
    for row in _by(layers, "file_share"):
        harm = row.get("harm_share")
        if harm is None or harm > LITTLE_HARM or row["file_share"] < MUCH_OF_FILE:
            continue
        if row["bits_per_weight"] > 1:
            yield (
                f"{row['name']} takes {row['file_share']:.0f}% of the file and does "
                f"{harm:.1f}% of the harm: it can do with fewer bits."
            )


def _wide(layers: Sequence[Row]) -> Iterator[str]:
    """Layers at 8 bits or more that take half of the file."""
    wide = [row for row in _by(layers, "file_share") if row["bits_per_weight"] >= 8]
    share = sum(row["file_share"] for row in wide)
    if share >= HALF and len(wide) < len(layers):
        yield (
            f"{_count(len(wide), 'layer')} at 8 bits or more take {share:.0f}% of the file: "
            f"{_names(wide)}."
        )


def _floats(layers: Sequence[Row]) -> Iterator[str]:
    reasons: dict[str, list[Row]] = defaultdict(list)
    for row in layers:
        if row["reason"]:
            reasons[row["reason"]].append(row)
    for reason, rows in reasons.items():
        yield f"{_names(rows)} {_verb(rows, 'compute')} in float: {reason}."
    bare = [row for row in layers if row["method"] == "float"]
    if bare:
        yield f"{_names(bare)} {_verb(bare, 'keep')} float weights."


def _saturation(tensors: Iterable[Row]) -> Iterator[str]:
    for row in sorted(tensors, key=lambda row: -float(row["clipped"])):
        if row["clipped"] > CLIPS:
            yield (
                f"The {tensor_name(row)} saturates: {row['clipped']:.1f}% of its values lie "
                f"outside {row['low']:.3g} to {row['high']:.3g}. Calibrate with samples like these."
            )


def _activations(sensitivity: Row | None) -> Iterator[str]:
    if sensitivity is None or sensitivity["file"] <= 0:
        return
    share = 100 * (sensitivity["file"] - sensitivity["weights"]) / sensitivity["file"]
    if share > HALF:
        yield (
            f"8-bit activations do {share:.0f}% of the file's harm, the weights the rest: more "
            "bits for the weights would gain little."
        )


def _graph(summary: Row) -> Iterator[str]:
    share = 100 * summary["parts"]["graph"] / summary["file_bytes"]
    if share > HALF:
        yield (
            f"Nodes, functions and names take {share:.0f}% of the file: the network is too small "
            "for its weights to count."
        )


def _latency(rows: Sequence[Row]) -> Iterator[str]:
    native = next((row for row in rows if row["engine"] == "native" and row["compressed"]), None)
    if native is None:
        return
    for row in rows:
        if row is native or row["median_ms"] > FASTER * native["median_ms"]:
            continue
        who = "ONNX Runtime alone" if row["compressed"] else row["label"]
        yield (
            f"{who} is faster ({row['median_ms']:.3g} ms) than the native kernels with this file "
            f"({native['median_ms']:.3g} ms)."
        )


def tensor_name(row: Row) -> str:
    """``output of conv1`` or ``input of conv2``."""
    if row["writer"]:
        return f"output of {row['writer']}"
    return "input of " + ", ".join(row["readers"])


def _by(layers: Sequence[Row], key: str) -> list[Row]:
    return sorted((row for row in layers if row.get(key) is not None), key=lambda row: -row[key])


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _names(rows: Sequence[Row]) -> str:
    names = [str(row["name"]) for row in rows[:_NAMED]]
    more = len(rows) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def _verb(rows: Sequence[Row], verb: str) -> str:
    return verb if len(rows) > 1 else verb + "s"
