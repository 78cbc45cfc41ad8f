"""Commands that are killed: at a moment, or before a given change to the files of a folder."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# The child of a process that has imported everything needs no seconds to start. Python tells an
# audit hook of every change to files before it is made: the child kills itself and its own
# processes when change number ``at`` in ``folder`` is due.
_PROGRAM = """
import contextlib, json, os, signal, sys
import torch
import subbyte.compression.exploration.explore, subbyte.report.inspection, subbyte.train
from subbyte.cli.app import app

torch.set_num_threads(1)
# What torch imports for an optimizer takes longer than the commands.
torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])
CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir"}
count = 0
opened = []

def watch(folder, at):
    def hook(event, arguments):
        global count
        writes = event == "open" and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR)
        if (writes or event in CHANGES) and str(arguments[0]).startswith(folder):
            if count == at:
                os.killpg(0, signal.SIGKILL)
            count += 1
            if writes:
                opened.append(str(arguments[0]))

    sys.addaudithook(hook)

def run(folder, at, log, arguments):
    os.setpgid(0, 0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
    os.dup2(1, 2)
    watch(folder, at)
    try:
        app(arguments, prog_name="subbyte")
    except SystemExit as end:
        print(json.dumps({"changes": count, "opened": opened}), flush=True)
        os._exit(end.code or 0)

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        run(*json.loads(line))
    with contextlib.suppress(OSError):
        os.setpgid(child, child)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Killer:
    """Runs commands on a folder, one at a time, each in a process group of its own."""

    def __init__(self, log: Path) -> None:
        self._log = log
        # Unbuffered: what has been said and not been read is seen by `select`.
        self._server = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )

    def run(
        self,
        folder: Path,
        arguments: Sequence[object],
        after: float | None = None,
        at: int = -1,
    ) -> bool:
        """Whether the command came to its end, and was not killed ``after`` seconds or before
        change number ``at``."""
        child = self.start(folder, arguments, at)
        if after is not None and not self._ends_within(after):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
        return self.wait()

    def start(self, folder: Path, arguments: Sequence[object], at: int = -1) -> int:
        """The id of the process, which is that of its group; `wait` has to follow."""
        order = [str(folder), at, str(self._log), [str(argument) for argument in arguments]]
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(order).encode() + b"\n")
        return self._read()

    def wait(self) -> bool:
        """Whether the command came to its end; it must not fail."""
        code = self._read()
        assert code in (0, -signal.SIGKILL), self._log.read_text()
        return code == 0

    def changes(self) -> int:
        """How many changes the last command made, which came to its end."""
        return int(self._said()["changes"])

    def opened(self) -> list[str]:
        """What Python opened for writing in the folder of the last command, which came to its
        end."""
        return list(self._said()["opened"])

    def _said(self) -> dict[str, Any]:
        return dict(json.loads(self._log.read_text().splitlines()[-1]))

    def close(self) -> None:
        """End the process that starts them."""
        self._server.communicate()

    def _read(self) -> int:
        assert self._server.stdout is not None
        return int(self._server.stdout.readline())

    def _ends_within(self, seconds: float) -> bool:
        return bool(select.select([self._server.stdout], [], [], seconds)[0])
