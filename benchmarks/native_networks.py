"""Whole networks: compressed files on the native kernels against floats and int8.

python -m benchmarks.native_networks [NAME ...] [--threads 1 2] [--runs N]

ResNet-18, VGG-16 and MobileNetV2 at 224 x 224 have random weights and codes; activations
are calibrated on random samples. First and last layers, depthwise and tiny ones have 8
bits, as `subbyte compress` leaves them. One record per network and number of threads:
all sides in turn in one process, wall time at batch 1, medians; outputs are checked first.
Load time and peak memory are measured in processes of their own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from benchmarks.random_networks import NETWORKS
from benchmarks.stock_int8 import calibrate, stock_int8
from subbyte import load
from subbyte.compress.tables import table_shifts
from subbyte.data import InputSpec, Samples, as_samples
from subbyte.graph.islands import plan_islands
from subbyte.graph.module import GraphModule
from subbyte.graph.network import Layer, Network
from subbyte.graph.read import read_network
from subbyte.graph.write import write_network
from subbyte.methods import CodedWeight
from subbyte.methods.product import form as product
from subbyte.methods.scalar import form as scalar
from subbyte.report.system import system
from subbyte.runtime import native_isa

RESULTS = Path(__file__).parent / "results" / "native_networks"
SAMPLES = 2
_WARM_UP = 3

Array = NDArray[Any]


@dataclass(frozen=True)
class Form:
    """How the layers in the middle are coded."""

    name: str
    group: int
    gain: int

    @property
    def bits(self) -> float:
        """Bits of a code and its gain, per weight."""
        return (4 + self.gain) / self.group


FORMS = (
    Form("d=4, 3-bit gain", 4, 3),
    Form("d=4", 4, 0),
    Form("d=8", 8, 0),
    Form("d=2", 2, 0),
)


def main() -> None:
    """Measure, print and write the records."""
    arguments = _parser().parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in arguments.networks or NETWORKS:
        with tempfile.TemporaryDirectory() as folder:
            files = build(name, Path(folder))
            for threads in arguments.threads:
                record = measure(name, files, threads, arguments.runs)
                target = RESULTS / f"{_slug(name)}-{record['isa']}-{threads}.json"
                target.write_text(json.dumps(record, indent=1) + "\n")
                _show(record)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.native_networks")
    parser.add_argument("networks", nargs="*", metavar="NAME", help=", ".join(NETWORKS))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--runs", type=int, default=30)
    return parser


def _slug(name: str) -> str:
    return name.lower().replace("-", "")


def build(name: str, folder: Path) -> dict[str, Path]:
    """The files of every side: float, int8 and one per form."""
    files = {"float": folder / "float.onnx", "int8": folder / "int8.onnx"}
    onnx.save(NETWORKS[name](), files["float"])
    samples = np.random.default_rng(0).standard_normal((SAMPLES, 1, 3, 224, 224), np.float32)
    stock_int8(files["float"], files["int8"], samples)
    network = read_network(files["float"])
    for form in FORMS:
        files[form.name] = folder / f"{form.group}-{form.gain}.onnx"
        onnx.save(compressed(network, form, samples), files[form.name])
    return files


def compressed(network: Network, form: Form, samples: Array) -> onnx.ModelProto:
    """The network with random codes, and uint8 activations calibrated on ``samples``."""
    import torch

    ends = {network.layers[0].name, network.layers[-1].name}
    coded = {layer.weight: _random_weight(layer, form, ends) for layer in network.layers}
    plan = plan_islands(network)
    params = calibrate(network, plan, samples)
    shifts = table_shifts(
        network,
        GraphModule(network).eval(),
        coded,
        plan,
        dict(params),
        _as_samples(network, samples),
        torch.device("cpu"),
    )
    return write_network(network, coded, None, plan, params, table_shifts=shifts)


def _as_samples(network: Network, samples: Array) -> Samples:
    value = network.model.graph.inputs[0]
    spec = InputSpec(value.name or "", ("N", 3, 224, 224), np.dtype(np.float32))
    return as_samples(samples[:, 0], (spec,), None, option="samples")


def _random_weight(layer: Layer, form: Form, ends: set[str]) -> CodedWeight:
    """Random codes, scaled like a trained layer (variance 2 / inputs)."""
    shape = layer.shape
    rng = np.random.default_rng(shape.count)
    std = np.sqrt(2 / (shape.taps * shape.inputs))
    if layer.name in ends or shape.inputs < form.group:
        levels = rng.integers(-127, 128, (shape.outputs, shape.taps, shape.inputs))
        return scalar.pack(shape, 8, "even", levels, np.full(shape.outputs, std / 73, np.float32))
    options = product.ProductOptions(form.group, 16, form.gain)
    groups = -(-shape.inputs // form.group)
    grid = (shape.outputs, shape.taps, groups)
    limit = 126 // form.group
    words = rng.integers(-limit, limit + 1, (groups * shape.groups, 16, form.group))
    scale = np.full(shape.outputs, std / (0.6 * limit), np.float32)
    codes = rng.integers(0, 16, grid)
    gains = rng.integers(0, 1 << form.gain, grid)
    return product.pack(shape, options, codes, gains, words.astype(np.int8), scale)


def measure(name: str, files: Mapping[str, Path], threads: int, runs: int) -> dict[str, Any]:
    """One record: every side in turn."""
    x = np.random.default_rng(1).standard_normal((1, 3, 224, 224), np.float32)
    sides = _sides(files, threads)
    for side, run in sides.items():
        output = run(x)
        if not np.isfinite(output).all() or np.ptp(output) == 0:
            raise SystemExit(f"{name}: {side} gives no proper output")
    _check_native(name, files, threads, x)
    times = _times(list(sides.values()), x, runs)
    return {
        "network": name,
        "threads": threads,
        "runs": runs,
        "isa": native_isa(),
        "sides": {side: _row(side, files, times[:, index]) for index, side in enumerate(sides)},
        "processes": {
            side: _in_process(path, threads)
            for side, path in files.items()
            if side != "int8" and threads == 1
        },
        "system": system(),
    }


def _row(side: str, files: Mapping[str, Path], seconds: NDArray[np.float64]) -> dict[str, Any]:
    lower, median, upper = np.percentile(1000 * seconds, (25, 50, 75))
    row = {"median_ms": float(median), "iqr_ms": float(upper - lower)}
    return row | ({"file_bytes": files[side].stat().st_size} if side in files else {})


def _sides(files: Mapping[str, Path], threads: int) -> dict[str, Callable[[Array], Array]]:
    sides: dict[str, Callable[[Array], Array]] = {}
    for form in FORMS:
        sides[form.name] = _onnxruntime(files[form.name], threads, native=True)
    sides["portable, " + FORMS[0].name] = _onnxruntime(files[FORMS[0].name], threads, native=False)
    for precision in ("float", "int8"):
        sides[f"onnxruntime {precision}"] = _onnxruntime(files[precision], threads, native=False)
        sides[f"openvino {precision}"] = _openvino(files[precision], threads)
    return sides


def _onnxruntime(path: Path, threads: int, *, native: bool) -> Callable[[Array], Array]:
    model = load(path, engine="native" if native else "portable", threads=threads)
    name = model.input_names[0]
    return lambda x: np.asarray(model.session.run(None, {name: x})[0])


def _openvino(path: Path, threads: int) -> Callable[[Array], Array]:
    import openvino

    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    core = openvino.Core()
    model = core.read_model(path)
    model.reshape([1, 3, 224, 224])
    request = core.compile_model(model, "CPU", settings).create_infer_request()

    def run(x: Array) -> Array:
        request.set_input_tensor(openvino.Tensor(x))
        request.infer()
        return np.asarray(request.get_output_tensor().data)

    return run


def _check_native(name: str, files: Mapping[str, Path], threads: int, x: Array) -> None:
    """Native and portable outputs of a file are the same up to the rounding of tables."""
    for form in FORMS:
        ours, stock = (
            _onnxruntime(files[form.name], threads, native=native)(x) for native in (True, False)
        )
        alike = np.corrcoef(ours.ravel(), stock.ravel())[0, 1]
        if alike < 0.97:
            raise SystemExit(f"{name} {form.name}: native and portable correlate by {alike:.3f}")


def _times(sides: Sequence[Callable[[Array], Array]], x: Array, runs: int) -> NDArray[np.float64]:
    """Seconds [runs, sides], the sides taking turns."""
    times = np.empty((runs, len(sides)))
    for turn in range(-_WARM_UP, runs):
        for index, run in enumerate(sides):
            start = time.perf_counter()
            run(x)
            times[turn, index] = time.perf_counter() - start
    return times


_PROBE = """
import sys, time
import numpy as np
from subbyte import load

