"""``subbyte methods``."""

from __future__ import annotations

from subbyte.cli import options
from subbyte.cli.console import check_outputs, print_table, write_json
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
            "options": dict(method.options),
        }
        for method in METHODS.values()
    ]
    write_json(json, {"methods": rows})
    print_table(
        None,
        dict.fromkeys(("method", "paper", "weights become", "bits", "options"), "left"),
        [
            [
                method.name,
                method.paper,
                method.becomes,
                method.bits,
                "\n".join(f"{name}: {text}" for name, text in method.options.items()),
            ]
            for method in METHODS.values()
        ],
    )
