"""A training loop for users who have none: one device or several, stopped and resumed at will."""

from __future__ import annotations

import hashlib
import io
import math
import os
import pickle
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from subbyte.compression.divergence import as_tuple, divergence
from subbyte.compression.training import Descent, descend
from subbyte.errors import CalibrationError, OptionError, WeightError
from subbyte.files import check_writable, write_atomic
from subbyte.graph.load.network import read_network
from subbyte.graph.module.graph_module import GraphModule
from subbyte.progress import Progress, silent
from subbyte.train.student import Student

EPOCH_SEEDS = 1_000_003

# torch.load raises these for a file that is damaged, here or there.
_UNREADABLE = (
    RuntimeError,
    EOFError,
    KeyError,
    TypeError,
    ValueError,
    OSError,
    pickle.UnpicklingError,
)

Loss = Callable[[Any, Any], Tensor]


def fit(
    student: Student,
    batches: Iterable[Any],
    steps: int,
    *,
    loss: Loss | None = None,
    float_network: nn.Module | str | os.PathLike[str] | None = None,
    rate: float = 1.0,
    precision: torch.dtype | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    every: int = 200,
    seed: int = 0,
    progress: Progress = silent,
) -> float:
    """Train ``student`` for ``steps`` steps of Adam; the loss of the last one.

    The learning rates are ``rate`` times the rates of ``student.parameter_groups()``, with a short
    warm-up and a cosine (`subbyte.compression.training.Descent`). Where torch.distributed is
    initialized (torchrun), gradients are averaged over the processes; every process gives its own
    part of the batches.

    Args:
        batches: a loader, iterated anew every epoch. With ``loss`` it gives (inputs, targets), with
            ``float_network`` inputs; inputs are a tensor or a sequence of tensors.
        loss: loss(outputs, targets).
        float_network: a module or an ONNX file, whose outputs are the targets (class scores by
            Kullback-Leibler divergence, other outputs by squared error).
        precision: torch.bfloat16: mixed precision (`torch.autocast`).
        checkpoint: a file, written every ``every`` steps and at the end. The same call goes on from
            there, to the same result. torch's generator is seeded anew every epoch. A loader which
            shuffles by it therefore gives the same order again.

    Raises:
        OptionError: numbers out of range, not one of loss and float_network, another run's file.
        CalibrationError: a loader that gives nothing.
        WeightError: the loss is no longer finite.
    """
    _check(steps, every, rate, precision, loss, float_network)
    device = next(student.parameters()).device
    runner = _Runner(student, steps, rate, every, seed)
    judge = _judge(loss, float_network, device)
    if checkpoint is not None:
        runner.open(check_writable(checkpoint))
    model = DistributedDataParallel(student, broadcast_buffers=False) if _many() else student
    context = torch.autocast(device.type, precision) if precision else nullcontext()
    stream = runner.stream(batches)
    value = torch.zeros(())
    while runner.done < steps:
        batch = _to(next(stream), device)
        with context:
            value = judge(model, batch)
        runner.step(value)
        progress("train", runner.done, steps, f"loss {float(value.detach()):.4f}")
    return runner.last


@torch.no_grad()
def measure(
    student: Student,
    batches: Iterable[Any],
    *,
    loss: Loss | None = None,
    float_network: nn.Module | str | os.PathLike[str] | None = None,
) -> float:
    """The mean loss over ``batches``, every sample counting alike; arguments as of `fit`."""
    _check(1, 1, 1.0, None, loss, float_network)
    device = next(student.parameters()).device
    judge, total, count = _judge(loss, float_network, device), 0.0, 0
    for batch in batches:
        inputs = batch[0] if loss is not None else batch
        size = len(as_tuple(inputs)[0])
        total += float(judge(student, _to(batch, device))) * size
        count += size
    if count == 0:
        raise CalibrationError("no batches to measure on", expected="at least one")
    return total / count


