"""A report's document as a page, as Markdown, as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jinja2

from subbyte._version import __version__
from subbyte.report.page.advice import tensor_name
from subbyte.report.page.charts import Axis, Mark, scatter
from subbyte.report.page.pictures import weight_pictures
from subbyte.report.page.text import byte_size, divergence, milliseconds

if TYPE_CHECKING:
    from subbyte.report.page.document import Report

Format = Literal["html", "md", "json"]

_TEMPLATES = Path(__file__).parent / "templates"
_KINDS = {"this file": "this", "float": "float", "int8": "int8"}

Row = Mapping[str, Any]


def render(report: Report, form: Format) -> str:
    """``report`` of `make_report` as one text; the page holds all that it needs."""
    document = report.to_dict()
    if form == "json":
        complete = {"subbyte": __version__, **document}
        return json.dumps(complete, indent=2, allow_nan=False) + "\n"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=form == "html",
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "size": byte_size,
        "ms": milliseconds,
        "nats": divergence,
        "options": _options,
        "tensor": tensor_name,
        "pieces": _pieces,
        "basename": lambda path: Path(path).name,
        "cell": lambda text: str(text).replace("|", "\\|"),
    }
    return environment.get_template(f"report.{form}").render(
        doc=document,
        version=__version__,
        tiles=tiles(document),
        rows=trade_off(document),
        distance=distance(document),
        charts=_charts(document) if form == "html" else [],
        pictures=_pictures(document) if form == "html" else [],
        css=(_TEMPLATES / "report.css").read_text(encoding="utf-8"),
        script=(_TEMPLATES / "report.js").read_text(encoding="utf-8"),
    )


def tiles(document: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The tiles on top of the page: (name, figure, comparison)."""
    summary = document["summary"]
    found = [
        (
            "Size",
            byte_size(summary["file_bytes"]),
            f"{summary['compression']:.1f}x smaller than {byte_size(summary['float_bytes'])}",
        ),
        (
            "Bits per weight",
            f"{summary['bits_per_weight']:.2f}",
            f"{summary['weight_count']:,} weights",
        ),
    ]
    scores = {row["label"]: row for row in document["scores"] or ()}
    if scores:
        own, whole = scores["this file"], scores["float"]
        if "top1" in own:
            found.append(("Top-1", f"{own['top1']:.2f}%", f"float {whole['top1']:.2f}%"))
        found.append(("Agreement", f"{own['agreement']:.2f}%", "same best class as float"))
        found.append(("KL from float", divergence(own["kl"]), f"nats, {own['n']:,} samples"))
    elif document["sensitivity"]:
        lost = document["sensitivity"]
        what = f"squared error over variance, {lost['samples']} samples"
        found.append(("Output error", divergence(lost["file"]), what))
    for row in document["latency"] or ():
        if row["compressed"]:
            what = "Latency, " + row["label"].removeprefix("this file, ")
            compared = f"{1 / row['ratio']:.2f}x the speed of float"
            found.append((what, milliseconds(row["median_ms"]), compared))
    return found


def trade_off(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of label, kind, bits, bytes, kl, agreement, metric, ms; None where not measured."""
    times = {row["label"]: row["median_ms"] for row in document["latency"] or ()}
    native = times.get("this file, native kernels", times.get("this file, portable"))
    own = {"this file": native, "float": times.get("float"), "int8": times.get("onnxruntime-int8")}
    bits = {"this file": document["summary"]["bits_per_weight"], "float": 32.0, "int8": 8.0}
    rows = [
        {
            "label": row["label"],
            "kind": _KINDS[row["label"]],
            "bits": bits[row["label"]],
            "bytes": row["bytes"],
            "kl": row["kl"],
            "agreement": row["agreement"],
            "metric": row.get("top1"),
            "ms": own[row["label"]],
        }
        for row in document["scores"] or ()
    ]
    for point in document["points"]:
        keys = ("bits", "bytes", "kl", "agreement", "metric")
        row = {"label": point["name"], "kind": "point", "ms": point["latency_ms"]}
        rows.append(row | {key: point[key] for key in keys})
    return rows


def distance(document: Mapping[str, Any]) -> str:
    """The name of a row's ``kl``.

    For networks that are no classifiers it is the squared error of the outputs over their variance.
    """
    classes = any(row["agreement"] is not None for row in trade_off(document))
    return "KL, nats" if classes else "error"


def _charts(document: Mapping[str, Any]) -> list[str]:
    rows = trade_off(document)
    far = "KL" if distance(document).startswith("KL") else "Error"
    unit = "KL from float, nats" if far == "KL" else "squared error over variance"
    size = Axis("size of the file (logarithmic)", "log", lambda v: byte_size(round(v)))
    time = Axis("latency", "linear", lambda v: f"{v:.3g} ms", least=0)
    kl = Axis(f"{unit} (root scale)", "root", lambda v: f"{v:.3g}")
    top1 = Axis("accuracy", "linear", lambda v: f"{v:.4g}%", 100)
    found = []
    for y, key, name in ((top1, "metric", "Accuracy"), (kl, "kl", far)):
        for x, across, what in ((size, "bytes", "size"), (time, "ms", "latency")):
            marks = _marks(rows, across, key)
            if len(marks) > 1:
                title = f"{name} against {what}"
                found.append(scatter(f"{key}-{across}", title, marks, x, y))
    return found


def _marks(rows: Sequence[Row], x: str, y: str) -> list[Mark]:
    return [
        Mark(row["label"], row[x], max(row[y], 0.0), row["kind"])
        for row in rows
        if row[x] is not None and row[y] is not None
    ]


def _pictures(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"row": row} | weight_pictures(row)
        for row in document["layers"]
        if row["levels"] is not None
    ]


def _options(options: Mapping[str, Any]) -> str:
    """``group 4, words 16, shared``: options that are 0 or false are left out."""
    return ", ".join(
        key if value is True else f"{key} {value}" for key, value in options.items() if value
    )


def _pieces(name: str) -> list[str]:
    """A layer's name cut where a line may end."""
    return re.findall(r".+?(?:[./_]+|$)", str(name), re.S)
