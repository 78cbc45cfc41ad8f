"""Activations of the calibration samples, in memory up to a limit, on disk beyond it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from subbyte.compression.checkpoint import SPILL_PREFIX, sweep_spilled
from subbyte.errors import OutputError
from subbyte.files import hold

MEMORY_LIMIT = 1 << 30

Environment = dict[str, Tensor]


class ActivationStore:
    """Environments (value name -> tensor) by key; large ones are spilled to ``folder``.

    Memory stays bounded by ``limit`` bytes however many samples there are.
    """

    def __init__(self, folder: Path, limit: int = MEMORY_LIMIT) -> None:
        # Killed runs leave theirs, and they can be large.
        sweep_spilled(folder)
        try:
            self._folder = tempfile.TemporaryDirectory(prefix=SPILL_PREFIX, dir=folder)
            self._hold = hold(self._folder.name)
        except OSError as error:
            raise OutputError(
                "cannot make a folder for activations", where=str(folder), got=error.strerror
            ) from error
        self._limit = limit
        self._held: dict[tuple[str, int], Environment] = {}
        self._bytes: dict[tuple[str, int], int] = {}

    def put(self, key: tuple[str, int], environment: Environment) -> None:
        """Keep ``environment`` under ``key``, in place of an earlier one."""
        self._forget(key)
        size = sum(value.numel() * value.element_size() for value in environment.values())
        if sum(self._bytes.values()) + size <= self._limit:
            self._held[key] = {name: _alone(value) for name, value in environment.items()}
            self._bytes[key] = size
            return
        try:
            torch.save({k: v.clone() for k, v in environment.items()}, self._path(key))
        except (OSError, RuntimeError) as error:
            raise OutputError(
                "cannot spill activations to disk", where=self._folder.name, got=error
            ) from error

    def take(self, key: tuple[str, int]) -> Environment:
        """Return the environment that `put` kept under ``key``, and forget it."""
        if key in self._held:
            environment = self._held.pop(key)
            del self._bytes[key]
            return environment
        loaded: Environment = torch.load(self._path(key), weights_only=True)
        self._path(key).unlink()
        return loaded

    def close(self) -> None:
        """Drop everything."""
        self._held.clear()
        self._bytes.clear()
        self._folder.cleanup()
        os.close(self._hold)

    def _forget(self, key: tuple[str, int]) -> None:
        self._held.pop(key, None)
        self._bytes.pop(key, None)
        self._path(key).unlink(missing_ok=True)

    def _path(self, key: tuple[str, int]) -> Path:
        return Path(self._folder.name) / f"{key[0]}-{key[1]}.pt"


def _alone(value: Tensor) -> Tensor:
    """``value``, copied if it is a part of something larger that it would keep alive."""
    shown = value.numel() * value.element_size()
    return value.clone() if value.untyped_storage().nbytes() > shown else value
