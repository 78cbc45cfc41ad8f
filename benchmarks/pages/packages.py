"""The page of networks inside public packages, and its three lines in the README."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

from benchmarks.pages.markdown import table
from benchmarks.records import Record, machines

ZOO = "random weights"
SIDES = ("int8", "portable", "native")
_HEADER = (
    "# Networks inside packages",
    "",
    "Made by `python -m benchmarks.tables` from `benchmarks/results/packages/*.json`, which",
    "`python -m benchmarks.packages` writes: networks that ship inside public packages, taken as",
    "they are, through `subbyte compress`, as a person would who brings such a network. None of",
    "them was chosen for its result.",
    "",
    "- *error*: mean squared error over the variance of the float network's output, of the worst",
    "  output, on samples that were held back. Where float's output hardly varies (a wake word",
    "  that was not said) it is large though nothing is heard: see the task then.",
    "- *int8*: ONNX Runtime's own static quantization (QDQ, 8-bit weights per channel), from the",
    "  same samples (64 at most). *portable*: our file in ONNX Runtime alone; *native*: with our",
    "  kernels.",
    "- *task*: on the same samples; float's own figure first.",
    "- *ms*: medians at batch 1, one thread, all sides in turn in one process.",
    "- *seconds*, *MB*: of the process of `subbyte compress`.",
)


def packages_page(records: Sequence[Record], eight: Sequence[Record] = ()) -> str:
    """Results, speed, refusals and samples of the pretrained ones, then those of random weights."""
    real = [record for record in records if record["origin"] != ZOO]
    zoo = [record for record in records if record["origin"] == ZOO]
    lines = [*_HEADER, "", *_section(real)]
    if zoo:
        lines += ["## With random weights", "", "For coverage and speed, not for accuracy.", ""]
        lines += _section(zoo)
    if eight:
        lines += [*_EIGHT, *table(_COLUMNS, map(_row, eight)), ""]
    conditions = f"Options: `{' '.join(records[0]['options'])}`." if records else ""
    return "\n".join(
        [*lines, "## Where", "", conditions, _load(records), "", *machines(records), ""]
    )


_EIGHT = (
    "## At 8 bits",
    "",
    "`--bits 8` has 8-bit codes in all layers (`python -m benchmarks.packages --bits 8`): errors",
    "beside those of ONNX Runtime's own int8.",
    "",
)


def _load(records: Sequence[Record]) -> str:
    """How busy the machine was: other programs slow all sides down alike, in turn."""
    found, coding = (
        [record[key] for record in records if key in record] for key in ("load", "load_compress")
    )
    if len(found) < len(records):
        return "Timed while other programs kept all cores busy: compare times of one row only."
    text = f"Load average while timing: {min(found):.1f} to {max(found):.1f}." if found else ""
    if coding:
        text += f" While compressing: {min(coding):.1f} to {max(coding):.1f}."
    return text


def _section(records: Sequence[Record]) -> list[str]:
    lines = [*table(_COLUMNS, map(_row, records)), "", *table(_SPEED, map(_speed, records)), ""]
    failed = [record for record in records if record["result"] != "written"]
    if failed:
        said = (f"- **{r['network']}**, {r['result']}: {r['line']}" for r in failed)
        lines += ["Not written:", "", *said, ""]
    missing = [
        f"- **{record['network']}**, {side}: {reason}"
        for record in records
        for side, reason in record["missing"].items()
    ]
    if missing:
        lines += ["Not measured:", "", *missing, ""]
    samples = ([r["network"], *map(str, _counted(r))] for r in records)
    return [*lines, *table(("network", "samples", "to calibrate", "to compare"), samples), ""]


def _counted(record: Record) -> tuple[str, int, int]:
    found = record["samples"]
    return found["about"], found["calibration"], found["test"]


_COLUMNS = (
    *("network", "from", "result", "bits", "file"),
    *(f"error {side}" for side in SIDES),
    *("task", "float", *SIDES),
)
_SPEED = (
    *("network", "kB float", "kB int8", "kB ours"),
    *(f"ms {side}" for side in ("float", *SIDES)),
    *("seconds", "MB"),
)


def _row(record: Record) -> list[str]:
    task = record["task"]
    scores = [_number(task.get(side), ".1f") for side in ("float", *SIDES)] if task else [""] * 4
    return [
        record["network"],
        record["origin"],
        record["result"],
        _number(record.get("bits"), ".2f"),
        _times(record),
        *(_number(worst(record, side), ".2g") for side in SIDES),
        task["name"] if task else "",
        *scores,
    ]


def _speed(record: Record) -> list[str]:
    sizes, times = record["bytes"], record["ms"]
    kilobytes = (sizes.get(side) for side in ("float", "int8", "portable"))
    return [
        record["network"],
        *("" if size is None else f"{size / 1000:,.0f}" for size in kilobytes),
        *(_number(times.get(side), ".2f") for side in ("float", *SIDES)),
        f"{record['seconds']:.0f}",
        f"{record['peak_mb']:,.0f}",
    ]


def _times(record: Record) -> str:
    sizes = record["bytes"]
    return f"{sizes['float'] / sizes['portable']:.1f}x smaller" if "portable" in sizes else ""


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def worst(record: Record, side: str) -> float | None:
    """The largest error of a side's outputs, None where the side is missing."""
    found: list[float] | None = record["errors"].get(side)
    return max(found) if found else None


