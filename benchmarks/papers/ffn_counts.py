"""FFN's claim of one-thousandth of the multiplications, from the shapes of the networks.

python -m benchmarks.papers.ffn_counts

Rank min(m, n) for convolutions (per convolution group) and at most 3,072 for linear
layers, as in the paper; k multiplications per output position and no scale per output.
The released code leaves out the first convolution and the last linear layer; both ways
are counted. Needs no weights and no data.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from subbyte.methods.coded import WeightShape
from subbyte.methods.operations import Operations, dense
from subbyte.methods.ternary.cost import planned
from subbyte.methods.ternary.form import rank_of

RESULT = Path(__file__).parents[1] / "results" / "papers" / "ffn_counts.json"
MOST_LINEAR_RANK = 3072
# Of i.i.d. Gaussian matrices: 43 to 50 %; trained weights have no fewer.
ZEROS = 0.45


@dataclass(frozen=True)
class Row:
    """One layer: its matrix and the output positions at which it is applied."""

    name: str
    shape: WeightShape
    positions: int


def conv(name: str, out: int, inputs: int, kernel: int, side: int, groups: int = 1) -> Row:
    """A convolution with square kernel and square output."""
    return Row(name, WeightShape(out, kernel * kernel, inputs // groups, groups), side * side)


def linear(name: str, out: int, inputs: int) -> Row:
    """A fully connected layer."""
    return Row(name, WeightShape(out, 1, inputs), 1)


def alexnet() -> list[Row]:
    """As published, with two groups in three convolutions; 227 x 227."""
    return [
        conv("conv1", 96, 3, 11, 55),
        conv("conv2", 256, 96, 5, 27, 2),
        conv("conv3", 384, 256, 3, 13),
        conv("conv4", 384, 384, 3, 13, 2),
        conv("conv5", 256, 384, 3, 13, 2),
        linear("fc6", 4096, 9216),
        linear("fc7", 4096, 4096),
        linear("fc8", 1000, 4096),
    ]


def vgg16() -> list[Row]:
    """Configuration D; 224 x 224."""
    rows, inputs, side = [], 3, 224
    for block, (width, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), 1):
        for number in range(1, count + 1):
            rows.append(conv(f"conv{block}_{number}", width, inputs, 3, side))
            inputs = width
        side //= 2
    return [
        *rows,
        linear("fc6", 4096, 512 * 49),
        linear("fc7", 4096, 4096),
        linear("fc8", 1000, 4096),
    ]


def resnet50() -> list[Row]:
    """As published, strides in the first 1 x 1 of a stage; 224 x 224."""
    rows, inputs = [conv("conv1", 64, 3, 7, 112)], 64
    for stage, (width, blocks, side) in enumerate(
        ((64, 3, 56), (128, 4, 28), (256, 6, 14), (512, 3, 7)), 2
    ):
        for block in range(blocks):
            name = f"conv{stage}_{block + 1}"
            rows += [
                conv(f"{name}a", width, inputs, 1, side),
                conv(f"{name}b", width, width, 3, side),
                conv(f"{name}c", 4 * width, width, 1, side),
            ]
            if block == 0:
                rows.append(conv(f"{name}s", 4 * width, inputs, 1, side))
            inputs = 4 * width
    return [*rows, linear("fc", 1000, 2048)]


NETWORKS: dict[str, Callable[[], list[Row]]] = {
    "AlexNet": alexnet,
    "VGG-16": vgg16,
    "ResNet-50": resnet50,
}


def rank(row: Row) -> int:
    """The paper's rank."""
    return rank_of(row.shape, 1.0, MOST_LINEAR_RANK if row.name.startswith("fc") else None)


def total(rows: Iterable[Row], kept: frozenset[str], zeros: float) -> Operations:
    """Operations of one forward pass, the layers named in ``kept`` as they were."""
    found = Operations(0, 0)
    for row in rows:
        each = dense(row.shape) if row.name in kept else planned(row.shape, rank(row), zeros)
        found = found + each.times(row.positions)
    return found


def results() -> Iterator[dict[str, Any]]:
    """A row per network and choice of layers."""
    for name, layers in NETWORKS.items():
        rows = layers()
        everything = frozenset(row.name for row in rows)
        ends = frozenset({rows[0].name, rows[-1].name})
        before = total(rows, everything, 0)
        for which, kept in (("all", frozenset[str]()), ("all but the first and the last", ends)):
            after, sparse = total(rows, kept, 0), total(rows, kept, ZEROS)
            yield {
                "network": name,
                "factored": which,
                "multiplications_before": before.multiplications,
                "multiplications_after": after.multiplications,
                "additions_before": before.additions,
                "additions_after_no_zeros": after.additions,
                "additions_after": sparse.additions,
            }


def main() -> int:
    """Write the result."""
    record = {"zeros": ZEROS, "most_linear_rank": MOST_LINEAR_RANK, "networks": list(results())}
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(record, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
