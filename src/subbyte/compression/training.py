"""One step after another down a loss: the optimizer and its rates, for all training here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from subbyte.compression.divergence import check_gradient

WARM_UP = 20
LAST_RATE = 0.02
BETAS = (0.9, 0.99)


class Descent:
    """Adam with a short warm-up, then a cosine down to `LAST_RATE`.

    In step s of S steps the rate of a group is its own rate times min(1, (s + 1) / W) times
    (r + (1 - r) (1 + cos(pi s / S)) / 2), with W = ``warm_up`` and r = `LAST_RATE`.

    ``groups``: of parameters, with their rate as ``lr``. ``done``: steps that were made.
    """

    def __init__(
        self, groups: Iterable[Mapping[str, Any]], steps: int, warm_up: int = WARM_UP
    ) -> None:
        own = [dict(group) | {"base": group["lr"]} for group in groups]
        self._optimizer = torch.optim.Adam(own, betas=BETAS)
        self._steps, self._warm_up, self.done = steps, warm_up, 0

    def step(self, backward: Callable[[], None]) -> None:
        """One step by the gradients that ``backward`` adds up."""
        warm = min(1.0, (self.done + 1) / self._warm_up)
        cosine = 1 + math.cos(math.pi * self.done / self._steps)
        decay = LAST_RATE + (1 - LAST_RATE) * 0.5 * cosine
        for group in self._optimizer.param_groups:
            group["lr"] = group["base"] * warm * decay
        self._optimizer.zero_grad()
        backward()
        self._optimizer.step()
        self.done += 1

    def at_rest(self, every: int) -> bool:
        """Whether it is time to look and to save: after ``every`` steps, and after the last."""
        return self.done % every == 0 or self.done == self._steps

    def state(self) -> dict[str, Any]:
        """The state that `restore` takes, of tensors and numbers."""
        return {"done": self.done, "optimizer": self._optimizer.state_dict()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from where `state` was called."""
        self._optimizer.load_state_dict(state["optimizer"])
        self.done = int(state["done"])


def descend(loss: torch.Tensor, where: str | None = None) -> None:
    """Add the gradients of ``loss``.

    Raises:
        OptionError: nothing can be trained by it, as of outputs that are integers.
    """
    check_gradient(loss, where)
    loss.backward()
