"""Values of inputs that are the same for all samples: ``NAME=VALUE``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from subbyte.data.arrays import read_array, split_reference, to_array
from subbyte.data.fitting import Part, fit_fixed
from subbyte.data.specs import InputSpec, check_name, check_once
from subbyte.errors import OptionError

OPTION = "`set_inputs`"
SetInputs = Mapping[str, ArrayLike] | Sequence[str]
_WORDS = {"true": True, "false": False}


def given_parts(given: SetInputs | None, specs: Sequence[InputSpec]) -> dict[str, Part]:
    """The parts of the inputs that ``given`` sets: a mapping from names to values, or
    texts ``NAME=VALUE`` (`read_value`).

    Raises:
        OptionError: no such input, one that is set twice, a value that cannot be read.
        CalibrationError: a file that cannot be read, a value that does not fit.
    """
    if given is None:
        return {}
    if isinstance(given, str) or not isinstance(given, Mapping):
        texts = [given] if isinstance(given, str) else given
        pairs = [_split(text, specs) for text in texts]
        check_once([name for name, _ in pairs], OPTION)
        values: Mapping[str, Any] = {name: read_value(text) for name, text in pairs}
    else:
        values = given
    by_name = {spec.name: spec for spec in specs}
    parts = {}
    for name, value in values.items():
        check_name(name, specs, OPTION)
        file = isinstance(value, str | os.PathLike)
        where = f"{OPTION} {name}"
        array = read_value(os.fspath(value)) if file else to_array(value, where)
        parts[name] = fit_fixed(array, by_name[name], where)
    return parts


def read_value(text: str) -> NDArray[Any]:
    """The array of ``16000``, ``1,2,3``, ``0.5``, ``true``, ``FILE.npy`` or
    ``FILE.npz:array``.

    Raises:
        OptionError: none of these.
        CalibrationError: a file that cannot be read.
    """
    try:
        numbers = [_number(part.strip()) for part in text.split(",")]
        array = np.array(numbers if "," in text else numbers[0])
        if array.dtype.kind in "biuf":
            return array
    except ValueError:
        pass
    path, name = split_reference(text)
    if os.path.isfile(path) or path.suffix.lower() in (".npy", ".npz"):
        return read_array(Path(path), name)
    raise OptionError(
        "value of an input cannot be read",
        where=OPTION,
        expected="numbers (1 or 1,2,3), FILE.npy or FILE.npz:array",
        got=text,
    )


def _number(text: str) -> float | int | bool:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return int(text)
    except ValueError:
        return float(text)


def _split(text: str, specs: Sequence[InputSpec]) -> tuple[str, str]:
    """NAME and VALUE of ``NAME=VALUE``; a name may hold '=' itself."""
    names = [spec.name for spec in specs if text.startswith(f"{spec.name}=")]
    if names:
        name = max(names, key=len)
        return name, text[len(name) + 1 :]
    name, equals, _ = text.partition("=")
    if not equals:
        raise OptionError("no value for an input", where=OPTION, expected="NAME=VALUE", got=text)
    check_name(name, specs, OPTION)
    raise AssertionError(name)
