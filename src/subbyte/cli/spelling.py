"""Messages of the library as the command line says them: options with dashes.

The library names an option between backticks, as Python has it. This is the only place that knows
how the command line spells it:

    `max_drop`                  --max-drop
    `tune_linear=0`             --tune-linear 0
    `set_inputs={'rate': 16}`   --set-input rate=16
    `images.size=(480, 640)`    --image-size 480x640
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_NAMES = {
    "batch_axes": "batch-axis",
    "images.size": "image-size",
    "preprocessing": "preset",
    "scale": "input-scale",
    "set_inputs": "set-input",
    "shapes": "shape",
}
"""Options that the command line calls by another name."""

_SENTENCES = ("advice", "left_out", "reason", "warnings")
_OPTION = re.compile(r"`([a-z_.0-9]+)(?:=([^`]+))?`")
_PAIR = re.compile(r"\{'(.+)': (.+)\}")


def as_typed(text: str) -> str:
    """``text`` with its options as a user of the command line types them."""
    return _OPTION.sub(lambda found: _typed(found[1], found[2]), text)


def document_as_typed(document: Any) -> Any:
    """A JSON document whose sentences for users (`_SENTENCES`) are `as_typed`."""
    if isinstance(document, Mapping):
        return {
            key: _all_as_typed(value) if key in _SENTENCES else document_as_typed(value)
            for key, value in document.items()
        }
    return [*map(document_as_typed, document)] if isinstance(document, list) else document


def _all_as_typed(value: Any) -> Any:
    if isinstance(value, str):
        return as_typed(value)
    return [*map(_all_as_typed, value)] if isinstance(value, list) else document_as_typed(value)


def _typed(name: str, value: str | None) -> str:
    option = "--" + _NAMES.get(name, name.replace("_", "-"))
    return option if value is None else f"{option} {_value(value)}"


def _value(text: str) -> str:
    pair = _PAIR.fullmatch(text)
    if pair is not None:
        return f"{pair[1]}={_value(pair[2])}"
    if text.startswith("("):
        return text[1:-1].replace(", ", "x")
    return text
