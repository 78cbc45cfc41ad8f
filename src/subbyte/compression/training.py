"""The one training loop: tuning of a compression and training of compressed files both run it."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from subbyte.compression.divergence import check_gradient
from subbyte.compression.run import Schedule
from subbyte.errors import RunError, WeightError
from subbyte.methods import TrainableWeight

LAST_RATE = 0.02
BETAS = (0.9, 0.99)

Batch = TypeVar("Batch")
BatchOut = TypeVar("BatchOut", covariant=True)
State = dict[str, Any]


class Stream(Protocol[BatchOut]):
    """Batches without end, which can be taken up again at the place where they were left."""

    def __next__(self) -> BatchOut:
        """The next batch."""

    def state(self) -> State:
        """The place in the stream, of numbers."""

    def restore(self, state: State) -> None:
        """Go on from the place where `state` was called."""


class Store(Protocol):
    """Where a training keeps its state, of tensors and numbers."""

    def load(self) -> State | None:
        """The state that was saved last; None if there is none."""

    def save(self, state: State) -> None:
        """Keep ``state`` in place of the one before."""


class NoStore:
    """Keeps nothing, for training that is not resumed."""

    def load(self) -> State | None:
        """Nothing was saved."""
        return None

    def save(self, state: State) -> None:
        """Keep nothing."""


@dataclass
class Training(Generic[Batch]):
    """Steps of Adam on the parameters of ``groups``; weights settle after each.

    The loss of a step is the sum of ``losses(batch)``, whose gradients are added up one by one.
    With ``judge`` the state of ``module`` with the least ``judge()`` is kept, the state before the
    first step included. Without it the last state counts, and a loss that is no longer finite is
    an error. After every ``check_every`` steps, and after the last, ``judge`` is asked and
    ``store`` is given everything that the same training needs in order to go on to the same result.

    ``module``: holds all that is trained. ``groups``: of parameters, with their rate as ``lr``.
    ``report(step, figure)`` is called after every step; the figure is the least of ``judge``,
    without it the loss. ``where``: the network's name in errors.
    """

    module: nn.Module
    groups: Iterable[Mapping[str, Any]]
    steps: int
    stream: Stream[Batch]
    losses: Callable[[Batch], Iterable[Tensor]]
    check_every: int
    report: Callable[[int, float], None]
    store: Store
    judge: Callable[[], float] | None = None
    warm_up: int = Schedule.warm_up
    where: str | None = None

    def __post_init__(self) -> None:
        self._descent = Descent(self.groups, self.steps, self.warm_up)
        self._weights = [p for p in self.module.modules() if isinstance(p, TrainableWeight)]
        self._figure = math.nan
        self._best: State | None = None

    def run(self) -> float:
        """Make the steps that are left; the least of ``judge``, without it the last loss.

        Raises:
            RunError: NaN or Inf before the first step.
            WeightError: without ``judge``, a loss that is no longer finite.
            OptionError: nothing can be trained by the loss, as of outputs that are integers.
        """
        if not self._resume() and self.judge is not None:
            self._figure, self._best = self.judge(), _copy(self.module)
            if not math.isfinite(self._figure):
                raise RunError("NaN or Inf in the outputs, before any training", where=self.where)
        while self._descent.done < self.steps:
            loss = self._step(next(self.stream))
            if self._descent.at_rest(self.check_every):
                self._check(loss)
                self._save()
            figure = float(loss) if self.judge is None else self._figure
            self.report(self._descent.done, figure)
        if self._best is not None:
            self.module.load_state_dict(self._best)
        return self._figure

    def _step(self, batch: Batch) -> Tensor:
        loss = torch.zeros(())

        def backward() -> None:
            nonlocal loss
            for part in self.losses(batch):
                check_gradient(part, self.where)
                part.backward()
                loss = part.detach() + loss.to(part.device)

        self._descent.step(backward)
        for weight in self._weights:
            weight.settle()
        return loss

    def _check(self, loss: Tensor) -> None:
        if self.judge is None:
            self._figure = float(loss)
            if not math.isfinite(self._figure):
                raise WeightError(
                    f"training diverged at step {self._descent.done}",
                    where=self.where,
                    got=self._figure,
                )
        elif (figure := self.judge()) < self._figure:
            self._figure, self._best = figure, _copy(self.module)

    def _save(self) -> None:
        self.store.save(
            {
                "module": self.module.state_dict(),
                "best": self._best,
                "figure": self._figure,
                "descent": self._descent.state(),
                "stream": self.stream.state(),
            }
        )

    def _resume(self) -> bool:
        state = self.store.load()
        if state is None:
            return False
        self.module.load_state_dict(state["module"])
        self._figure, self._best = state["figure"], state["best"]
        self._descent.restore(state["descent"])
        self.stream.restore(state["stream"])
        return True


class Descent:
    """Adam with a short warm-up, then a cosine down to `LAST_RATE`.

    In step s of S steps the rate of a group is its own rate times min(1, (s + 1) / W) times
    (r + (1 - r) (1 + cos(pi s / S)) / 2), with W = ``warm_up`` and r = `LAST_RATE`.

    ``groups``: of parameters, with their rate as ``lr``. ``done``: steps that were made.
    """

    def __init__(
        self, groups: Iterable[Mapping[str, Any]], steps: int, warm_up: int = Schedule.warm_up
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

    def state(self) -> State:
        """The state that `restore` takes, of tensors and numbers."""
        return {"done": self.done, "optimizer": self._optimizer.state_dict()}

    def restore(self, state: State) -> None:
        """Go on from where `state` was called."""
        self._optimizer.load_state_dict(state["optimizer"])
        self.done = int(state["done"])


def pack(state: Mapping[str, Any]) -> bytes:
    """``state``, of tensors and numbers, as bytes that `unpack` reads."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.getvalue()


def unpack(raw: bytes) -> Any:
    """The object that `pack` was given, on the CPU; errors of damaged bytes are torch's own."""
    return torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)


def _copy(module: nn.Module) -> State:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}
