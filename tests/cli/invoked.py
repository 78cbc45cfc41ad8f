"""Commands run inside the process of the tests."""

from __future__ import annotations

import re

from typer.testing import CliRunner, Result

from subbyte.cli.app import app

WIDE = {"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env=WIDE)


def fails(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    # A machine that is busy takes long enough for progress to be told.
    lines = [line for line in result.stderr.splitlines() if not re.match(r"\d+ s: ", line)]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    return lines[0]
