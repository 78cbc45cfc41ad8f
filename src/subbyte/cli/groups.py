"""Groups of options: each declared once, as a dataclass, and taken whole by several commands."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

Command = Callable[..., None]


def grouped(command: Command) -> Command:
    """``command`` as Typer wants it: with the fields of its option groups as its own parameters.

    A group is a dataclass. Its fields are options, ``Annotated[type, typer.Option(...)]``, or
    groups again. They take the place of the group's parameter, so that help pages list them there.
    """
    signature = inspect.signature(command, eval_str=True)
    parameters = [flat for each in signature.parameters.values() for flat in _flat(each)]

    def flattened(**given: Any) -> None:
        command(**{name: _value(p, given) for name, p in signature.parameters.items()})

    flattened.__doc__, flattened.__module__ = command.__doc__, command.__module__
    flattened.__annotations__ = {each.name: each.annotation for each in parameters}
    flattened.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return flattened


def _flat(parameter: inspect.Parameter) -> list[inspect.Parameter]:
    """``parameter`` by keyword, or the options of the group that it is."""
    if not dataclasses.is_dataclass(parameter.annotation):
        return [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)]
    return [flat for each in _fields(parameter.annotation) for flat in _flat(each)]


def _fields(group: Any) -> list[inspect.Parameter]:
    types = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            each.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=(
                inspect.Parameter.empty if each.default is dataclasses.MISSING else each.default
            ),
            annotation=types[each.name],
        )
        for each in dataclasses.fields(group)
    ]


def _value(parameter: inspect.Parameter, given: Mapping[str, Any]) -> Any:
    """The value of ``parameter`` by the options that were ``given``; a group is made of them."""
    group = parameter.annotation
    if not dataclasses.is_dataclass(group):
        return given[parameter.name]
    made: Any = group
    return made(**{each.name: _value(each, given) for each in _fields(group)})
