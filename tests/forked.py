"""Programs that start at once: children of a process that has imported what they need.

python -m tests.forked SOCKET

listens at SOCKET. The programs of `forked_programs` hand over their arguments, folder,
environment and standard streams; a child does the work, and they end as it does.
"""

from __future__ import annotations

import gc
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).parents[1]

# Without `site`, which takes longer than all of this.
_PROGRAM = """#!{python} -SE
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    order = json.dumps([{name!r}, sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [len(order).to_bytes(8, "big")], [0, 1, 2])
    server.sendall(order)
    sys.exit(int.from_bytes(server.recv(1), "big"))
"""


@contextmanager
def forked_programs(folder: Path) -> Iterator[None]:
    """Within it, ``subbyte`` and ``python`` in ``folder`` start at once. That python runs the
    program that it reads from its standard input."""
    address = folder / "socket"
    for name in ("subbyte", "python"):
        text = _PROGRAM.format(python=sys.executable, address=str(address), name=name)
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    command = [sys.executable, "-m", __name__, str(address)]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == b"listening\n"
        yield
    finally:
        server.terminate()
        server.communicate()


def _serve(address: str) -> NoReturn:
    import torch

    import subbyte.compression.api
    import subbyte.report.inspection  # noqa: F401
    from subbyte.cli import app  # noqa: F401

    torch.set_num_threads(1)
    # What torch imports for an optimizer takes longer than most commands.
    torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])
    # Children neither look through the modules for garbage nor copy them for it.
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        print("listening", flush=True)
        while True:
            connection, _ = listening.accept()
            with connection:
                size, streams, *_ = socket.recv_fds(connection, 8, 3)
                order = connection.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL)
                child = os.fork()
                if child == 0:
                    _run(streams, *json.loads(order))
                for stream in streams:
                    os.close(stream)
                code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                connection.sendall((code % 256).to_bytes(1, "big"))


def _run(
    streams: Sequence[int],
    name: str,
    arguments: Sequence[str],
    folder: str,
    environment: Mapping[str, str],
) -> NoReturn:
    """Do what the program ``name`` does, and end as it does."""
    from subbyte.cli import main

    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [name, *arguments]
    if name == "subbyte":
        main()
    else:
        exec(compile(sys.stdin.read(), "<stdin>", "exec"), {"__name__": "__main__"})
    sys.exit(0)


if __name__ == "__main__":
    _serve(sys.argv[1])
