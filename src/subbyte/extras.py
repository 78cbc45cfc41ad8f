"""Saying which extra is missing when an optional package is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from subbyte.errors import MissingDependencyError

_COMPRESS = frozenset({"jinja2", "onnx", "onnx_ir", "onnxscript", "torch"})


@contextmanager
def compress_extra(what: str) -> Iterator[None]:
    """Turn a failing import of a package of the ``compress`` extra into a named error.

    Raises:
        MissingDependencyError: it names ``what`` needs the package, and how to get it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _COMPRESS:
            raise
        raise MissingDependencyError(
            f"{what} needs the package {package}: pip install 'subbyte[compress]'"
        ) from error
