"""Writes the tables of options in docs/methods: they are made from the methods' own fields.

python -m benchmarks.pages.option_tables
"""

from __future__ import annotations

from pathlib import Path

from subbyte.methods import METHODS

PAGES = Path(__file__).parents[2] / "docs" / "methods"
BEGIN, END = "<!-- options -->\n", "<!-- /options -->\n"


def table(method: str) -> str:
    """The options of a method as a Markdown table."""
    rows = ["| option | values | in a plan if left out | meaning |", "| --- | --- | --- | --- |"]
    for each in METHODS[method].options.settings().values():
        default = "-" if each.default is None else f"{each.default}".lower()
        rows.append(f"| `{each.name}` | {each.values} | {default} | {each.help} |")
    return "\n".join(rows) + "\n"


def page(method: str) -> str:
    """The page of a method with its table as it has to be."""
    text = (PAGES / f"{method}.md").read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return before + BEGIN + table(method) + END + after


if __name__ == "__main__":
    for name in METHODS:
        (PAGES / f"{name}.md").write_text(page(name))
