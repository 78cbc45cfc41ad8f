"""What the samples say of a weight that is unpacked before its node reads it.

Of a product [.., O, I] with what moves, and of the gates of a recurrent node, second moments of
what the weight is multiplied with; of a table, how often each row is read; of any other weight
nothing: all its numbers count alike.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from subbyte.compression.calibration.moments import Moments, Target
from subbyte.compression.encoding.layer import LayerOptions, encode_weight
from subbyte.graph.network import Unpacked
from subbyte.graph.passes.readings import RECURRENT
from subbyte.methods import CodedWeight

SELDOM = 0.25
"""The part of a table's weight that all its rows have alike: rows that no sample reads will be
read by others."""

Values = Mapping[str, Tensor]


def values_read(entry: Unpacked) -> list[str]:
    """The values of the graph that `Evidence` looks at."""
    place = _moving_place(entry)
    if place is None:
        return []
    value = entry.node.outputs[0] if place < 0 else entry.node.inputs[place]
    return [] if value is None or not value.name else [value.name]


def _moving_place(entry: Unpacked) -> int | None:
    """The input that the weight meets; -1: the node's first output; None: none that is known."""
    if entry.rows:
        return 1
    if entry.place is None or entry.node.domain:
        return None
    if entry.op == "MatMul":
        return 1 - entry.place
    if entry.op in RECURRENT:
        return 0 if entry.place == 1 else -1
    return None


def rows_of(entry: Unpacked, value: Tensor) -> Tensor | None:
    """What a product's matrices meet in ``value``: [R, groups, I]; None if shapes do not tell."""
    groups, inputs = entry.shape.groups, entry.shape.inputs
    if entry.op == "MatMul":
        moved = value if entry.place == 1 else value.transpose(-1, -2)
        batch = entry.stored[:-2]
        if moved.ndim < 2 or moved.shape[-1] != inputs:
            return None
        lead = moved.shape[:-2]
        try:
            whole = torch.broadcast_shapes(lead, batch)
        except RuntimeError:
            return None
        if whole[len(whole) - len(batch) :] != batch:
            return None
        rows = moved.expand(*whole, *moved.shape[-2:]).reshape(-1, groups, *moved.shape[-2:])
        return rows.transpose(1, 2).reshape(-1, groups, inputs)
    if entry.place == 1:
        return value.reshape(-1, 1, inputs).expand(-1, groups, -1)
    # Y: [T, directions, N, H], or with layout 1 [N, T, directions, H].
    axis = 2 if entry.node.attributes.get_int("layout", 0) else 1
    return value.movedim(axis, 2).reshape(-1, groups, inputs)


class Evidence:
    """Sums over samples for one unpacked weight [O, T, I]."""

    def __init__(
        self, entry: Unpacked, weight: Tensor, damping: float, most_rows: int, seed: int
    ) -> None:
        self._entry, self._weight = entry, weight
        self._most, self._damping = most_rows, damping
        self._generator = torch.Generator().manual_seed(seed)
        self._counts = torch.zeros(entry.shape.outputs, dtype=torch.float64)
        self._moments: Moments | None = None

    def add(self, ours: Values, coded: Values) -> None:
        """Add what the float network and the compressed one give."""
        for name in values_read(self._entry):
            if self._entry.rows:
                if name in coded:
                    self._counts += counts_of(coded[name], len(self._counts))
            elif name in ours:
                # Of a node that the compressed network has not run yet, the float one's.
                self._add_rows(ours[name], coded.get(name, ours[name]))

    def _add_rows(self, ours: Tensor, coded: Tensor) -> None:
        wanted, rows = rows_of(self._entry, ours), rows_of(self._entry, coded)
        if wanted is None or rows is None or wanted.shape != rows.shape or not len(rows):
            return
        if len(rows) > self._most:
            chosen = torch.randint(0, len(rows), (self._most,), generator=self._generator)
            chosen = chosen.to(rows.device)
            wanted, rows = wanted[chosen], rows[chosen]
        matrices = self._weight.reshape(self._entry.shape.groups, -1, self._entry.shape.inputs)
        targets = torch.einsum("rgi,goi->rgo", wanted.float(), matrices)
        if self._moments is None:
            self._moments = Moments(self._entry, self._weight.device, self._damping)
        self._moments.add(rows.float(), targets.flatten(1))

    def encode(
        self, options: LayerOptions, seed: int, corrected: bool
    ) -> tuple[CodedWeight, float]:
        """The coded weight, and its relative error; ``corrected``: fitted to what the compressed
        network gives, else to the weight itself."""
        shape = self._entry.shape
        if self._moments is not None:
            target = self._moments.target(self._weight, self._weight.new_zeros(shape.outputs))
            if not corrected:
                target = Target(self._weight, target.moments)
            return encode_weight(self._entry, target, options, seed)
        size = shape.taps * shape.inputs
        eye = torch.eye(size, device=self._weight.device).repeat(shape.groups, 1, 1)
        spread = None
        if self._entry.rows and corrected:
            spread = importance(self._counts).to(self._weight).rsqrt()
        return encode_weight(self._entry, Target(self._weight, eye), options, seed, spread=spread)


def counts_of(indices: Tensor, rows: int) -> Tensor:
    """How often each of ``rows`` rows is read, float64 on the CPU; negative indices count back."""
    flat = indices.reshape(-1).to("cpu", torch.int64)
    flat = torch.where(flat < 0, flat + rows, flat)
    return torch.bincount(flat[(flat >= 0) & (flat < rows)], minlength=rows).double()


def importance(counts: Tensor) -> Tensor:
    """How much each row of a table counts, 1 on average."""
    total = counts.sum()
    if total == 0:
        return torch.ones_like(counts)
    return SELDOM + (1 - SELDOM) * counts * (len(counts) / total)
