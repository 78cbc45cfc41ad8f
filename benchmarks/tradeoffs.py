"""The whole trade-off of networks, and the plan against one form for all layers at equal bits.

python -m benchmarks.tradeoffs --keep DIR                   networks that have no record yet
python -m benchmarks.tradeoffs kwt1 --keep DIR              some, again
python -m benchmarks.tradeoffs --keep DIR --time            only time the kept files again

For every network `subbyte explore` makes its own 12 points, and one more at just the bits of
each of `FORMS`: one product form for all layers but those that are kept at 8 bits by default,
coded from the same samples. All files are judged on test samples: KL against the float network
(for what is no classifier squared error over variance), and the network's own metric. DIR is
needed to go on with a run that was stopped.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

import subbyte
from benchmarks.networks.__main__ import DATA, network_parser, parse
from benchmarks.networks.catalog import METRICS, NETWORKS, NetworkRow
from benchmarks.networks.datasets import Split, halves
from benchmarks.networks.measure import metric
from benchmarks.networks.record import preprocessing_options, run, without_folders
from benchmarks.records import Record
from benchmarks.tradeoffs_page import equal_bits
from subbyte.compress.defaults import default_plan
from subbyte.compress.explore import HELD, read_points
from subbyte.compress.held import Judge, hold_back
from subbyte.compress.options import CompressOptions
from subbyte.compress.pipeline import compress_network, read_source
from subbyte.compress.plan import Planned
from subbyte.compress.plan_file import planned_layers
from subbyte.compress.plan_text import plan_text
from subbyte.data import Samples, as_samples
from subbyte.graph.inputs import read_input_specs
from subbyte.methods.product.form import ProductOptions
from subbyte.report.system import system

RESULTS = Path(__file__).parent / "results" / "tradeoffs"
# What one would choose by hand, at about 1.5, 2 and 2.5 bits; group, words, gain, shared.
FORMS = {
    "d4-g1": ProductOptions(4, 16, 1),
    "d4-g3": ProductOptions(4, 16, 3),
    "d2-g1": ProductOptions(2, 16, 1),
    "d4-g3-shared": ProductOptions(4, 16, 3, shared=True),
}
SAMPLES = 250
TEST = 250


def main() -> int:
    """Measure what the command line asks for."""
    parser = network_parser("tradeoffs", __doc__)
    parser.add_argument("--keep", type=Path, required=True, help="folder of all files")
    parser.add_argument("--samples", type=int, default=SAMPLES, help="calibration samples at most")
    parser.add_argument("--time", action="store_true", help="only time the kept files")
    arguments = parse(parser)
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in arguments.networks or NETWORKS:
        path = RESULTS / f"{name}.json"
        if arguments.networks or arguments.time or not path.exists():
            tradeoff = Tradeoff(NETWORKS[name], arguments.keep / name, arguments.samples)
            record = tradeoff.timed(path) if arguments.time else tradeoff.record()
            path.write_text(json.dumps(record, indent=2) + "\n")
            print(f"{name}: {len(record['points'])} points, {_short(record)}", flush=True)
    return 0


class Tradeoff:
    """One network, its samples, and the folder that everything is kept in."""

    def __init__(self, row: NetworkRow, folder: Path, samples: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.row, self.folder, self.source = row, folder, DATA / row.model
        self.split: Split = row.load(DATA, halves)
        self.calibration = folder / "calibration.npz"
        np.savez(self.calibration, inputs=self.split.calibration)
        self.count = min(samples, row.samples or len(self.split.calibration))

    def record(self) -> Record:
        """Explore, code the single forms, and judge all files."""
        command = self._explore("--no-latency")
        forms = {name: self._form(name, form) for name, form in FORMS.items()}
        equal = ",".join(
            f"{subbyte.inspect(path)['bits_per_weight']:.4f}" for path in forms.values()
        )
        self._explore("--no-latency", "--bits", equal)
        judge = Judge(read_source(self.source), self._test(), torch.device("cpu"))
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
                self._judged(judge, self.folder / "points" / point["file"], point["name"])
                for point in points
            ],
            "forms": [self._judged(judge, path, name) for name, path in forms.items()],
            "system": system(),
            "packages": {name: metadata.version(name) for name in ("torch", "onnx", "onnx-ir")},
        }

    def timed(self, path: Path) -> Record:
        """The record in ``path`` with latencies of all points."""
        record: Record = json.loads(path.read_text())
        self._explore()
        times = {p["name"]: p.get("latency_ms") for p in read_points(self.folder / "points")}
        for point in record["points"]:
            point["latency_ms"] = times[point["name"]]
        return record

    def _explore(self, *options: str) -> str:
        command = [
            *("subbyte", "explore", str(self.source), "-o", str(self.folder / "points")),
            *("--calib", f"{self.calibration}:inputs", "--samples", str(self.count)),
            *preprocessing_options(self.row.preprocessing),
            *options,
        ]
        run(command)
        return without_folders(command)

    def _form(self, name: str, form: ProductOptions) -> Path:
        """One form for all layers, from the samples that the points are coded from."""
        path, plan = self.folder / f"{name}.onnx", self.folder / f"{name}.toml"
        if path.exists():
            return path
        network = read_source(self.source)
        layers = planned_layers(network)
        by_hand = default_plan(network, layers, CompressOptions(group=form.group, gain=form.gain))
        one = {
            w: replace(o, shared=form.shared) if isinstance(o, ProductOptions) else o
            for w, o in by_hand.items()
        }
        plan.write_text(plan_text(Planned(one), layers))
        fit, _ = hold_back(self._samples(self.split.calibration).take(self.count, 0), HELD, 0)
        compress_network(str(self.source), path, fit, CompressOptions(plan=plan), _silent)
        return path

    def _samples(self, arrays: Any) -> Samples:
        return as_samples(arrays, read_input_specs(self.source), self.row.preprocessing)

    def _test(self) -> Samples:
        test = self._samples(self.split.test)
        return test.take(min(TEST, len(test)), 1)

    def _judged(self, judge: Judge, path: Path, name: str) -> Record:
        score = judge.score(path)
        return {
            "name": name,
            "bits": subbyte.inspect(path)["bits_per_weight"],
            "file_bytes": path.stat().st_size,
            "divergence": score.divergence,
            "agreement": score.agreement,
            "metric": metric(self.row, path, self.split, engine="native"),
        }


def _short(record: Record) -> str:
    lower = (
        f"{100 * (1 - point['divergence'] / form['divergence']):.0f} % at {form['bits']:.2f} bits"
        for form, point in equal_bits(record)
    )
    return "divergence lower than one form's by " + ", ".join(lower)


def _silent(stage: str, done: int, total: int, detail: str) -> None:
    """No progress."""


if __name__ == "__main__":
    sys.exit(main())
