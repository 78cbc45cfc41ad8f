"""``subbyte library-path``."""

from __future__ import annotations

import typer


def command() -> None:
    """Print where the native library is.

    Any program that uses ONNX Runtime can register it and then run compressed files on
    subbyte's kernels: in Python `SessionOptions.register_custom_ops_library(path)`, in C
    `RegisterCustomOpsLibrary_V2`.

    Example:

    ```
    subbyte library-path
    ```
    """
    from subbyte.runtime import library_path

    typer.echo(library_path())
