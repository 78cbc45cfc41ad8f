"""The table of methods: one row each."""

from __future__ import annotations

from subbyte.methods import binary, composite, product, scalar, ternary
from subbyte.methods.base import Method

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        product.METHOD,
        scalar.METHOD,
        ternary.METHOD,
        composite.METHOD,
        binary.METHOD,
    )
}


def method_of(op_type: str) -> tuple[str, str] | None:
    """Method and variant of a node type that begins with their names; None if none does."""
    name = next((name for name in METHODS if op_type.startswith(name.title())), None)
    if name is None:
        return None
    rest = op_type.removeprefix(name.title())
    return name, max((v for v in METHODS[name].variants if rest.startswith(v)), key=len, default="")
