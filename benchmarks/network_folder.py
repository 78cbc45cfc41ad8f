"""A network, its samples, and the folder in which all files that are made of it are kept."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch

import subbyte
from benchmarks.networks.__main__ import DATA, network_parser, parse
from benchmarks.networks.catalog import NETWORKS, NetworkRow
from benchmarks.networks.datasets import Split, halves
from benchmarks.networks.record import preprocessing_options
from benchmarks.records import Record
from subbyte.compression.config import CompressOptions
from subbyte.compression.pipeline import read_source
from subbyte.compression.planning.coding_plan import Planned
from subbyte.compression.planning.defaults import default_plan
from subbyte.compression.planning.network_plan import commented_plan
from subbyte.compression.planning.plan_file import Plan, planned_layers
from subbyte.compression.validation import Judge
from subbyte.data import Samples, as_samples
from subbyte.graph.load.model_file import read_input_specs
from subbyte.methods import MethodOptions
from subbyte.methods.product.form import ProductOptions

SAMPLES = 250
TEST = 1000


class NetworkFolder:
    """``folder`` is made, and has the calibration samples; of these ``count`` are used."""

    def __init__(self, row: NetworkRow, folder: Path, samples: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.row, self.folder, self.source = row, folder, DATA / row.model
        self.split: Split = row.load(DATA, halves)
        self.calibration = folder / "calibration.npz"
        np.savez(self.calibration, inputs=self.split.calibration)
        self.count = min(samples, row.samples or len(self.split.calibration))
        self.network = read_source(self.source)

    @property
    def fit(self) -> Samples:
        """The calibration samples that are used."""
        return self.samples(self.split.calibration).take(self.count, 0)

    @property
    def held(self) -> Samples:
        """Samples that files are proved with: those of `fit` are all for coding."""
        return self.samples(self.split.test)

    def command(self, verb: str, target: Path, *options: str) -> list[str]:
        """A command line of ``subbyte`` on the network and its calibration samples."""
        return [
            *("subbyte", verb, str(self.source), "-o", str(target)),
            *("--calib", f"{self.calibration}:inputs", "--samples", str(self.count)),
            *preprocessing_options(self.row.preprocessing),
            *options,
        ]

    def form_plan(self, name: str, form: MethodOptions) -> Path:
        """A plan file: one form for all layers but those that are kept at 8 bits by default."""
        path = self.folder / f"{name}.toml"
        layers = planned_layers(self.network)
        by_hand = default_plan(self.network, layers, CompressOptions())
        one: Plan = {weight: _formed(found, form) for weight, found in by_hand.items()}
        path.write_text(commented_plan(Planned(one), layers))
        return path

    def samples(self, arrays: Any) -> Samples:
        """``arrays`` as the network takes them."""
        return as_samples(arrays, read_input_specs(self.source), self.row.preprocessing)

    def judge(self, most: int = TEST) -> Judge:
        """Compares files with the float network on at most so many test samples."""
        test = self.samples(self.split.test)
        device = torch.device("cpu")
        return Judge(self.network, test.take(min(most, len(test)), 1), device)


def _formed(found: MethodOptions, form: MethodOptions) -> MethodOptions:
    """``form`` where by default there is a product form; not more words than the layer fills."""
    if not isinstance(found, ProductOptions):
        return found
    if isinstance(form, ProductOptions):
        return replace(form, words=min(form.words, found.words))
    return form


def judged(judge: Judge, path: Path, name: str) -> Record:
    """Size, divergence and agreement of a compressed file."""
    score = judge.score(path)
    return {
        "name": name,
        "bits": subbyte.inspect(path).bits_per_weight,
        "file_bytes": path.stat().st_size,
        "divergence": score.divergence,
        "agreement": score.agreement,
    }


class Measured(Protocol):
    """What `command_line` runs."""

    def record(self) -> Record:
        """Make whatever is not there yet, and measure it."""


Measure = TypeVar("Measure", bound=Measured)


@dataclass(frozen=True)
class Change(Generic[Measure]):
    """An option that changes records: ``apply`` gives the new one."""

    option: str
    help: str
    apply: Callable[[Measure, Record], Record]


def command_line(
    module: str,
    description: str | None,
    results: Path,
    measure: Callable[[NetworkRow, Path, int], Measure],
    short: Callable[[Record], str],
    changes: Sequence[Change[Measure]],
    networks: Collection[str] = tuple(NETWORKS),
) -> int:
    """Measure what the command line asks for, a JSON file a network in ``results``."""
    parser = network_parser(module, description, networks)
    parser.add_argument("--keep", type=Path, required=True, help="folder of all files")
    parser.add_argument("--samples", type=int, default=SAMPLES, help="calibration samples at most")
    group = parser.add_mutually_exclusive_group()
    for each in changes:
        group.add_argument(
            each.option, dest="change", action="store_const", const=each.apply, help=each.help
        )
    arguments = parse(parser)
    change: Callable[[Measure, Record], Record] | None = arguments.change
    results.mkdir(parents=True, exist_ok=True)
    for name in arguments.networks or networks:
        path = results / f"{name}.json"
        if change is not None and not path.exists():
            print(f"{name}: no record yet", file=sys.stderr)
        elif arguments.networks or change is not None or not path.exists():
            measured = measure(NETWORKS[name], arguments.keep / name, arguments.samples)
            record = change(measured, json.loads(path.read_text())) if change else measured.record()
            path.write_text(json.dumps(record, indent=2) + "\n")
            print(f"{name}: {short(record)}", flush=True)
    return 0
