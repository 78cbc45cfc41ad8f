"""Records of the benchmarks: read in the order of the catalog, and where they were made."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks.networks.catalog import NETWORKS

Record = dict[str, Any]


def read_records(
    folder: Path, within: Callable[[Record], Any] = lambda record: record["network"]
) -> list[Record]:
    """The JSON files of ``folder``, in the order of the catalog, of a network by ``within``."""
    order = list(NETWORKS)
    records = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    return sorted(records, key=lambda record: (order.index(record["network"]), within(record)))


def machine(record: Record, *conditions: str) -> str:
    """CPU, ``conditions`` and versions, as a sentence."""
    system = record["system"]
    versions = (f"{name} {version}" for name, version in system["versions"].items())
    return ", ".join([system["cpu"], *conditions, *versions]) + "."


def machines(records: Iterable[Record]) -> list[str]:
    """A line for every machine and set of versions."""
    return sorted({machine(record) for record in records})
