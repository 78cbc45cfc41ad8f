"""Saying which extra is missing when an optional package is."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from subbyte.errors import MissingDependencyError

_COMPRESS = frozenset({"jinja2", "onnx", "onnx_ir", "onnxscript", "torch"})
_RAY = frozenset({"ray"})
_IMAGES = frozenset({"PIL"})


def compress_extra(what: str) -> AbstractContextManager[None]:
    """Turn a failing import of a package of the ``compress`` extra into a named error.

    Nothing but imports belongs within it: garbage is not collected.

    Raises:
        MissingDependencyError: it names ``what`` needs the package, and how to get it.
    """
    return _extra("compress", _COMPRESS, what)


def ray_extra(what: str) -> AbstractContextManager[None]:
    """`compress_extra`, of the ``ray`` extra."""
    return _extra("ray", _RAY, what)


def images_extra(what: str) -> AbstractContextManager[None]:
    """`compress_extra`, of the ``images`` extra."""
    return _extra("images", _IMAGES, what)


@contextmanager
def _extra(name: str, packages: frozenset[str], what: str) -> Iterator[None]:
    collects = gc.isenabled()
    # Modules stay: to look for garbage in them again and again is a fifth of the time they take.
    gc.disable()
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in packages:
            raise
        raise MissingDependencyError(
            f"{what} needs the package {package}: pip install 'subbyte[{name}]'"
        ) from error
    finally:
        if collects:
            gc.enable()
