"""A method is closed: nobody outside its folder asks which one it is."""

from __future__ import annotations

from pathlib import Path

import pytest

import subbyte
from tests.methods.branches import branches

PACKAGE = Path(subbyte.__file__).parent


def test_no_branch_on_a_method_outside_methods() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}:{line}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.parts[len(PACKAGE.parts)] != "methods"
        for line in branches(path.read_text())
    ]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "if options.method == 'product': pass",
        "if method in ('scalar', 'ternary'): pass",
        "x = 1 if 'binary' != name else 2",
        "isinstance(options, ProductOptions)",
        "isinstance(options, (form.ScalarOptions, int))",
        "isinstance(options, TernaryOptions | CompositeOptions)",
        "node.op_type.startswith('Ternary')",
        "table = {'product': 1, 'scalar': 2}",
        "match method:\n    case 'composite': pass",
    ],
)
def test_the_check_finds_a_branch(source: str) -> None:
    assert list(branches(source))


@pytest.mark.parametrize(
    "source", ["options.method == other.method", "isinstance(x, int)", "METHODS['scalar']"]
)
def test_the_check_leaves_other_code_alone(source: str) -> None:
    assert not list(branches(source))