def sceptic_lines(records: Sequence[Record]) -> str:
    """Three lines: what runs, how near it is, how small and fast."""
    real = [record for record in records if record["origin"] != ZOO]
    return "\n".join(f"- {line(real)}" for line in _LINES if real)


def _runs(records: Sequence[Record]) -> str:
    good = [record for record in records if {"portable", "native"} <= set(record["errors"])]
    refused = [r["network"] for r in records if r["result"] == "refused"]
    rest = [r["network"] for r in records if r not in good and r["network"] not in refused]
    text = (
        f"**Does it take my network?** Of {len(records)} pretrained networks inside packages "
        f"(text detection and reading, speech, wake words, file types, pitch, notes, images), "
        f"{len(good)} are written and run on both engines"
    )
    text += f"; refused in one line: {', '.join(refused)}" if refused else ""
    text += f"; failed: {', '.join(rest)}" if rest else ""
    return f"{text}."


def _near(records: Sequence[Record]) -> str:
    judged = [
        record["task"]
        for record in records
        if record["task"] and {"float", *SIDES} <= set(record["task"])
    ]
    lost = {side: [task["float"] - task[side] for task in judged] for side in SIDES}
    within = {side: sum(points <= 1 for points in found) for side, found in lost.items()}
    return (
        f"**Is it still right?** Each network has a figure of its task: text read alike, same "
        f"label, top-1. At 3 bits a weight, on held-back samples, it is within a point of float on "
        f"{within['native']} of {len(judged)} networks with our kernels, on {within['portable']} "
        f"without. For ONNX Runtime's own int8, at 8 bits, these are {within['int8']}."
    )


def _fast(records: Sequence[Record]) -> str:
    small = [
        r["bytes"]["float"] / r["bytes"]["portable"] for r in records if "portable" in r["bytes"]
    ]
    against = {
        side: [r["ms"]["int8"] / r["ms"][side] for r in records if {"int8", side} <= set(r["ms"])]
        for side in ("portable", "native")
    }
    faster = {side: sum(ratio > 1 for ratio in found) for side, found in against.items()}
    return (
        f"**What do I gain?** Files {_median(small):.1f} times smaller (median). Against ONNX "
        f"Runtime's own int8 the native engine is {_median(against['native']):.2f} times as fast "
        f"(median; faster on {faster['native']} of {len(against['native'])}), the portable one "
        f"{_median(against['portable']):.2f} times (faster on {faster['portable']})."
    )


def _median(values: Sequence[float]) -> float:
    return median(values) if values else float("nan")


_LINES: tuple[Callable[[Sequence[Record]], str], ...] = (_runs, _near, _fast)
