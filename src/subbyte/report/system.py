"""Where a measurement was made: CPU, versions, commit."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from subbyte.cpu import cpu_name, isa_flags, program_output

_PACKAGES = ("subbyte", "numpy", "onnxruntime")


def system() -> dict[str, Any]:
    """CPU name, instruction sets, cores, operating system, versions, subbyte's git commit."""
    return {
        "cpu": cpu_name(),
        "isa": isa_flags(),
        "cores": os.cpu_count(),
        "os": f"{platform.system()} {platform.machine()}",
        "versions": {"python": platform.python_version()} | versions(),
        "commit": commit(),
    }


def versions() -> dict[str, str]:
    """Versions of the installed packages that a result depends on."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """Commit of the checkout that subbyte runs from, None if it was installed otherwise."""
    here = Path(__file__)
    # Git also answers for an untracked folder inside somebody's checkout, such as a
    # virtual environment: only a tracked file means that the commit is ours.
    if (
        program_output("git", "-C", str(here.parent), "ls-files", "--error-unmatch", here.name)
        is None
    ):
        return None
    return program_output(
        "git", "-C", str(here.parent), "describe", "--always", "--dirty", "--abbrev=12"
    )
