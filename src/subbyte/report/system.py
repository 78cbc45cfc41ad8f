"""Where a measurement was made: CPU, versions, commit."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

_CPUINFO = Path("/proc/cpuinfo")
# The instruction sets that int8 and look-up kernels care about, as Linux spells them.
_ISA_FLAGS = (
    *("ssse3", "avx", "fma", "avx2", "f16c", "avx_vnni"),
    *("avx512f", "avx512bw", "avx512vl", "avx512_vbmi", "avx512_vnni", "avx512_bf16"),
    *("amx_tile", "amx_int8"),
    *("asimd", "asimddp", "i8mm", "sve", "sve2"),
)
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


def cpu_name() -> str:
    """Model name as the operating system gives it."""
    fields = _cpuinfo()
    for key in ("model name", "Model", "Hardware"):
        if key in fields:
            return fields[key]
    if sys.platform == "darwin":
        name = _output("sysctl", "-n", "machdep.cpu.brand_string")
        if name is not None:
            return name
    return platform.processor() or platform.machine()


def isa_flags() -> list[str]:
    """Instruction sets present, out of those that matter here; empty where unknown."""
    fields = _cpuinfo()
    present = set(fields.get("flags", fields.get("Features", "")).split())
    return [flag for flag in _ISA_FLAGS if flag in present]


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
    if _output("git", "-C", str(here.parent), "ls-files", "--error-unmatch", here.name) is None:
        return None
    return _output("git", "-C", str(here.parent), "describe", "--always", "--dirty", "--abbrev=12")


def _cpuinfo() -> dict[str, str]:
    if not _CPUINFO.exists():
        return {}
    fields: dict[str, str] = {}
    for line in _CPUINFO.read_text(errors="replace").splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    return fields


def _output(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
