"""The output of the commands: tables, progress, JSON."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Literal, TextIO

from rich import progress as rich_progress
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from subbyte._version import __version__
from subbyte.cli.spelling import document_as_typed
from subbyte.files import write_atomic
from subbyte.outputs import check_apart, files_of
from subbyte.progress import Progress
from subbyte.report.page.text import byte_size as byte_size

_FILE_WIDTH = 200


def _width(stream: TextIO) -> int | None:
    """None: as wide as the terminal (or COLUMNS); a pipe or a file has no width to keep to."""
    return None if stream.isatty() or "COLUMNS" in os.environ else _FILE_WIDTH


OUT = Console(highlight=False, width=_width(sys.stdout))
ERRORS = Console(stderr=True, highlight=False)

Column = Literal["text", "word", "number"]


def check_outputs(
    *paths: Path | None,
    networks: Iterable[Path | None] = (),
    files: Iterable[Path | None] = (),
    arrays: Iterable[str | None] = (),
) -> None:
    """Raise now if one of the files ``paths`` could not be written later.

    A file must not take the place of another output or of an input: ``networks`` with their
    external data, ``files``, ``arrays`` (``FILE.npz:array``, ``NAME=FILE.npz``).

    Raises:
        OutputError, OptionError: as `check_apart`.
    """
    read = [*networks, *files, *files_of(arrays)]
    check_apart(paths, read)
    # A file that is not there yet is no network's data.
    if any(path is not None and os.path.exists(path) for path in paths):
        from subbyte.graph.load.model_file import data_files

        check_apart(
            paths, [part for net in networks if net is not None for part in data_files(net)]
        )


def write_json(path: Path | None, result: Mapping[str, Any]) -> None:
    """Write a command's result, if the user asked for it."""
    if path is not None:
        document = document_as_typed({"subbyte": __version__, **result})
        write_atomic(path, (json.dumps(document, indent=2, allow_nan=False) + "\n").encode())


def print_table(title: str | None, columns: Mapping[str, Column], rows: list[list[str]]) -> None:
    """Print rows under headings; a "text" may take several lines, a "word" may not."""
    if title is not None:
        OUT.print(title, soft_wrap=True)
    table = Table()
    for heading, kind in columns.items():
        table.add_column(
            heading,
            justify="right" if kind == "number" else "left",
            no_wrap=kind != "text",
            overflow="fold",
        )
    for row in rows:
        table.add_row(*row)
    OUT.print(table)


def stage_progress() -> AbstractContextManager[Progress]:
    """Progress on stderr, ``progress(stage, done, total, detail)``: on a terminal a bar per stage
    with the time left, else a line every few seconds."""
    return _bars() if ERRORS.is_terminal else _lines()


@contextmanager
def _bars() -> Iterator[Progress]:
    bars = rich_progress.Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[detail]}"),
        console=ERRORS,
    )
    tasks: dict[str, Any] = {}

    def progress(stage: str, done: int, total: int, detail: str) -> None:
        bars.start()
        if stage not in tasks:
            tasks[stage] = bars.add_task(stage, total=total, detail=detail)
        bars.update(tasks[stage], completed=done, total=total, detail=detail)

    try:
        yield progress
    except BaseException:
        # The error is all that there is to read then.
        bars.live.transient = True
        bars.live.stop()
        raise
    if tasks:
        bars.stop()


@contextmanager
def _lines() -> Iterator[Progress]:
    def write(line: str) -> None:
        ERRORS.print(line, markup=False, highlight=False, soft_wrap=True)

    lines, ended = ProgressLines(write), threading.Event()

    def beat() -> None:
        while not ended.wait(1):
            lines.tick()

    # A long step is to be seen too, during which nobody calls.
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield lines
    finally:
        ended.set()
        thread.join()


class ProgressLines:
    """Writes the last message as a line, at most once in ``every`` seconds of ``clock``.

    The time counts from the line before, or from the beginning: a short command writes nothing.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        every: float = 5.0,
    ) -> None:
        self._write, self._clock, self._every = write, clock, every
        self._began = self._written = clock()
        self._said = ""
        self._lock = threading.Lock()

    def __call__(self, stage: str, done: int, total: int, detail: str) -> None:
        """Remember the present step."""
        self._said = f"{stage} {done}/{total}" + (f", {detail}" if detail else "")
        self.tick()

    def tick(self) -> None:
        """Write it if it is time."""
        with self._lock:
            now = self._clock()
            if self._said and now - self._written >= self._every:
                self._written = now
                self._write(f"{now - self._began:.0f} s: {self._said}")
