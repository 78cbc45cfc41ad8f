"""Quantities that a user may limit, and how such a limit is written."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from subbyte.errors import OptionError

Kind = Literal["bits", "size", "latency", "max_drop"]

LEAST_BITS = 0.1
MOST_BITS = 8.0
_SIZES = {"": 1, "B": 1, "KB": 1000, "MB": 10**6, "GB": 10**9}
_SIZES |= {"KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}
_TIMES = {"": 1.0, "US": 1e-3, "MS": 1.0, "S": 1e3}
_SHARES = {"": 1.0, "%": 1.0}


@dataclass(frozen=True)
class Budget:
    """One limit: ``bits`` per weight over all layers, ``size`` of the file in bytes,
    ``latency`` of one sample on one thread in milliseconds, or ``max_drop``: the accuracy that
    may be lost, in percentage points."""

    kind: Kind
    value: float

    def __post_init__(self) -> None:
        value = self.value
        if self.kind == "bits" and not LEAST_BITS <= value <= MOST_BITS:
            raise OptionError(
                "`bits` out of range", expected=f"{LEAST_BITS} to {MOST_BITS:g}", got=value
            )
        if self.kind == "max_drop" and not 0 < value < 100:
            raise OptionError(
                f"{self.option} out of range", expected="above 0, below 100 (points)", got=value
            )
        if not (math.isfinite(value) and value > 0):
            raise OptionError(f"{self.option} out of range", expected="above 0", got=value)

    @property
    def option(self) -> str:
        """Its name in a message."""
        return f"`{self.kind}`"

    def __str__(self) -> str:
        if self.kind == "size":
            return f"a file of at most {self.value:.0f} bytes"
        return {
            "bits": f"at most {self.value:g} bits per weight",
            "latency": f"at most {self.value:g} ms a sample",
            "max_drop": f"at most {self.value:g} points of accuracy lost",
        }[self.kind]


def parse_size(text: str) -> int:
    """Bytes of ``2MB``, ``500 kB`` or ``1.5MiB``; a bare number is bytes."""
    return int(_parse("`size`", text, _SIZES, "a size such as 2MB"))


def parse_latency(text: str) -> float:
    """Milliseconds of ``3ms``, ``250us`` or ``0.1s``; a bare number is milliseconds."""
    return _parse("`latency`", text, _TIMES, "a time such as 3ms")


def parse_drop(text: str) -> float:
    """Percentage points of ``0.5`` or ``0.5%``."""
    return _parse("`max_drop`", text, _SHARES, "percentage points such as 0.5")


def _parse(option: str, text: str, units: dict[str, float] | dict[str, int], wanted: str) -> float:
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([A-Za-z%]*)\s*", text)
    if found is None or found[2].upper() not in units:
        raise OptionError(f"cannot read {option}", expected=wanted, got=text)
    return float(found[1]) * units[found[2].upper()]
