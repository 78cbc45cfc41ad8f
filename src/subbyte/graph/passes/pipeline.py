"""Preparation: a checked model of operator set 18 or later becomes a `Network`.

In this order:

1. constants lifted to initializers, subgraphs put in order, Identity and Dropout removed;
2. layers trained binary replaced by standard nodes;
3. shapes inferred, halves and doubles made float32;
4. operators of ONNX Runtime's optimizer and of quantizers replaced by standard nodes;
5. constants and decided Ifs folded, a baked batch freed, known sizes folded;
6. Gemm, MatMul and Einsum normalised to Linear, 1-D networks made 2-D of height one;
7. BatchNorm and per-channel arithmetic folded into layers, pads made explicit;
8. one initializer for every form of a weight.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir
from onnx_ir.passes import common as passes

from subbyte.graph.module.opaque import gather_units
from subbyte.graph.network import Network
from subbyte.graph.passes.explicit_pads import resolve_pads
from subbyte.graph.passes.find_layers import find_layers
from subbyte.graph.passes.find_unpacked import find_uncoded, find_unpacked
from subbyte.graph.passes.fold_batchnorm import fold_affine
from subbyte.graph.passes.fold_constants import fold_constants, fold_sizes
from subbyte.graph.passes.free_batch import baked_batch, free_batch, input_axes
from subbyte.graph.passes.infer_shapes import infer_shapes
from subbyte.graph.passes.lowering.binary import lower_binary
from subbyte.graph.passes.lowering.contrib import lower_contrib
from subbyte.graph.passes.lowering.control_flow import (
    fold_ifs,
    own_outputs,
    remove_unused_control,
    settle_subgraphs,
)
from subbyte.graph.passes.lowering.float32 import casts_to_identities, compute_in_float32
from subbyte.graph.passes.lowering.linear import normalize_linear
from subbyte.graph.passes.lowering.sequences import lift_sequences
from subbyte.graph.passes.lowering.shuffles import lower_shuffles
from subbyte.graph.passes.lowering.tables import lower_tables
from subbyte.graph.passes.share_weights import share_weights
from subbyte.progress import Progress, silent

FOLD_ROUNDS = 8
"""Folding a size may make further shapes known; real networks need two or three rounds."""


def prepare_graph(
    model: ir.Model,
    name: str,
    *,
    axes: Mapping[str, int | None] | None = None,
    progress: Progress = silent,
) -> Network:
    """Prepare ``model`` in place.

    ``axes``: of the batch, by input name, where they are not as declared; ``progress``:
    of running a network whose batch is baked in, which takes long.
    """
    passes.RemoveInitializersFromInputsPass()(model)
    own_outputs(model)
    passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    passes.TopologicalSortPass()(model)
    settle_subgraphs(model)
    _drop_identities(model)
    lower_binary(model)
    infer_shapes(model)
    compute_in_float32(model)
    casts_to_identities(model)
    _drop_identities(model)
    while lower_contrib(model):
        infer_shapes(model)
    fold_constants(model)
    for _ in range(FOLD_ROUNDS):
        if not _fold_ifs(model):
            break
    infer_shapes(model)
    batch_axes = input_axes(model, axes)
    fixed_batch = baked_batch(model, batch_axes)
    if free_batch(model, batch_axes, progress):
        fixed_batch = None
        infer_shapes(model)
    for _ in range(FOLD_ROUNDS):
        if not (fold_sizes(model) | _fold_ifs(model)):
            break
        fold_constants(model)
        infer_shapes(model)
    lower_shuffles(model)
    lower_tables(model)
    normalize_linear(model)
    lift_sequences(model)
    fold_affine(model)
    resolve_pads(model)
    remove_unused_control(model)
    share_weights(model)
    passes.RemoveUnusedNodesPass()(model)
    passes.NameFixPass()(model)
    gather_units(model.graph)
    layers = find_layers(model)
    unpacked = find_unpacked(model, layers)
    return Network(
        model=model,
        layers=layers,
        name=name,
        fixed_batch=fixed_batch,
        unpacked=unpacked,
        uncoded=find_uncoded(model, layers, unpacked),
    )


def _fold_ifs(model: ir.Model) -> bool:
    """Fold every If that is decided, and the constants behind it; whether there was one."""
    if not fold_ifs(model):
        return False
    _drop_identities(model)
    infer_shapes(model)
    fold_constants(model)
    return True


def _drop_identities(model: ir.Model) -> None:
    """Remove Identity, and Dropout, which at inference is the same (where its mask is unused).

    An Identity between a graph output and another graph output, input or constant stays,
    because both names have to.
    """
    for node in list(model.graph):
        if node.domain != "" or node.op_type not in ("Dropout", "Identity"):
            continue
        if node.op_type == "Dropout":
            if any(mask.uses() or mask.is_graph_output() for mask in node.outputs[1:]):
                continue
            node.op_type = "Identity"
            node.resize_inputs(1)
            node.resize_outputs(1)
            node.attributes.clear()
        source, value = node.inputs[0], node.outputs[0]
        if source is None:
            continue
        if value.is_graph_output():
            if source.is_graph_output() or source.is_graph_input() or source.is_initializer():
                continue
            source.name = value.name
        if source.shape is None:
            source.shape = value.shape
        value.replace_all_uses_with(source, replace_graph_outputs=True)
        model.graph.remove(node, safe=True)
