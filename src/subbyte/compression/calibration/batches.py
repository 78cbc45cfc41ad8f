"""Calibration samples on their way through a network: in batches that fit into memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from subbyte.data import Samples
from subbyte.errors import SubbyteError
from subbyte.graph.module.graph_module import GraphModule

CHUNK_VALUES = 1 << 24
MAX_CHUNK = 100


def on_device(batch: Mapping[str, NDArray[Any]], device: torch.device) -> dict[str, Tensor]:
    """The arrays of a batch as tensors of ``device``, by input name."""
    return {name: torch.from_numpy(array).to(device) for name, array in batch.items()}


@torch.no_grad()
def chunk_size(
    module: GraphModule, samples: Samples, device: torch.device, most_samples: int = MAX_CHUNK
) -> int:
    """Samples a chunk: so many that the values alive at once stay near `CHUNK_VALUES`.

    At most ``most_samples``; one where the network does not take two, though its batch is said to
    be free.
    """
    if module.fixed_batch is not None or samples.single:
        return module.fixed_batch or 1
    batch = next(iter(samples.batches(1)))
    most = 1
    for place, _, _, after in module.walk(on_device(batch, device)):
        live = module.live(place + 1) & after.keys()
        most = max(most, sum(after[name].numel() for name in live))
    chunk = max(1, min(most_samples, CHUNK_VALUES // most))
    return chunk if chunk == 1 or _takes_two(module, samples, device) else 1


def _takes_two(module: GraphModule, samples: Samples, device: torch.device) -> bool:
    """Whether the first sample, which runs alone, runs in a batch of two."""
    (batch,) = samples.select([0, 0]).batches(2)
    environment = on_device(batch, device)
    try:
        module.run(environment, 0, len(module.steps))
    except (SubbyteError, RuntimeError, IndexError, ValueError):
        return False
    return True
