"""Inputs of a model that become constants, because a user gave their value for good."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from subbyte.data.fitting import InputChoice, Part


def fold_inputs(model: onnx.ModelProto, choice: InputChoice) -> onnx.ModelProto:
    """``model``, or a copy without the inputs that are ``folded``.

    An input without a batch axis, or with a baked batch, becomes an initializer. One with a
    free batch becomes an initializer of batch 1 that is expanded to the batch of another
    input.
    """
    if not choice.folded:
        return model
    folded = onnx.ModelProto()
    folded.CopyFrom(model)
    graph = folded.graph
    kept = [value for value in graph.input if value.name not in choice.folded]
    del graph.input[:]
    graph.input.extend(kept)
    nodes = []
    for name, part in choice.folded.items():
        array = np.asarray(part.array, dtype=part.spec.dtype)
        like = _batched(choice)
        if part.spec.axis is None or part.spec.baked is not None or like is None:
            graph.initializer.append(numpy_helper.from_array(array, name))
        else:
            nodes += _expanded(graph, part, array, like)
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])
    return folded


def _batched(choice: InputChoice) -> tuple[str, int] | None:
    """An input that stays, and its batch axis."""
    return next(((name, axis) for name, axis in choice.axes.items() if axis is not None), None)


def _expanded(
    graph: onnx.GraphProto, part: Part, array: np.ndarray, like: tuple[str, int]
) -> list[onnx.NodeProto]:
    """Nodes that make the folded input from its value for one sample."""
    name, axis = part.spec.name, part.spec.axis or 0
    sizes = np.array(array.shape, np.int64)
    constants = {
        "one": array,
        "place": np.array([like[1]], np.int64),
        "before": sizes[:axis],
        "after": sizes[axis + 1 :],
    }
    for key, value in constants.items():
        graph.initializer.append(numpy_helper.from_array(value, f"{name}/{key}"))
    made = {key: f"{name}/{key}" for key in ("shape", "batch", "sizes", *constants)}
    whole = [made["before"], made["batch"], made["after"]]
    return [
        helper.make_node("Shape", [like[0]], [made["shape"]], f"{name}/shape"),
        helper.make_node(
            "Gather", [made["shape"], made["place"]], [made["batch"]], f"{name}/batch", axis=0
        ),
        helper.make_node("Concat", whole, [made["sizes"]], f"{name}/sizes", axis=0),
        helper.make_node("Expand", [made["one"], made["sizes"]], [name], f"{name}/expand"),
    ]
