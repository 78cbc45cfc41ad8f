"""Encoding of a weight that is unpacked before its node reads it, by the samples' evidence.

The evidence depends on the weight. A product [.., O, I] with a moving value, and the gates of a
recurrent node, have second moments of the other factor. A table has the number of reads of each
row. Any other weight has none: all its numbers count alike.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from subbyte.compression.calibration.moments import Moments, Target
from subbyte.compression.calibration.unpacked import counts_of, importance, rows_of, values_read
from subbyte.compression.encoding.layer import encode_weight
from subbyte.graph.network import Unpacked
from subbyte.methods import CodedWeight, MethodOptions

Values = Mapping[str, Tensor]


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
        """Add the values of the float network and of the compressed one."""
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
        self, options: MethodOptions, seed: int, corrected: bool
    ) -> tuple[CodedWeight, float]:
        """The coded weight, and its relative error.

        ``corrected``: fitted to the values of the compressed network, else to the weight itself.
        """
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
