"""Attributes of convolutions and pools made explicit: pads, kernel shape, strides, dilations.

A Pad of zeros before a convolution becomes part of the convolution's own pads.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from subbyte.graph import query
from subbyte.graph.ops.conv import transposed_pads
from subbyte.graph.ops.shape import spread_pads
from subbyte.graph.ops.windows import same_pads
from subbyte.graph.passes.lowering.binary import binarization_of_node

POOLS = ("AveragePool", "LpPool", "MaxPool")


def resolve_pads(model: ir.Model) -> None:
    """Replace ``auto_pad`` and ``output_shape`` by ``pads`` wherever static shapes allow."""
    for node in model.graph:
        if node.domain != "" or node.op_type not in ("Conv", "ConvTranspose", *POOLS):
            continue
        kernel = _complete(node)
        if kernel is None:
            continue
        if node.op_type == "ConvTranspose":
            _resolve_transposed(node, kernel)
        else:
            _resolve(node, kernel)
        if node.op_type == "Conv":
            _merge_pads(node)


def _merge_pads(conv: ir.Node) -> None:
    """Take the pads of the Pad nodes before ``conv`` into its own.

    A convolution that binarizes its input keeps them: the sign of a padded zero counts there, and
    its own padding does not.
    """
    if binarization_of_node(conv) is not None:
        return
    while True:
        own = conv.attributes.get_ints("pads", None)
        before = conv.inputs[0].producer() if conv.inputs[0] is not None else None
        more = None if own is None or before is None else _zero_pads(before, len(own) // 2)
        if own is None or before is None or more is None:
            return
        conv.replace_input_with(0, before.inputs[0])
        _set(conv, "pads", [a + b for a, b in zip(own, more, strict=True)])


def _zero_pads(node: ir.Node, spatial: int) -> list[int] | None:
    """The pads (begins, ends) of a Pad of zeros on the ``spatial`` last axes alone, else None."""
    if not query.is_standard(node, "Pad"):
        return None
    pads, axes = query.constant(node.inputs[1]), query.optional_input(node, 3)
    fill, every = query.optional_input(node, 2), range(spatial + 2)
    chosen = every if axes is None else query.constant(axes)
    zero = fill is None or (query.is_constant(fill) and not query.known(fill).any())
    constant = node.attributes.get_string("mode", "constant") == "constant"
    if pads is None or chosen is None or not (zero and constant):
        return None
    begins, ends = spread_pads(pads.tolist(), [int(axis) for axis in chosen], len(every))
    if any(begins[:2] + ends[:2]) or min(begins + ends) < 0:
        return None
    return begins[2:] + ends[2:]


def _set(node: ir.Node, name: str, values: Sequence[int]) -> None:
    node.attributes[name] = ir.AttrInt64s(name, list(values))


def _complete(node: ir.Node) -> list[int] | None:
    """Write the defaults of the window attributes out; return the kernel shape if known."""
    kernel = node.attributes.get_ints("kernel_shape", None)
    if kernel is None:
        weight = query.constant(node.inputs[1]) if node.op_type not in POOLS else None
        if weight is None:
            return None
        kernel = list(weight.shape[2:])
        _set(node, "kernel_shape", kernel)
    for name in ("strides", "dilations"):
        if node.attributes.get_ints(name, None) is None:
            _set(node, name, [1] * len(kernel))
    return list(kernel)


def _replace_auto_pad(node: ir.Node, pads: Sequence[int]) -> None:
    node.attributes.pop("auto_pad", None)
    _set(node, "pads", pads)


def _resolve(node: ir.Node, kernel: list[int]) -> None:
    auto_pad = node.attributes.get_string("auto_pad", "NOTSET")
    none = [0] * 2 * len(kernel)
    if auto_pad == "NOTSET":
        _replace_auto_pad(node, node.attributes.get_ints("pads", none))
        return
    if auto_pad == "VALID":
        # A pool with ceil_mode has its own size formula for VALID.
        if not node.attributes.get_int("ceil_mode", 0):
            _replace_auto_pad(node, none)
        return
    strides = node.attributes.get_ints("strides")
    dilations = node.attributes.get_ints("dilations")
    sizes = query.static_sizes(node.inputs[0])
    if all(stride == 1 for stride in strides):
        spatial: list[int | None] = [1] * len(kernel)
    else:
        spatial = sizes[2:] if sizes is not None else []
    known = [size for size in spatial if size is not None]
    if len(known) == len(kernel):
        # ONNX Runtime pads pools as if they had no dilation, unlike the standard.
        spread = [1] * len(kernel) if node.op_type in POOLS else dilations
        upper = auto_pad == "SAME_UPPER"
        _replace_auto_pad(node, same_pads(known, kernel, strides, spread, upper))


def _resolve_transposed(node: ir.Node, kernel: list[int]) -> None:
    auto_pad = node.attributes.get_string("auto_pad", "NOTSET")
    shape = node.attributes.get_ints("output_shape", None)
    rank = len(kernel)
    strides, dilations = (node.attributes.get_ints(name) for name in ("strides", "dilations"))
    more = list(node.attributes.get_ints("output_padding", [0] * rank))
    if shape is None and not auto_pad.startswith("SAME"):
        none = [0] * 2 * rank
        pads = none if auto_pad == "VALID" else node.attributes.get_ints("pads", none)
        _replace_auto_pad(node, pads)
        return
    sizes = query.static_sizes(node.inputs[0])
    # With SAME the pads do not depend on the input's size.
    spatial = [1] * rank if shape is None else [] if sizes is None else sizes[2:]
    known = [size for size in spatial if size is not None]
    if len(known) != rank:
        return
    wanted = list(shape)[-rank:] if shape is not None else list(strides)
    natural = [
        strides[axis] * (known[axis] - 1) + more[axis] + (kernel[axis] - 1) * dilations[axis] + 1
        for axis in range(rank)
    ]
    upper, extend = auto_pad == "SAME_UPPER", shape is not None
    pads, more = transposed_pads(natural, wanted, more, upper, extend)
    node.attributes.pop("output_shape", None)
    _set(node, "output_padding", more)
    _replace_auto_pad(node, pads)
