"""Finds branches on a method's name, type or options class in Python source."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from subbyte.methods import METHODS

NAMES = frozenset(METHODS)
CLASSES = frozenset(method.options.__name__ for method in METHODS.values())
TITLES = frozenset(name.title() for name in METHODS)


def branches(source: str) -> Iterator[int]:
    """The lines of ``source`` that ask which method it is: comparisons with a method's name, in
    `match` too; `isinstance` of its options; prefixes of its nodes; tables by method."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare | ast.match_case):
            found = bool(_words(node if isinstance(node, ast.Compare) else node.pattern) & NAMES)
        elif isinstance(node, ast.Dict):
            found = len({w for key in node.keys if key for w in _words(key)} & NAMES) > 1
        elif isinstance(node, ast.Call):
            found = _asks(node)
        else:
            continue
        if found:
            yield node.pattern.lineno if isinstance(node, ast.match_case) else node.lineno


def _asks(call: ast.Call) -> bool:
    name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
    names = {n.id for n in ast.walk(call) if isinstance(n, ast.Name)}
    names |= {n.attr for n in ast.walk(call) if isinstance(n, ast.Attribute)}
    if name in ("isinstance", "issubclass"):
        return bool(names & CLASSES)
    return name in ("startswith", "removeprefix") and bool(_words(call) & TITLES)


def _words(node: ast.AST) -> set[str]:
    found = (n.value for n in ast.walk(node) if isinstance(n, ast.Constant))
    return {value for value in found if isinstance(value, str)}
