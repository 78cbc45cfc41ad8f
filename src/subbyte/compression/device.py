"""Where to compute, and the switch that makes it repeatable there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from subbyte.errors import OptionError, reason

SMALL = 1024


def open_device(name: str) -> torch.device:
    """The torch device ``name``, or `OptionError` if there is none such here."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise OptionError("no such `device`", expected="cpu, cuda, cuda:1 ...", got=name) from error
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise OptionError(
            "`device` is not available",
            expected="cpu, or a device torch can use",
            got=f"{name} ({reason(error)})",
        ) from error
    return device


@contextmanager
def repeatable() -> Iterator[None]:
    """Within it, torch uses algorithms that give the same bits every time.

    This is `torch.use_deterministic_algorithms` without its import of torch's compiler, which
    takes longer than many a command.
    """
    before = torch.get_deterministic_debug_mode()
    # What cuBLAS asks for to be repeatable; read when CUDA starts.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_deterministic_debug_mode("error")
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)


@contextmanager
def few_threads(size: int) -> Iterator[None]:
    """One thread within it when matrices are small (``size`` rows or columns at most).

    The encoders then make many small steps; handing each to several threads costs more
    than it gains, and many times more when other programs keep the cores busy.
    """
    before = torch.get_num_threads()
    if size <= SMALL:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
