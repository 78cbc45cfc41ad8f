"""Compress networks of the data folder through the command line; one JSON file per run.

python -m benchmarks.networks                                  all networks, at 3 bits
python -m benchmarks.networks resnet20 --bits 1.45 2 2.5       one network, several sizes
python -m benchmarks.networks resnet20 --bits 2 --options "--tune 2000" --samples 4000
python -m benchmarks.networks --float                          float metrics against the
                                                               published ones, no record
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

from benchmarks.networks.catalog import METRICS, NETWORKS, NetworkRow
from benchmarks.networks.datasets import everything
from benchmarks.networks.measure import metric
from benchmarks.networks.record import RESULTS, Setting, measure

DATA = Path(os.environ.get("SUBBYTE_DATA", Path(__file__).parents[3] / "shared" / "data"))

# Published figures are rounded to two decimals.
_ROUNDING = 0.006


def main() -> int:
    """Run what the command line asks for."""
    arguments = parse(_parser())
    rows = [NETWORKS[name] for name in arguments.networks or NETWORKS]
    if arguments.float:
        return max(_check_float(row) for row in rows)
    for row in rows:
        for bits in arguments.bits:
            setting = Setting(bits, tuple(shlex.split(arguments.options)), arguments.samples)
            _run(row, setting, arguments.keep)
    return 0


def network_parser(
    program: str, description: str | None, names: Collection[str] = tuple(NETWORKS)
) -> argparse.ArgumentParser:
    """The command line of a benchmark that is run on networks of the data folder."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{program}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "networks", nargs="*", metavar="NAME", help=f"out of: {', '.join(names)} (all)"
    )
    return parser


def parse(
    parser: argparse.ArgumentParser,
    names: Collection[str] = tuple(NETWORKS),
    data: Path = DATA,
    given: Sequence[str] | None = None,
) -> argparse.Namespace:
    """The arguments; networks that are none of ``names``, or no ``data``, end the program.

    ``given``: the words of the command line, None: the program's own.
    """
    arguments = parser.parse_args(given)
    unknown = [name for name in arguments.networks if name not in names]
    if unknown:
        parser.error(f"no such network: {', '.join(unknown)}; there are {', '.join(names)}")
    if not data.is_dir():
        parser.error(f"no data folder at {data}: set SUBBYTE_DATA")
    return arguments


def _parser() -> argparse.ArgumentParser:
    parser = network_parser("networks", __doc__)
    parser.add_argument("--bits", nargs="+", type=float, default=[3.0], metavar="B")
    parser.add_argument("--samples", type=int, help="calibration samples (the network's own)")
    parser.add_argument("--options", default="", help="more options for `subbyte compress`")
    parser.add_argument("--keep", type=Path, help="folder to keep the compressed files in")
    parser.add_argument("--float", action="store_true", help="only check the float metrics")
    return parser


def _run(row: NetworkRow, setting: Setting, keep: Path | None) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        record = measure(row, setting, DATA, folder)
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{record['id']}.json"
    path.write_text(json.dumps(record, indent=2) + "\n")
    compressed = record["compressed"]
    print(
        f"{record['id']}: {record['metric']} {record['float']['metric']:.2f} -> "
        f"{compressed['metric']:.2f} at {compressed['bits_per_weight']:.2f} bits per weight, "
        f"{record['seconds']:.0f} s"
    )


def _check_float(row: NetworkRow) -> int:
    """Print the float metric on all test samples; 1 if it is not the published one."""
    value = metric(row, DATA / row.model, row.load(DATA, everything))
    same = abs(value - row.published) < _ROUNDING
    verdict = "as published" if same else f"published: {row.published}"
    print(f"{row.name}: {METRICS[row.task]} {value:.2f}, {verdict}", flush=True)
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
