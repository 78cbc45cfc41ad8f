"""FFN on the CIFAR-10 networks: ternary factors without labels, and tuned.

python -m benchmarks.papers.ffn                    both ResNets
python -m benchmarks.papers.ffn densenet40         another network
python -m benchmarks.papers.ffn resnet20 --again   measure anew what is recorded already

Each run is one of `benchmarks.networks`, through the command line, with its record in
`benchmarks/results/networks/`; a run that has its record is not made again. All bits are
counted: factors, scales, layers kept at 8 bits. Tested on the lossless test images.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.networks.__main__ import DATA
from benchmarks.networks.catalog import NETWORKS
from benchmarks.networks.record import RESULTS, Setting, measure

RESULT = Path(__file__).parents[1] / "results" / "papers" / "ffn.json"
METHOD = ("--method", "ternary")
SETTINGS = (
    Setting(2.95, METHOD),
    Setting(2.0, METHOD),
    Setting(2.0, (*METHOD, "--tune", "300"), samples=4000),
)
CHOICES = ("resnet20", "resnet32", "densenet40")
DEFAULT = ("resnet20", "resnet32")


def recorded(network: str, setting: Setting, again: bool) -> dict[str, Any]:
    """The record of one run, which is made if there is none."""
    path = RESULTS / f"{network}-{setting.label()}.json"
    if again or not path.exists():
        with tempfile.TemporaryDirectory() as scratch:
            record = measure(NETWORKS[network], setting, DATA, Path(scratch))
        path.write_text(json.dumps(record, indent=2) + "\n")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def row(record: dict[str, Any]) -> dict[str, Any]:
    """What the page shows of a run."""
    return {
        "id": record["id"],
        "network": record["network"],
        "samples": record["calibration"]["samples"],
        "tuned": "--tune" in record["options"],
        "float": record["float"]["metric"],
        "top1": record["compressed"]["metric"],
        "bits_per_weight": record["compressed"]["bits_per_weight"],
    }


def write(found: list[dict[str, Any]], path: Path = RESULT) -> None:
    """Put the runs in their places in the result at ``path``."""
    held = json.loads(path.read_text())["runs"] if path.exists() else []
    rows = {each["id"]: each for each in held} | {each["id"]: each for each in found}
    order = [f"{name}-{setting.label()}" for name in CHOICES for setting in SETTINGS]
    path.parent.mkdir(parents=True, exist_ok=True)
    runs = [rows[name] for name in order if name in rows]
    path.write_text(json.dumps({"runs": runs}, indent=2) + "\n")


def main() -> int:
    """Measure what is asked for and has no record yet."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.papers.ffn",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("networks", nargs="*", metavar="NAME", help=f"of: {', '.join(CHOICES)}")
    parser.add_argument("--again", action="store_true", help="also what has its record")
    arguments = parser.parse_args()
    wanted = arguments.networks or DEFAULT
    if unknown := set(wanted) - set(CHOICES):
        parser.error(f"no such network: {', '.join(sorted(unknown))}")
    if not DATA.is_dir():
        print(f"no data folder at {DATA}: set SUBBYTE_DATA", file=sys.stderr)
        return 2
    for name in wanted:
        for setting in SETTINGS:
            found = row(recorded(name, setting, arguments.again))
            write([found])
            print(f"{found['id']}: {found['float']:.2f} -> {found['top1']:.2f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