class _Runner:
    """Optimizer, place in the run, and checkpoint."""

    def __init__(self, student: Student, steps: int, rate: float, every: int, seed: int) -> None:
        self._student, self._steps, self._every, self._seed = student, steps, every, seed
        groups = [group | {"lr": rate * group["lr"]} for group in student.parameter_groups()]
        self._descent = Descent(groups, steps)
        self._path: Path | None = None
        self._epoch, self._inside, self.last = 0, 0, math.nan
        self._key = hashlib.sha256(
            f"{student.fingerprint()} {steps} {rate} {seed}".encode()
        ).hexdigest()

    @property
    def done(self) -> int:
        """Steps that were made."""
        return self._descent.done

    def stream(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Epoch after epoch, from the place where the checkpoint was written."""
        rank = dist.get_rank() if _many() else 0
        while True:
            torch.manual_seed(self._seed + EPOCH_SEEDS * self._epoch + rank)
            set_epoch = getattr(getattr(batches, "sampler", None), "set_epoch", None)
            if set_epoch is not None:
                set_epoch(self._epoch)
            count = 0
            for count, batch in enumerate(batches, 1):
                if count <= self._inside:
                    continue
                self._inside = count
                yield batch
            if count == 0:
                raise CalibrationError("no batches to train on", expected="at least one an epoch")
            self._epoch, self._inside = self._epoch + 1, 0

    def step(self, loss: Tensor) -> None:
        """One step of the optimizer; the checkpoint when it is due."""
        self._descent.step(lambda: descend(loss))
        if self._descent.at_rest(self._every):
            self.last = float(loss.detach())
            if not math.isfinite(self.last):
                raise WeightError(f"training diverged at step {self.done}", got=self.last)
            self._save()

    def _save(self) -> None:
        if self._path is None:
            return
        if not _many() or dist.get_rank() == 0:
            buffer = io.BytesIO()
            state = {name: value.detach() for name, value in _trained(self._student)}
            place = {"epoch": self._epoch, "inside": self._inside, "last": self.last}
            torch.save(
                {
                    "key": self._key,
                    "place": place,
                    "student": state,
                    "descent": self._descent.state(),
                },
                buffer,
            )
            write_atomic(self._path, buffer.getvalue())
        if _many():
            dist.barrier()

    def open(self, path: Path) -> None:
        """Write checkpoints to ``path``, and go on from the one that is there."""
        self._path = path
        if not path.exists():
            return
        device = next(self._student.parameters()).device
        try:
            found = torch.load(path, map_location=device, weights_only=True)
            key = _entry(found, "key")
        except _UNREADABLE as error:
            raise OptionError(
                "checkpoint cannot be read", where=str(path), got=type(error).__name__
            ) from error
        if key != self._key:
            raise OptionError(
                "checkpoint of another run",
                where=str(path),
                expected="one of the same file, steps, rate and seed",
            )
        with torch.no_grad():
            for name, value in _trained(self._student):
                value.copy_(found["student"][name])
        self._descent.restore(found["descent"])
        place = found["place"]
        self._epoch, self._inside, self.last = place["epoch"], place["inside"], place["last"]


def _entry(found: object, name: str) -> Any:
    if not isinstance(found, dict):
        raise TypeError(f"expected a dictionary, got {type(found).__name__}")
    return found[name]


def _trained(student: Student) -> list[tuple[str, nn.Parameter]]:
    return [(name, value) for name, value in student.named_parameters() if value.requires_grad]


def _many() -> bool:
    """Whether this is one of several processes."""
    return dist.is_available() and dist.is_initialized()


def _judge(
    loss: Loss | None,
    float_network: nn.Module | str | os.PathLike[str] | None,
    device: torch.device,
) -> Callable[[nn.Module, Any], Tensor]:
    """judge(model, batch) -> loss."""
    if loss is not None:
        return lambda model, batch: loss(model(*as_tuple(batch[0])), batch[1])
    module = float_network
    if not isinstance(module, nn.Module):
        assert module is not None  # noqa: S101 - checked before
        module = GraphModule(read_network(module))
    taught = module.to(device).eval()

    def distil(model: nn.Module, batch: Any) -> Tensor:
        with torch.no_grad():
            wanted = as_tuple(taught(*as_tuple(batch)))
        got = as_tuple(model(*as_tuple(batch)))
        return divergence(tuple(w.float() for w in wanted), tuple(g.float() for g in got))

    return distil


def _to(batch: Any, device: torch.device) -> Any:
    if isinstance(batch, Tensor):
        return batch.to(device)
    return tuple(_to(part, device) for part in batch)


def _check(
    steps: int,
    every: int,
    rate: float,
    precision: torch.dtype | None,
    loss: Loss | None,
    float_network: object,
) -> None:
    for name, value in (("steps", steps), ("every", every)):
        if value < 1:
            raise OptionError(f"{name} out of range", expected="1 or more", got=value)
    if not 0 < rate < math.inf:
        raise OptionError("rate out of range", expected="above 0", got=rate)
    if precision not in (None, torch.bfloat16):
        raise OptionError("precision", expected="None or torch.bfloat16", got=precision)
    if (loss is None) == (float_network is None):
        got = "both" if loss is not None else "neither"
        raise OptionError("target of training", expected="one of loss and float_network", got=got)
