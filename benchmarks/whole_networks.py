"""Whole networks: compressed files with the native kernels against other runtimes.

python -m benchmarks.whole_networks [--runs N]
python -m benchmarks.whole_networks --networks NAME ... --output FILE.json

ResNet-18, VGG-16 and MobileNetV2 at 224 x 224 have random weights and, in the compressed
files, random codes: both change nothing about speed. The first and the last layer and those
with fewer than 16 inputs a group (depthwise ones) have 8 bits; ranges of activations and the
shifts of tables come from random samples. ResNet-20 is the real one of SUBBYTE_DATA,
compressed to 2 bits. Latency is wall time at batch 1, all sides in turn in one process
(`subbyte.bench`), with one thread. How long a file takes to load, and the most
memory it takes, are those of fresh processes that load it and run it once
(`benchmarks.load_probe`). The peers need the extra ``bench``; one that is missing is named.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

import subbyte
from benchmarks.networks.catalog import NETWORKS
from benchmarks.networks.datasets import halves
from benchmarks.random_networks import NETWORKS as SHAPED
from benchmarks.stock_int8 import calibrate
from subbyte.compression.calibration.table_shifts import table_shifts
from subbyte.compression.run import Run
from subbyte.data import InputSpec, as_samples
from subbyte.graph.islands.plan import IslandPlan, plan_islands
from subbyte.graph.load.network import read_network
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.network import Network
from subbyte.graph.quant_params import QuantParams
from subbyte.graph.write.model import write_network
from subbyte.methods import CodedWeight, WeightShape
from subbyte.methods.product import form as product
from subbyte.methods.product.form import GAIN_UNIT, ProductOptions
from subbyte.methods.scalar import form as scalar
from subbyte.report.peers import PEERS

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "whole_networks.json"
FORMATS = {
    "d=8": ProductOptions(8),
    "d=4": ProductOptions(4),
    "d=4, 2-bit gain": ProductOptions(4, gain=2),
    "d=2": ProductOptions(2),
}
REAL = "ResNet-20"
REAL_BITS = 2.0
LEAST_INPUTS = 16
SAMPLES = 4
# More would be measured wrongly: idle threads of the other sides' pools spin.
THREADS = (1,)
# Fresh processes per file, of which the median counts.
PROBES = 5

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Settings:
    """``runs``: timed rounds; ``samples``: calibration images of the real network, ``images``:
    test images on which its engines are compared, None for all."""

    runs: int
    samples: int
    images: int | None


def main() -> None:
    """Measure, print and write the record."""
    names = [*SHAPED, REAL]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.whole_networks", description=__doc__
    )
    parser.add_argument("--networks", nargs="+", choices=names, default=names)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--images", type=int, default=None)
    parser.add_argument("--output", type=Path, help=f"{RESULTS.name}, of all networks")
    arguments = parser.parse_args()
    if arguments.output is None and arguments.networks != names:
        parser.error("some networks alone need an --output: the record of all would lose the rest")
    settings = Settings(arguments.runs, arguments.samples, arguments.images)
    rows = []
    for name in arguments.networks:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(name, settings, Path(folder)))
        show(rows[-1])
    record = {
        "networks": rows,
        "runs": settings.runs,
        "isa": subbyte.runtime.native_isa(),
        "packages": _versions(),
        "system": rows[0].pop("system"),
    }
    for row in rows[1:]:
        del row["system"]
    (arguments.output or RESULTS).write_text(json.dumps(record, indent=1) + "\n")


def measure(name: str, settings: Settings, folder: Path) -> dict[str, Any]:
    """One network: its files, latencies, loading, and how the engines agree."""
    if name == REAL:
        original, files, row = real(settings, folder)
    else:
        original, files, row = shaped(name, folder)
    paths = {"float": original} | files
    labels = {str(path): label for label, path in paths.items()}
    latency = {}
    for threads in THREADS:
        result = subbyte.bench(
            list(paths.values()), threads=threads, runs=settings.runs, peers=PEERS
        ).to_dict()
        for side in result["models"]:
            side["file"] = labels[side.pop("model")]
            if name != REAL and side["file"] != "float":
                # Against other random weights.
                del side["cosine"], side["top1"]
        latency[str(threads)] = result["models"]
    return row | {
        "network": name,
        "bytes": {label: path.stat().st_size for label, path in paths.items()},
        "latency": latency,
        # Without the folders of this machine.
        "missing": [
            side | {"reason": side["reason"].replace(str(original), original.name)}
            for side in result["missing"]
        ],
        "loading": {
            label: probes(path, "portable" if label == "float" else "native")
            for label, path in paths.items()
        },
        "system": result["system"],
    }


def shaped(name: str, folder: Path) -> tuple[Path, dict[str, Path], dict[str, Any]]:
    """A random float network, its compressed files, and how closely their engines agree."""
    original = folder / f"{name}.onnx"
    onnx.save(SHAPED[name](), original)
    network = read_network(original)
    rng = np.random.default_rng(0)
    samples = rng.standard_normal((SAMPLES, 1, 3, 224, 224)).astype(np.float32)
    plan = plan_islands(network)
    ranges = calibrate(network, plan, samples)
    ends = {network.layers[0].weight, network.layers[-1].weight}
    files, agreement = {}, {}
    for label, options in FORMATS.items():
        coded = {
            layer.weight: random_weight(layer.shape, None if layer.weight in ends else options)
            for layer in network.layers
        }
        shifts = shifts_of(network, coded, plan, ranges, samples)
        files[label] = folder / f"{name}-{label.replace(', ', '-').replace(' ', '-')}.onnx"
        model = write_network(network, coded, None, plan, ranges, table_shifts=shifts)
        onnx.save(model, files[label])
        agreement[label] = agree(files[label], np.concatenate(samples))
    return original, files, {"engines": agreement}


def real(settings: Settings, folder: Path) -> tuple[Path, dict[str, Path], dict[str, Any]]:
    """The trained network, compressed, and what its engines reach on the test images."""
    data = Path(os.environ.get("SUBBYTE_DATA", ROOT.parent / "shared" / "data"))
    entry = NETWORKS["resnet20"]
    split, original = entry.load(data, halves), data / entry.model
    target = folder / "resnet20.onnx"

    def prepared(images: NDArray[Any]) -> Array:
        return entry.preprocessing.apply(np.moveaxis(images, -1, 1))

    subbyte.compress(
        original,
        target,
        prepared(split.calibration[: settings.samples]),
        bits=REAL_BITS,
        samples=min(settings.samples, len(split.calibration)),
    )
    labels = np.asarray(split.targets[: settings.images])
    found = agree(target, prepared(split.test[: settings.images]), labels)
    label = f"{REAL_BITS:g} bits"
    return original, {label: target}, {"engines": {label: found}}


def agree(path: Path, images: Array, labels: NDArray[Any] | None = None) -> dict[str, float]:
    """Cosine and top-1 agreement (percent) of native with portable; top-1 of both if labelled."""
    scores = {}
    for engine in ("native", "portable"):
        model = subbyte.load(path, engine=engine, threads=1)
        parts = [model.run(images[at : at + 16]) for at in range(0, len(images), 16)]
        scores[engine] = np.concatenate(parts).astype(np.float64)
    native, portable = scores["native"], scores["portable"]
    norms = np.linalg.norm(native) * np.linalg.norm(portable)
    found = {
        "images": len(images),
        "cosine": float((native * portable).sum() / norms),
        "agreement": 100 * float((native.argmax(1) == portable.argmax(1)).mean()),
    }
    if labels is not None:
        for engine, values in scores.items():
            found[f"{engine}_top1"] = 100 * float((values.argmax(1) == labels).mean())
    return found


def shifts_of(
    network: Network,
    coded: Mapping[str, CodedWeight],
    plan: IslandPlan,
    ranges: Mapping[str, QuantParams],
    samples: Array,
) -> dict[str, int]:
    """`table_shifts` on the samples [count, 1, 3, 224, 224]."""
    value = network.model.graph.inputs[0]
    spec = InputSpec(value.name or "", ("N", 3, 224, 224), np.dtype(np.float32))
    few = as_samples(samples[:, 0], (spec,), None, option="samples")
    module = GraphModule(network).eval()
    return table_shifts(Run(network, few), module, coded, plan, dict(ranges), few)


def random_weight(shape: WeightShape, options: ProductOptions | None) -> CodedWeight:
    """Random codes of about the variance 2 / fan-in; 8 bits without options or with few inputs."""
    rng = np.random.default_rng(shape.count)
    std = np.sqrt(2 / (shape.taps * shape.inputs))
    if options is None or shape.inputs < LEAST_INPUTS:
        grid = (shape.outputs, shape.taps, shape.inputs)
        levels = rng.integers(-127, 128, grid)
        scale = np.full(shape.outputs, std / (127 / np.sqrt(3)), np.float32)
        return scalar.pack(shape, 8, "zero", levels, scale)
    groups = -(-shape.inputs // options.group)
    grid = (shape.outputs, shape.taps, groups)
    # A word's positive and its negative entries may each sum to 126.
    most = 126 // options.group
    words = rng.integers(
        -most, most + 1, (groups * shape.groups, options.words, options.group)
    ).astype(np.int8)
    factors = options.gain_levels().astype(np.float64) / GAIN_UNIT
    size = most / np.sqrt(3) * np.sqrt(np.mean(factors**2))
    codes, gains = rng.integers(0, options.words, grid), rng.integers(0, len(factors), grid)
    return product.pack(
        shape, options, codes, gains, words, np.full(shape.outputs, std / size, np.float32)
    )


def probes(path: Path, engine: str) -> dict[str, float]:
    """Medians over fresh processes of `benchmarks.load_probe`."""
    command = [sys.executable, "-m", "benchmarks.load_probe", str(path), engine]
    found = [
        json.loads(
            subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
        )
        for _ in range(PROBES)
    ]
    return {key: round(statistics.median(row[key] for row in found), 3) for key in found[0]}


def show(row: Mapping[str, Any]) -> None:
    """Print what was measured of one network."""
    for threads, sides in row["latency"].items():
        cells = [f"{s['file']} {s['engine']} {s['median_ms']:.2f}" for s in sides]
        print(f"{row['network']}, {threads} thread(s), ms: " + "; ".join(cells))
    for part in ("engines", "loading", "missing"):
        print(f"  {part}: {row[part]}")


def _versions() -> dict[str, str]:
    installed = {dist.metadata["Name"] for dist in metadata.distributions()}
    wanted = ("onnxruntime", "openvino", "nncf", "ncnn", "pnnx")
    return {name: metadata.version(name) for name in wanted if name in installed}


if __name__ == "__main__":
    main()
