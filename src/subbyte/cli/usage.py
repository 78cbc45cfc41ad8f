"""Command lines that cannot be read: said as all user errors are, in one line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any

import typer

from subbyte.errors import OptionError

USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]
"""Typer's base of errors of usage, which it has no public name for."""

_KINDS = {"integer": "a whole number", "number": "a number", "float": "a number"}
_CHOICES = re.compile(r"is not one of (.+?)\.?$")
_BEHIND = re.compile(r"\s*(?:[.;:,](?=\s|$)|\().*", re.DOTALL)  # the first clause of a help text
_COMMAND = re.compile(r"No such command '(.*?)'")
_EXTRA = re.compile(r"Got unexpected extra argument\S* \((.*)\)")


def usage_error(error: Any, program: Any, words: Sequence[str]) -> OptionError:
    """``error``, which is a `USAGE_ERROR` of ``program`` about ``words``, as one of ours."""
    command = next((program.commands[word] for word in words if word in program.commands), None)
    where = None if error.ctx is None else error.ctx.command_path
    if hasattr(error, "param_type"):
        return OptionError(
            f"{_name(error.param)} is missing", where=where, expected=_form(error.param)
        )
    if hasattr(error, "param_hint"):
        return _bad_value(error, words)
    if hasattr(error, "possibilities"):
        return _no_such_option(error, command, words, where)
    if hasattr(error, "option_name"):
        return _no_value(error, command, words)
    if unknown := _COMMAND.match(error.message):
        return _unknown("command", unknown[1], list(program.commands), where)
    if extra := _EXTRA.match(error.message):
        takes = [_name(each) for each in error.ctx.command.params if not _dashed(each)]
        expected = " ".join([*takes, "and options"]) if takes else "options alone"
        return OptionError("unexpected argument", where=where, expected=expected, got=extra[1])
    said = error.message.rstrip(".")
    return OptionError(said[:1].lower() + said[1:], where=where, expected=_help(where))


def _bad_value(error: Any, words: Sequence[str]) -> OptionError:
    """A value that an option does not take."""
    said = f"cannot read {_name(error.param)}"
    got = None if error.param is None else _said(error.param.opts, words)
    choices = _CHOICES.search(error.message)
    if choices is not None:
        names = [name.strip("' ") for name in choices[1].split(",")]
        return OptionError(said, expected=_either(names), got=got)
    kind = next((kind for word, kind in _KINDS.items() if word in error.message), error.message)
    return OptionError(said, expected=kind, got=got)


def _no_value(error: Any, command: Any, words: Sequence[str]) -> OptionError:
    """An option without its value, or a value for a switch."""
    option = error.option_name
    param = (
        next((each for each in command.params if option in each.opts), None) if command else None
    )
    if param is not None and getattr(param, "is_flag", False):
        said = _said(param.opts, words)
        return OptionError(f"{option} takes no value", expected=f"{option} alone", got=said)
    return OptionError(f"{option} needs a value", expected=_form(param))


def _no_such_option(
    error: Any, command: Any, words: Sequence[str], where: str | None
) -> OptionError:
    """An option that nobody has, or one before the command that has it."""
    option = str(error.option_name)
    known = [name for each in error.ctx.command.params for name in each.opts]
    if command is not None and command is not error.ctx.command:
        theirs = [name for each in command.params for name in each.opts]
        if option in theirs:
            expected = f"{option} behind the command, as in subbyte {command.name} ... {option}"
            return OptionError("option before the command", where=where, expected=expected)
    return _unknown("option", _with_one_dash(option, known, words) or option, known, where)


def _with_one_dash(option: str, known: Sequence[str], words: Sequence[str]) -> str | None:
    """``-bits`` for ``-b`` where that is how the user wrote ``--bits``."""
    written = (word.partition("=")[0] for word in words if word.startswith(option))
    return next((word for word in written if f"-{word}" in known), None)


def _unknown(kind: str, given: str, known: Sequence[str], where: str | None) -> OptionError:
    close = difflib.get_close_matches(given, known, 3, 0.7)
    expected = _either(close) if close else _help(where)
    return OptionError(f"no such {kind}", where=where, expected=expected, got=given)


def _form(param: Any) -> str | None:
    """``--output OUT.onnx (where to write it)``."""
    if param is None:
        return None
    form = param.metavar or ""
    said = _BEHIND.sub("", getattr(param, "help", None) or "")
    shown = form if _name(param) == form else f"{_name(param)} {form}".strip()
    return f"{shown} ({said[:1].lower()}{said[1:]})" if said else shown


def _name(param: Any) -> str:
    """``--output``, or ``IN.onnx`` for a parameter without dashes."""
    if param is None:
        return "the command line"
    return max(_dashed(param), key=len, default=param.metavar or str(param.name))


def _dashed(param: Any) -> list[str]:
    return [name for name in param.opts if name.startswith("-")]


def _said(options: Sequence[str], words: Sequence[str]) -> str | None:
    """The value that ``words`` have last for an option of these names."""
    found = None
    for n, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name in options:
            found = value if equals else next(iter(words[n + 1 : n + 2]), None)
    return found


def _either(names: Sequence[str]) -> str:
    return " or ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


def _help(where: str | None) -> str:
    return f"one that `{where or 'subbyte'} --help` lists"
