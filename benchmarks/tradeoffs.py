"""The whole trade-off of networks, and the plan against one form for all layers at equal bits.

python -m benchmarks.tradeoffs --keep DIR                   networks that have no record yet
python -m benchmarks.tradeoffs kwt1 --keep DIR              some, again
python -m benchmarks.tradeoffs --keep DIR --time            only time the kept files again
python -m benchmarks.tradeoffs espnet --keep DIR --trials   only add plans chosen by trial
python -m benchmarks.tradeoffs kwt1 --keep DIR --seeds      only add files of other seeds

For every network `subbyte explore` makes its own 12 points, and one more at just the bits of
each of `FORMS`: one product form for all layers but those that are kept at 8 bits by default,
coded from the same samples. All files are judged on test samples: KL against the float network
(for what is no classifier squared error over variance), and the network's own metric. With
``--trials`` the network is compressed to those bits by `subbyte compress --bits B --trials 4`
too, from the same samples; with ``--seeds`` every form and `subbyte compress --bits B` for its
bits are run with each of `SEEDS`, as single files differ by a fifth from seed to seed. DIR is
needed to go on with a run that was stopped.
"""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

import subbyte
from benchmarks.network_folder import Change, NetworkFolder, command_line, judged
from benchmarks.networks.catalog import METRICS
from benchmarks.networks.measure import metric
from benchmarks.networks.record import run, without_folders
from benchmarks.pages.tradeoffs import equal_bits
from benchmarks.records import Record
from subbyte.compression.config import CompressOptions
from subbyte.compression.exploration.explore import HELD, read_points
from subbyte.compression.pipeline import compress_network
from subbyte.compression.validation import Judge, hold_back
from subbyte.data import Samples
from subbyte.methods.product.form import ProductOptions
from subbyte.progress import silent
from subbyte.report.system import system

RESULTS = Path(__file__).parent / "results" / "tradeoffs"
TRIALS = 4
SEEDS = (0, 1, 2)
# What one would choose by hand, at about 1.5, 2 and 2.5 bits; group, words, gain, shared.
FORMS = {
    "d4-g1": ProductOptions(4, 16, 1),
    "d4-g3": ProductOptions(4, 16, 3),
    "d2-g1": ProductOptions(2, 16, 1),
    "d4-g3-shared": ProductOptions(4, 16, 3, shared=True),
}


def main() -> int:
    """Measure what the command line asks for."""
    changes = [
        Change("--time", "only time the kept files again", Tradeoff.timed),
        Change("--trials", "only add plans chosen by trial", Tradeoff.tried),
        Change("--seeds", "only add files of other seeds", Tradeoff.seeded),
    ]
    return command_line("tradeoffs", __doc__, RESULTS, Tradeoff, _short, changes)


class Tradeoff(NetworkFolder):
    """The points of `subbyte explore`, and the single forms at their bits."""

    def record(self) -> Record:
        """Explore, code the single forms, and judge all files."""
        command = self._explore("--no-latency")
        forms = {name: self._form(name, form) for name, form in FORMS.items()}
        equal = ",".join(f"{subbyte.inspect(path).bits_per_weight:.4f}" for path in forms.values())
        self._explore("--no-latency", "--bits", equal)
        judge = self.judge()
        points = read_points(self.folder / "points")
        return {
            "network": self.row.name,
            "metric": METRICS[self.row.task],
            "command": command,
            "samples": {"calibration": self.count, "judged": len(judge.samples)},
            "float": {
                "file_bytes": self.source.stat().st_size,
                "metric": metric(self.row, self.source, self.split),
            },
            "points": [
                self._judged(judge, self.folder / "points" / point.file, point.name)
                for point in points
            ],
            "forms": [self._judged(judge, path, name) for name, path in forms.items()],
            "system": system(),
            "packages": {name: metadata.version(name) for name in ("torch", "onnx", "onnx-ir")},
        }

    def timed(self, record: Record) -> Record:
        """``record`` with latencies of all points."""
        self._explore()
        times = {p.name: p.latency_ms for p in read_points(self.folder / "points")}
        for point in record["points"]:
            point["latency_ms"] = times[point["name"]]
        return record

    def tried(self, record: Record) -> Record:
        """``record`` with a plan chosen by trial for the bits of every form."""
        judge = self.judge(record["samples"]["judged"])
        found = []
        for form in record["forms"]:
            options = CompressOptions(bits=round(form["bits"], 4), trials=TRIALS)
            path = self._coded(f"{form['name']}-tried", options)
            found.append(self._judged(judge, path, form["name"]))
        return record | {"trials": TRIALS, "tried": found}

    def seeded(self, record: Record) -> Record:
        """``record`` with the divergences of forms and of plans for their bits, seed by seed."""
        judge = self.judge()
        found = []
        for form in record["forms"]:
            name, bits = form["name"], round(form["bits"], 4)
            plan = self.form_plan(name, FORMS[name])
            forms, plans = [], []
            for seed in SEEDS:
                options = CompressOptions(plan=plan, seed=seed)
                forms.append(judge.score(self._coded(f"{name}-seed{seed}", options)).divergence)
                options = CompressOptions(bits=bits, seed=seed)
                path = self._coded(f"{name}-plan-seed{seed}", options)
                plans.append(judge.score(path).divergence)
            found.append({"name": name, "bits": bits, "forms": forms, "plans": plans})
        return record | {"seeds": {"judged": len(judge.samples), "rows": found}}

    @property
    def _coded_from(self) -> Samples:
        """The samples that the points are coded from."""
        return hold_back(self.fit, HELD, 0)[0]

    def _explore(self, *options: str) -> str:
        command = self.command("explore", self.folder / "points", *options)
        run(command)
        return without_folders(command)

    def _form(self, name: str, form: ProductOptions) -> Path:
        """One form for all layers, coded from what the points are."""
        return self._coded(name, CompressOptions(plan=self.form_plan(name, form)))

    def _coded(self, name: str, options: CompressOptions) -> Path:
        path = self.folder / f"{name}.onnx"
        if not path.exists():
            compress_network(str(self.source), path, self._coded_from, options, silent, self.held)
        return path

    def _judged(self, judge: Judge, path: Path, name: str) -> Record:
        reached = metric(self.row, path, self.split, engine="native")
        return judged(judge, path, name) | {"metric": reached}


def _short(record: Record) -> str:
    lower = (
        f"{100 * (1 - point['divergence'] / form['divergence']):.0f} % at {form['bits']:.2f} bits"
        for form, point in equal_bits(record)
    )
    said = f"{len(record['points'])} points, divergence lower than one form's by "
    return said + ", ".join(lower)


if __name__ == "__main__":
    sys.exit(main())
