"""A training loop for users who have none: one device or several, stopped and resumed at will."""

from __future__ import annotations

import hashlib
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
from subbyte.compression.training import NoStore, State, Store, Training, pack, unpack
from subbyte.errors import CalibrationError, OptionError
from subbyte.files import check_writable, write_atomic
from subbyte.graph.load.network import read_network
from subbyte.graph.module.graph_module import GraphModule
from subbyte.progress import Progress, silent
from subbyte.train.student import Student

EPOCH_SEEDS = 1_000_003
_LAYOUT = 2  # of checkpoint files; raised when their entries change

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
    warm-up and a cosine (`subbyte.compression.training.Training`). Where torch.distributed is
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
    judge = _judge(loss, float_network, device)
    key = f"{student.fingerprint()} {steps} {rate} {seed}"
    store: Store = (
        NoStore() if checkpoint is None else CheckpointFile(check_writable(checkpoint), key)
    )
    model = DistributedDataParallel(student, broadcast_buffers=False) if _many() else student
    context = torch.autocast(device.type, precision) if precision else nullcontext()

    def losses(batch: Any) -> tuple[Tensor]:
        with context:
            return (judge(model, _to(batch, device)),)

    return Training(
        nn.ModuleDict({"weights": student.weights, "biases": student.biases}),
        [group | {"lr": rate * group["lr"]} for group in student.parameter_groups()],
        steps,
        Epochs(batches, seed),
        losses,
        every,
        lambda done, value: progress("train", done, steps, f"loss {value:.4f}"),
        store,
    ).run()


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


class Epochs:
    """The batches of a loader, epoch after epoch; torch's generator is seeded anew before each."""

    def __init__(self, batches: Iterable[Any], seed: int) -> None:
        self._batches, self._seed = batches, seed
        self._epoch, self._inside = 0, 0
        self._stream = self._epochs()

    def __next__(self) -> Any:
        """The next batch, as the loader gives it."""
        return next(self._stream)

    def _epochs(self) -> Iterator[Any]:
        rank = dist.get_rank() if _many() else 0
        while True:
            torch.manual_seed(self._seed + EPOCH_SEEDS * self._epoch + rank)
            set_epoch = getattr(getattr(self._batches, "sampler", None), "set_epoch", None)
            if set_epoch is not None:
                set_epoch(self._epoch)
            count = 0
            for count, batch in enumerate(self._batches, 1):
                if count <= self._inside:
                    continue
                self._inside = count
                yield batch
            if count == 0:
                raise CalibrationError("no batches to train on", expected="at least one an epoch")
            self._epoch, self._inside = self._epoch + 1, 0

    def state(self) -> State:
        """The epoch, and the number of batches that were taken inside it."""
        return {"epoch": self._epoch, "inside": self._inside}

    def restore(self, state: State) -> None:
        """Go on inside that epoch; for a stream of which nothing was taken."""
        self._epoch, self._inside = state["epoch"], state["inside"]


class CheckpointFile:
    """The state of a training in the file ``path``; ``key`` tells which training it is.

    Of several processes the first one writes, and the others wait for it.
    """

    def __init__(self, path: Path, key: str) -> None:
        self._path, self._key = path, hashlib.sha256(f"{_LAYOUT} {key}".encode()).hexdigest()

    def save(self, state: State) -> None:
        """Write ``state``, whole or not at all."""
        if not _many() or dist.get_rank() == 0:
            write_atomic(self._path, pack({"key": self._key, **state}))
        if _many():
            dist.barrier()

    def load(self) -> State | None:
        """The state in the file; None where there is no file.

        Raises:
            OptionError: a file that cannot be read, or of another training.
        """
        if not self._path.exists():
            return None
        try:
            found = unpack(self._path.read_bytes())
            key = _entry(found, "key")
        except _UNREADABLE as error:
            raise OptionError(
                "checkpoint cannot be read", where=str(self._path), got=type(error).__name__
            ) from error
        if key != self._key:
            raise OptionError(
                "checkpoint of another run",
                where=str(self._path),
                expected="one of the same file, steps, rate and seed",
            )
        return dict(found)


def _entry(found: object, name: str) -> Any:
    if not isinstance(found, dict):
        raise TypeError(f"expected a dictionary, got {type(found).__name__}")
    return found[name]


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
