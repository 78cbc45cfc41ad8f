"""The CPU on which a measurement was made."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
# The instruction sets that int8 and look-up kernels care about, as Linux spells them.
_ISA_FLAGS = (
    *("ssse3", "avx", "fma", "avx2", "f16c", "avx_vnni"),
    *("avx512f", "avx512bw", "avx512vl", "avx512_vbmi", "avx512_vnni", "avx512_bf16"),
    *("amx_tile", "amx_int8"),
    *("asimd", "asimddp", "i8mm", "sve", "sve2"),
)


def cpu_name(cpuinfo: Path = CPUINFO) -> str:
    """Model name as the operating system gives it, on Linux in the file ``cpuinfo``."""
    fields = _cpuinfo(cpuinfo)
    for key in ("model name", "Model", "Hardware"):
        if key in fields:
            return fields[key]
    if sys.platform == "darwin":
        name = program_output("sysctl", "-n", "machdep.cpu.brand_string")
        if name is not None:
            return name
    return platform.processor() or platform.machine()


def isa_flags(cpuinfo: Path = CPUINFO) -> list[str]:
    """The instruction sets present, out of the ones that matter here; empty where unknown."""
    fields = _cpuinfo(cpuinfo)
    present = set(fields.get("flags", fields.get("Features", "")).split())
    return [flag for flag in _ISA_FLAGS if flag in present]


def program_output(*command: str) -> str | None:
    """The output of a program, stripped; None if it fails or prints nothing."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def _cpuinfo(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    fields: dict[str, str] = {}
    for line in path.read_text(errors="replace").splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    return fields
