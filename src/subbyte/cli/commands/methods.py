"""``subbyte methods``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from subbyte.cli import options
from subbyte.cli.console import OUT, Column, check_outputs, print_table, write_json
from subbyte.extras import compress_extra

if TYPE_CHECKING:
    from subbyte.methods import Method


def command(json: options.JsonFile = None) -> None:
    """List the ways of coding weights, their papers and their options.

    The options are keys of a plan file, and of `--set KEY=VALUE` of compress, plan and explore.

    Example:

    ```
    subbyte methods
    ```
    """
    with compress_extra("subbyte methods"):
        from subbyte.methods import METHODS

    check_outputs(json)
    write_json(json, {"methods": [_document(method) for method in METHODS.values()]})
    columns: dict[str, Column] = {"method": "word", "bits": "word"}
    columns |= dict.fromkeys(("weights become", "paper"), "text")
    print_table(None, columns, [[m.name, m.bits, m.becomes, m.paper] for m in METHODS.values()])
    for method in METHODS.values():
        OUT.print(f"\n{method.name}: {method.summary}", soft_wrap=True)
        for fact, said in _facts(method).items():
            OUT.print(f"  {fact.replace('_', ' ')}: {said}", soft_wrap=True)
        for each in method.options.settings().values():
            default = "" if each.default is None else f"; in a plan {str(each.default).lower()}"
            OUT.print(f"  {each.name:<10} {each.help} ({each.values}{default})", soft_wrap=True)


def _facts(method: Method) -> dict[str, str]:
    """The facts that hold where nothing else is said."""
    from subbyte.methods import plain_options

    return {
        "without_a_budget": plain_options(method).describe(),
        "tune_trains": "the scales" if method.trainable is None else "scales and codes' parts",
        "tables_read_by_rows": "scalar grids" if method.row_nodes is None else "this method",
    }


def _document(method: Method) -> dict[str, Any]:
    return {
        "name": method.name,
        "paper": method.paper,
        "weights_become": method.becomes,
        "bits": method.bits,
        **_facts(method),
        "options": {
            each.name: {"help": each.help, "values": each.values, "default": each.default}
            for each in method.options.settings().values()
        },
    }
