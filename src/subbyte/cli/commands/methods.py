"""``subbyte methods``."""

from __future__ import annotations

from subbyte.cli import options
from subbyte.cli.console import OUT, Column, check_outputs, print_table, write_json
from subbyte.extras import compress_extra


def command(json: options.JsonFile = None) -> None:
    """List the ways of coding weights, their papers and their options.

    Example:

    ```
    subbyte methods
    ```
    """
    with compress_extra("subbyte methods"):
        from subbyte.methods import METHODS

    check_outputs(json)
    rows = [
        {
            "name": method.name,
            "paper": method.paper,
            "weights_become": method.becomes,
            "bits": method.bits,
            "options": {
                each.name: {"help": each.help, "values": each.values, "default": each.default}
                for each in method.options.settings().values()
            },
        }
        for method in METHODS.values()
    ]
    write_json(json, {"methods": rows})
    columns: dict[str, Column] = {"method": "word", "bits": "word"}
    columns |= dict.fromkeys(("weights become", "paper"), "text")
    print_table(None, columns, [[m.name, m.bits, m.becomes, m.paper] for m in METHODS.values()])
    for method in METHODS.values():
        OUT.print(f"\n{method.name}: {method.summary}", soft_wrap=True)
        for each in method.options.settings().values():
            said = f"  {each.name:<10} {each.help}: {each.values}"
            default = "" if each.default is None else f" ({str(each.default).lower()} if not given)"
            OUT.print(said + default, soft_wrap=True)
