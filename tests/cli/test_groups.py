"""Groups of options: a command has all their fields, and commands that share them agree."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from subbyte.cli.app import app
from subbyte.cli.groups import grouped

CODERS = ("compress", "plan", "explore")
OWN = {
    # Where the result goes, with its own name for it.
    "output": CODERS,
    # A plan is neither carried out nor tuned; a plan file is no wish for another plan.
    "activations": ("compress", "explore"),
    "tune": ("compress", "explore"),
    "plan": ("compress",),
    "tune_linear": ("compress",),
    "inline": ("compress",),
    "work": ("compress",),
    # One budget, or as many as the trade-off has points, by bits alone.
    "bits": ("compress", "plan"),
    "size": ("compress", "plan"),
    "max_drop": ("compress", "plan"),
    "timings": ("compress", "plan"),
    "trials": ("compress", "plan"),
    "budgets": ("explore",),
    # A limit of a plan; of a trade-off, whether to measure it.
    "latency": CODERS,
    "json": ("compress", "plan"),
    # How the points are made.
    "jobs": ("explore",),
    "executor": ("explore",),
    "ray_address": ("explore",),
}
"""Options that not all three commands have, or that each explains in its own way."""
OWN_WORDS = {"output", "latency"}
PARTS = (
    *("opts", "help", "metavar", "default", "multiple", "required", "show_default"),
    "rich_help_panel",
)


@dataclass(frozen=True)
class Inner:
    """A group inside a group."""

    depth: Annotated[int, typer.Option(help="How deep.")] = 3


@dataclass(frozen=True, kw_only=True)
class Outer:
    """A group with an option that has to be given."""

    name: Annotated[str, typer.Option("--called", help="The name.")]
    inner: Inner
    files: Annotated[list[Path] | None, typer.Option("--file", help="Files.")] = None


def program(seen: list[Any]) -> typer.Typer:
    @grouped
    def command(
        *,
        where: Annotated[str, typer.Argument(help="Where.")],
        outer: Outer,
        fast: Annotated[bool, typer.Option("--fast", help="Fast.")] = False,
    ) -> None:
        """Do it."""
        seen.extend([where, outer, fast])

    made = typer.Typer()
    made.command()(command)
    return made


def test_a_group_is_made_of_its_options() -> None:
    seen: list[Any] = []
    given = ["here", "--called", "a", "--file", "x", "--file", "y", "--depth", "5", "--fast"]
    assert CliRunner().invoke(program(seen), given).exit_code == 0
    assert seen == ["here", Outer(name="a", inner=Inner(5), files=[Path("x"), Path("y")]), True]


def test_defaults_are_the_fields_own() -> None:
    seen: list[Any] = []
    assert CliRunner().invoke(program(seen), ["here", "--called", "a"]).exit_code == 0
    assert seen == ["here", Outer(name="a", inner=Inner(3), files=None), False]


def test_an_option_without_a_default_has_to_be_given() -> None:
    result = CliRunner().invoke(program([]), ["here"])
    assert result.exit_code == 2
    assert "--called" in result.output


def test_help_has_the_options_where_the_group_stands() -> None:
    page = CliRunner().invoke(program([]), ["--help"], env={"COLUMNS": "100"}).output
    assert "Do it." in page
    places = [page.index(option) for option in ("--called", "--depth", "--file", "--fast")]
    assert places == sorted(places)


def options_of(command: str) -> dict[str, Any]:
    """The options of a command of the program, by the name of the parameter."""
    group: Any = typer.main.get_command(app)
    return {each.name: each for each in group.commands[command].params}


@pytest.mark.parametrize("command", CODERS[1:])
def test_commands_that_code_have_the_same_options(command: str) -> None:
    first, other = options_of(CODERS[0]), options_of(command)
    assert first.keys() - OWN.keys() == other.keys() - OWN.keys()
    for name in (first.keys() & other.keys()) - OWN_WORDS:
        ours, theirs = first[name], other[name]
        for part in PARTS:
            assert getattr(ours, part, None) == getattr(theirs, part, None), (name, part)


@pytest.mark.parametrize("command", CODERS)
def test_options_of_some_commands_are_where_they_are_said_to_be(command: str) -> None:
    found = options_of(command)
    assert {name for name in OWN if name in found} == {n for n, of in OWN.items() if command in of}