def peak():
    status = open("/proc/self/status").read()
    return int(status.split("VmHWM:")[1].split()[0])

base = peak()
start = time.perf_counter()
model = load(sys.argv[1], threads=int(sys.argv[2]))
loaded = time.perf_counter() - start
model.run(np.zeros((1, 3, 224, 224), np.float32))
print(loaded, peak() - base)
"""


def _in_process(path: Path, threads: int) -> dict[str, float]:
    """Seconds to load (best of three), and how far loading and one run raise the peak memory."""
    found = []
    for _ in range(3):
        command = [sys.executable, "-c", _PROBE, str(path), str(threads)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found.append([float(part) for part in done.stdout.split()])
    return {
        "load_seconds": min(seconds for seconds, _ in found),
        "peak_mib": max(kilobytes for _, kilobytes in found) / 1024,
    }


def _show(record: dict[str, Any]) -> None:
    rows = record["sides"]
    best = min(row["median_ms"] for side, row in rows.items() if side.endswith(" int8"))
    print(f"{record['network']}, {record['threads']} thread(s), {record['isa']}")
    for side, row in rows.items():
        ratio = best / row["median_ms"]
        print(f"  {side:28s} {row['median_ms']:8.2f} ms   {ratio:5.2f} x best int8")
    for side, row in record["processes"].items():
        print(f"  {side:28s} loads in {row['load_seconds']:.2f} s, peak {row['peak_mib']:.0f} MiB")


if __name__ == "__main__":
    main()
