"""``subbyte compress`` in a process of its own: what came of it, how long and how much memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

USER_ERROR = 2
_ERROR = "error: "
# Kilobytes on Linux, bytes on macOS.
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


def compress(arguments: Sequence[str | Path], limit: float) -> dict[str, Any]:
    """``result``: written, refused (with its line), traceback, crashed (by a signal), timed out
    (``limit`` seconds); ``seconds`` and ``peak_mb`` of the process."""
    command = [sys.executable, "-m", "subbyte", "compress", *map(str, arguments)]
    started = time.monotonic()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
        status, usage, late = _wait(process, limit)
        said.seek(0)
        lines = said.read().decode(errors="replace").strip().splitlines()
    code = process.returncode = os.waitstatus_to_exitcode(status)
    result, line = outcome(code, lines)
    if late:
        result, line = "timed out", f"after {limit:.0f} s"
    return {
        "result": result,
        "line": line,
        "seconds": time.monotonic() - started,
        "peak_mb": usage.ru_maxrss * _RSS_UNIT / 1e6,
    }


def outcome(code: int, lines: Sequence[str]) -> tuple[str, str]:
    """Result and line of an exit code and of what stood on stderr (progress, then the error)."""
    last = lines[-1] if lines else f"exit code {code}"
    if code == 0:
        return "written", ""
    if code < 0:
        return "crashed", f"signal {-code}"
    if code == USER_ERROR and last.startswith(_ERROR):
        return "refused", last.removeprefix(_ERROR)
    return "traceback", last


def _wait(process: subprocess.Popen[bytes], limit: float) -> tuple[int, Any, bool]:
    """Status and usage of this child alone, and whether it had to be stopped."""
    end = time.monotonic() + limit
    late = False
    while True:
        found, status, usage = os.wait4(process.pid, os.WNOHANG)
        if found:
            return status, usage, late
        if not late and time.monotonic() > end:
            process.kill()
            late = True
        time.sleep(0.05)
