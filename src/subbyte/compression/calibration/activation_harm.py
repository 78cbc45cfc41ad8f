"""Values whose rounding to eight bits the network's outputs do not bear.

A layer's own output does not tell all: later nodes may divide by it or take its logarithm, and
then small values count as much as large ones. So the network is run on a few samples with every
carried value rounded. Where that alone moves an output by more than `HARM`, in squared error over
variance or in KL of class scores (nats), each group of values is rounded alone. A group that moves
an output by more than `ALONE` stays float.

Ours; the papers have no activations of eight bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from subbyte.compression.calibration.batches import chunk_size, on_device
from subbyte.compression.divergence import compared, divergence
from subbyte.compression.run import Run
from subbyte.graph.islands.plan import IslandPlan
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.quant_params import QuantParams

SAMPLES = 8
HARM = 0.05
ALONE = 0.01

Outputs = list[Tensor]


@torch.no_grad()
def harmful(
    run: Run,
    module: GraphModule,
    plan: IslandPlan,
    params: Mapping[str, QuantParams],
    harm: float = HARM,
) -> dict[str, str]:
    """The groups of ``plan`` that stay float, with the reason; empty where all together do no
    more than ``harm``. ``module``: the compressed network; ``params``: of each group."""
    few = run.samples.first(SAMPLES)
    chunk = chunk_size(module, few, run.device)
    batches = [on_device(batch, run.device) for batch in few.batches(chunk)]
    carried = _carried(module, plan)
    exact = [_outputs(module, batch, {}) for batch in batches]
    each = {name: params[group] for name, group in carried.items()}
    if _moved(module, batches, exact, each) <= harm:
        return {}
    found = {}
    groups = sorted(set(carried.values()))
    for place, group in enumerate(groups):
        run.progress("ranges", place, len(groups), group)
        own = {name: params[group] for name, its in carried.items() if its == group}
        moved = _moved(module, batches, exact, own)
        if moved > ALONE:
            found[group] = f"not fit for 8 bits: it alone moves an output by {moved:.2g}"
    return found


def _carried(module: GraphModule, plan: IslandPlan) -> dict[str, str]:
    """The group of every carried value, without the values that a layer binarizes.

    The sign of a value near zero changes where it is rounded, and means little either way.
    """
    binarized = {step.inputs[0] for step in module.steps if step.plain is not None}
    return {name: group for name, group in plan.group_of.items() if name not in binarized}


def _moved(
    module: GraphModule,
    batches: Sequence[Mapping[str, Tensor]],
    exact: Sequence[Outputs],
    params: Mapping[str, QuantParams],
) -> float:
    """How far rounding the values in ``params`` moves the output that it moves most, on average."""
    moved = []
    for batch, wanted in zip(batches, exact, strict=True):
        pairs = compared(wanted, _outputs(module, batch, params))
        # Values may decide about a shape (NonZero): such outputs cannot be compared.
        moved.append(
            [
                float(divergence((one,), (other,))) if one.shape == other.shape else 0.0
                for one, other in pairs
            ]
        )
    return float(np.mean(moved, axis=0).max())


def _outputs(
    module: GraphModule, batch: Mapping[str, Tensor], params: Mapping[str, QuantParams]
) -> Outputs:
    """The outputs for ``batch`` with the values in ``params`` rounded as they are made."""
    values = {
        name: rounded(value, params[name]) if name in params else value
        for name, value in batch.items()
    }
    for place, step in enumerate(module.steps):
        module.run(values, place, place + 1)
        for name in step.outputs:
            if name in values and name in params:
                values[name] = rounded(values[name], params[name])
    return [
        values[name] if name in values else module.constant(name) for name in module.output_names
    ]


def rounded(value: Tensor, params: QuantParams) -> Tensor:
    """``value`` as uint8 carries it."""
    codes = (value / params.scale).round() + params.zero_point
    return (codes.clamp(0, 255) - params.zero_point) * params.scale
