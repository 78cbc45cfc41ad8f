"""The bits of composite layers' planes: as stored, as the paper counts, by their entropy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from onnx import numpy_helper

from subbyte.methods.coded import CodedWeight, WeightShape
from subbyte.methods.composite import accounting, form
from subbyte.report.operations import coded_nodes
from subbyte.report.stored import StoredModel


def count_planes(model: StoredModel, where: Path) -> dict[str, Any] | None:
    """Bits a weight of every composite layer; None without any.

    Returns:
        ``layers``: a row per stored weight (name, planes in use, factored planes,
        stored_bits, and paper_bits and entropy_bits as `accounting.Accounting` has them),
        ``total``: the three counts over all of them.
    """
    tensors = {tensor.name: tensor for tensor in model.proto.graph.initializer}
    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    for node, attributes in coded_nodes(model.proto):
        if not node.op_type.startswith("Composite"):
            continue
        variant = form.FACTORED if "bounds" in attributes else ""
        names = form.input_names(variant)
        stored = tuple(node.input[1 : 1 + len(names)])
        if stored in rows:
            continue
        arrays = [numpy_helper.to_array(tensors[name], str(where.parent)) for name in stored]
        outputs, taps, channels = attributes["weight_shape"]
        shape = WeightShape(outputs, taps, channels, int(attributes.get("group", 1)))
        inputs = dict(zip(names, arrays, strict=True))
        coded = CodedWeight("composite", variant, shape, inputs, dict(attributes))
        found = accounting.account(coded)
        rows[stored] = {
            "name": node.name,
            "weights": shape.count,
            "planes": found.planes,
            "factored": len(form.factors_of(coded)),
            "stored_bits": 8 * (sum(array.nbytes for array in arrays) + 4) / shape.count,
            "paper_bits": found.paper_bits,
            "entropy_bits": found.entropy_bits,
        }
    return {"layers": list(rows.values()), "total": _total(list(rows.values()))} if rows else None


def _total(rows: list[dict[str, Any]]) -> dict[str, float]:
    count = sum(row["weights"] for row in rows)
    return {
        key: sum(row["weights"] * row[key] for row in rows) / count
        for key in ("stored_bits", "paper_bits", "entropy_bits")
    }
