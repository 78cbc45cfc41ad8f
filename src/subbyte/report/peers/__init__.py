"""Other runtimes and their int8, to compare a compressed file with.

One module a runtime. Its packages (the extra ``bench``) are imported when a peer is made.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from numpy.typing import NDArray

from subbyte.errors import (
    MissingDependencyError,
    OptionError,
    PeerError,
    SubbyteError,
    reason,
)
from subbyte.report.peers.source import Bind, Feeds, Source

# Name -> (module, function there).
_PEERS = {
    "onnxruntime-int8": ("stock", "int8"),
    "openvino-fp32": ("vino", "fp32"),
    "openvino-int8": ("vino", "int8"),
    "ncnn-fp32": ("mobile", "fp32"),
}
# Why a peer that one would expect is not among them.
_LEFT_OUT = {
    "ncnn-int8": "ncnn's quantization tools (ncnn2table, ncnn2int8) are in no Python package",
    "litert-int8": "its converter from ONNX, onnx2tf, pins numpy 1.26; subbyte needs numpy 2",
}
PEERS = (*_PEERS, *_LEFT_OUT)


def check_names(names: Sequence[str]) -> None:
    """Raise `OptionError` if one of ``names`` is no peer."""
    for name in names:
        if name not in PEERS:
            raise OptionError("unknown peer", expected=", ".join(PEERS), got=name)


def make_peer(name: str, source: Source) -> Bind:
    """The network of ``source`` in the runtime ``name``, one of `PEERS`.

    Raises:
        MissingDependencyError: a package of the extra ``bench`` is not installed.
        PeerError: the peer cannot take the network, or is left out for a reason. The peer's calls
            raise it too, for every error of the runtime.
    """
    if name in _LEFT_OUT:
        raise PeerError(_LEFT_OUT[name], where=name)
    module, function = _PEERS[name]
    with _named(name, source):
        make = getattr(importlib.import_module(f"{__name__}.{module}"), function)
        bind: Bind = make(source)
    return _guarded(bind, name, source)


def _guarded(bind: Bind, name: str, source: Source) -> Bind:
    """``bind``, and the call it gives, with the errors of `make_peer`."""

    def guarded(feeds: Feeds) -> Callable[[], list[NDArray[Any]]]:
        with _named(name, source):
            call = bind(feeds)

        def named_call() -> list[NDArray[Any]]:
            try:
                return call()
            except Exception as error:
                raise _failed(name, source, error) from error

        return named_call

    return guarded


@contextmanager
def _named(name: str, source: Source) -> Iterator[None]:
    """Within the block an error of a runtime is a `PeerError`, or names the missing package."""
    try:
        yield
    except SubbyteError:
        raise
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == "subbyte":
            raise
        raise MissingDependencyError(
            f"{name} needs the package {package}: pip install 'subbyte[bench]'"
        ) from error
    # Other people's packages raise anything: one peer's failure must not end the others.
    except Exception as error:
        raise _failed(name, source, error) from error


def _failed(name: str, source: Source, error: Exception) -> PeerError:
    return PeerError(
        f"{name} cannot run the network",
        where=str(source.path),
        got=f"{type(error).__name__}: {reason(error)}",
    )


__all__ = ["PEERS", "Bind", "Feeds", "Source", "check_names", "make_peer"]
