"""Random networks through ``subbyte compress``: a file that is right, or one line.

python -m tests.random_graphs [--count N] [--seed S] [--keep FOLDER] [--only NAME ...]

Networks that are refused or at fault are printed, and their files kept in --keep; exit code 1 if
there is one at fault.
"""

from __future__ import annotations

import argparse
import itertools
import random
import re
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.random_graphs.grow import draw
from tests.random_graphs.trial import MODES, Outcome, compress


def attempt(rng: random.Random, folder: Path) -> Outcome | None:
    """One random network; None where ONNX Runtime has no use for it."""
    drawn = draw(rng)
    if drawn is None:
        return None
    mode = rng.choice(MODES)
    (folder / "options").write_text(" ".join(mode.options))
    return compress(drawn, folder, mode)


def _kind(line: str) -> str:
    """A message without what differs from network to network."""
    return re.sub(r"\[[^]]*\]|'[^']*'|\d+(\.\d+)?", "_", line)[:110]


def _one(name: str, folder: Path) -> Outcome | None:
    """One random network; its files stay where there is something to look at."""
    folder.mkdir(parents=True, exist_ok=True)
    outcome = attempt(random.Random(name), folder)
    if outcome is None or outcome.kind == "written":
        shutil.rmtree(folder)
    else:
        print(f"{name}: {outcome.kind}: {outcome.detail}", flush=True)
    return outcome


def main() -> int:
    """Run them, count what comes of them."""
    parser = argparse.ArgumentParser(prog="python -m tests.random_graphs", description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="networks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "random_graphs")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="networks of an earlier run")
    arguments = parser.parse_args()
    kinds: Counter[str] = Counter()
    refusals: Counter[str] = Counter()
    for name in arguments.only or (f"{arguments.seed}-{number}" for number in itertools.count()):
        outcome = _one(name, arguments.keep / name)
        if outcome is not None:
            kinds[outcome.kind] += 1
            if outcome.kind == "refused":
                refusals[_kind(outcome.detail)] += 1
        if kinds.total() >= arguments.count:
            break
    print(dict(kinds))
    for line, count in refusals.most_common():
        print(f"{count:6} {line}")
    return int(any(kinds[kind] for kind in kinds if kind not in ("written", "refused")))


if __name__ == "__main__":
    sys.exit(main())
