"""Random networks through ``subbyte compress``: a file that is right, or one line.

python -m tests.random_graphs [--count N] [--seed S] [--keep FOLDER]

Networks whose number is at fault are kept in --keep, and printed; exit code 1 if there is one.
"""

from __future__ import annotations

import argparse
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


def main() -> int:
    """Run them, count what comes of them."""
    parser = argparse.ArgumentParser(prog="python -m tests.random_graphs", description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="networks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "random_graphs")
    arguments = parser.parse_args()
    kinds: Counter[str] = Counter()
    refusals: Counter[str] = Counter()
    number = 0
    while sum(kinds.values()) < arguments.count:
        name = f"{arguments.seed}-{number}"
        folder = arguments.keep / name
        folder.mkdir(parents=True, exist_ok=True)
        outcome = attempt(random.Random(name), folder)
        number += 1
        if outcome is not None:
            kinds[outcome.kind] += 1
            if outcome.kind == "refused":
                refusals[_kind(outcome.detail)] += 1
                print(f"{name}: {outcome.detail}", flush=True)
        if outcome is None or outcome.kind == "written":
            shutil.rmtree(folder)
        elif outcome.fault:
            print(f"{name}: {outcome.kind}: {outcome.detail}", flush=True)
    print(dict(kinds))
    for line, count in refusals.most_common():
        print(f"{count:6} {line}")
    return int(any(kinds[kind] for kind in kinds if kind not in ("written", "refused")))


if __name__ == "__main__":
    sys.exit(main())
