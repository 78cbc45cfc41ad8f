"""Channel shuffles, which exporters write as Reshape, Transpose, Reshape, become a Gather.

x [N, g * c, H, W] is seen as [N, g, c, H, W], g and c change places, and the result is seen as
[N, c * g, H, W]. As a Gather along the channels it needs no layout of five axes, and so it stays on
an island.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from subbyte.graph import query
from subbyte.graph.passes.editor import Editor, describe


def lower_shuffles(model: ir.Model) -> None:
    """Replace every channel shuffle whose sizes are known."""
    editor = Editor(model.graph)
    for node in list(model.graph):
        chain = _chain(node)
        sizes = None if chain is None else _sizes(chain)
        if chain is None or sizes is None:
            continue
        source, result = chain[0].inputs[0], chain[-1].outputs[0]
        order = np.arange(sizes[0] * sizes[1]).reshape(sizes).T.reshape(-1)
        indices = editor.constant(f"{result.name}.channels", order.astype(np.int64))
        made = ir.node("Gather", [source, indices], {"axis": 1}, name=node.name)
        describe(made.outputs[0], result)
        editor.replace(chain, made)


def _chain(node: ir.Node) -> list[ir.Node] | None:
    """The three nodes around the Transpose ``node``, each read by the next alone."""
    if not query.is_standard(node, "Transpose"):
        return None
    if list(query.attribute(node, "perm", ())) != [0, 2, 1, 3, 4]:
        return None
    before, value = node.inputs[0].producer() if node.inputs[0] else None, node.outputs[0]
    readers = list(value.consumers())
    if before is None or len(readers) != 1 or not query.has_single_use(value):
        return None
    chain = [before, node, readers[0]]
    around = all(query.is_standard(each, "Reshape") for each in (before, readers[0]))
    return chain if around and query.has_single_use(before.outputs[0]) else None


def _sizes(chain: list[ir.Node]) -> tuple[int, int] | None:
    """Groups, and channels of a group, of a shuffle; None for a chain that is none."""
    x, apart, y = (
        query.dims(value)
        for value in (chain[0].inputs[0], chain[0].outputs[0], chain[2].outputs[0])
    )
    if x is None or apart is None or y is None or (len(x), len(apart), len(y)) != (4, 5, 4):
        return None
    groups, each = apart[1:3]
    if not isinstance(groups, int) or not isinstance(each, int):
        return None
    same = None not in x[2:] and x[2:] == apart[3:] == y[2:]
    return (groups, each) if same and groups * each == x[1] == y[1] else None
