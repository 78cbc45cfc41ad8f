"""Training of one net of the HORQ comparison, from scratch or from the float net."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.papers.horq_data import Task
from benchmarks.papers.horq_nets import NETS, build
from subbyte.nn import set_binarize_weights
from subbyte.nn.binarize import Backward

TEMPERATURE = 2.0


@dataclass(frozen=True)
class Run:
    """What makes one trained net; ``order`` 0 is float, ``images`` the training images used.

    Of the ``epochs`` the first ``float_epochs`` train the same net in float, once for all
    orders, and the next ``real_epochs`` binary inputs with real weights. ``distil``: how much
    of the loss after that is the divergence from that float net, and not the labels'.
    """

    dataset: str
    net: str
    order: int
    backward: Backward
    seed: int
    images: int
    epochs: int
    batch: int
    learning_rate: float
    float_epochs: int = 0
    real_epochs: int = 0
    distil: float = 0.0

    @property
    def name(self) -> str:
        """A file name."""
        return "-".join(map(str, asdict(self).values()))

    @property
    def start(self) -> Run | None:
        """The float run that this one goes on from."""
        if not self.float_epochs:
            return None
        float_run = replace(self, order=0, epochs=self.float_epochs)
        return replace(float_run, float_epochs=0, real_epochs=0, distil=0.0)


class Training:
    """One run's net, optimizer and place, kept after every epoch."""

    def __init__(self, run: Run, task: Task, folder: Path) -> None:
        torch.manual_seed(run.seed)
        self.run, self.task = run, task
        net = NETS[run.dataset][run.net]
        self.net = build(net, task.images.shape[1], run.order, run.backward)
        self.optimizer = torch.optim.Adam(self.net.parameters(), run.learning_rate)
        self.generator = torch.Generator().manual_seed(run.seed)
        self.losses: list[float] = []
        self.seconds = 0.0
        self.teacher: nn.Module | None = None
        if run.start is not None:
            self._start(Training(run.start, task, folder))
        self._file = folder / f"{run.name}.pt"
        if self._file.exists():
            self._resume()

    def finish(self) -> None:
        """Train the epochs that are left."""
        while len(self.losses) < self.run.epochs:
            start = time.process_time()
            self.losses.append(self._epoch(len(self.losses)))
            self.seconds += time.process_time() - start
            self._save()
            print(f"{self.run.name}: epoch {len(self.losses)}, loss {self.losses[-1]:.3f}")

    def _start(self, before: Training) -> None:
        """From the float net, whose epochs count as this run's."""
        before.finish()
        self.net.load_state_dict(before.net.state_dict())
        self.losses, self.seconds = list(before.losses), before.seconds
        if self.run.distil:
            self.teacher = before.net.eval()

    def _epoch(self, epoch: int) -> float:
        self.net.train()
        run = self.run
        set_binarize_weights(self.net, epoch >= run.float_epochs + run.real_epochs)
        order = torch.randperm(len(self.task.images), generator=self.generator)
        batches = order[: len(order) // run.batch * run.batch].split(run.batch)
        total, count = 0.0, len(batches)
        for step, index in enumerate(batches):
            own = epoch - run.float_epochs + step / count
            done = own / (run.epochs - run.float_epochs)
            rate = run.learning_rate * (1 + math.cos(math.pi * done)) / 2
            self.optimizer.param_groups[0]["lr"] = rate
            images, labels = self.task.batch(index, self.generator)
            loss = self._loss(images.to(memory_format=torch.channels_last), labels)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.item()
        return total / count

    def _loss(self, images: Tensor, labels: Tensor) -> Tensor:
        scores = self.net(images)
        loss = functional.cross_entropy(scores, labels)
        if self.teacher is None:
            return loss
        with torch.no_grad():
            wanted = self.teacher(images)
        return loss.lerp(divergence(scores, wanted), self.run.distil)

    def _save(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        part = self._file.with_suffix(".part")
        state = {
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "losses": self.losses,
            "seconds": self.seconds,
        }
        torch.save(state, part)
        part.replace(self._file)

    def _resume(self) -> None:
        state = torch.load(self._file, weights_only=True)
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.losses, self.seconds = state["losses"], state["seconds"]


def divergence(scores: Tensor, wanted: Tensor) -> Tensor:
    """T^2 KL(softmax(wanted / T), softmax(scores / T)), T = 2, mean over the rows [N, classes].

    Hinton, Vinyals, Dean, Distilling the Knowledge in a Neural Network, 2015.
    """
    ours, theirs = ((values / TEMPERATURE).log_softmax(1) for values in (scores, wanted))
    mean = functional.kl_div(ours, theirs, log_target=True, reduction="batchmean")
    return TEMPERATURE**2 * mean


@torch.no_grad()
def predict(net: nn.Module, images: Tensor) -> Tensor:
    """Labels [N], in evaluation mode."""
    net.eval()
    return torch.cat([net(part).argmax(1) for part in images.split(256)])
