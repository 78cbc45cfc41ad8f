"""The compressed file in stock onnxruntime against onnxruntime's own int8 model.

python -m benchmarks.stock_int8 [--runs N] [--output FILE.json]

Two networks: ResNet-20 (CIFAR-10) from SUBBYTE_DATA, and one of ResNet-18's shape (224 x
224) with random weights. Both sides quantize activations from the same random samples
(least and greatest value). The compressed side codes every layer as ``product``, with
random codes: they change nothing about speed. Timed is process CPU time with one thread,
the two sides in turn; the ratio is the median over rounds of one side over the other.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process

from benchmarks.random_networks import resnet18
from subbyte.graph.islands.plan import IslandPlan, plan_islands
from subbyte.graph.load.network import read_network
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.network import Network
from subbyte.graph.quant_params import QuantParams
from subbyte.graph.write.model import write_network
from subbyte.methods import CodedWeight, WeightShape
from subbyte.methods.product import form as product
from subbyte.report.system import system

ROOT = Path(__file__).parents[1]
SAMPLES = 4

Array = NDArray[np.float32]


def main() -> None:
    """Measure, print and write the record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stock_int8", description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/stock_int8.json")
    arguments = parser.parse_args()
    data = Path(os.environ.get("SUBBYTE_DATA", ROOT.parent / "shared" / "data"))
    with tempfile.TemporaryDirectory() as folder:
        shaped = Path(folder) / "resnet18.onnx"
        onnx.save(resnet18(), shaped)
        sources = {"ResNet-20": data / "cifar10_resnet" / "resnet20.onnx", "ResNet-18": shaped}
        rows = [
            compare(name, source, Path(folder), arguments.runs) for name, source in sources.items()
        ]
    record = {"networks": rows, "runs": arguments.runs, "threads": 1, "system": system()}
    arguments.output.write_text(json.dumps(record, indent=1) + "\n")
    for row in rows:
        print(f"{row['network']}: {row['ratio']:.3f} x onnxruntime int8 {row['ratio_quartiles']}")


def compare(name: str, source: Path, folder: Path, runs: int) -> dict[str, Any]:
    """Build both sides from ``source``, check them, time them."""
    network = read_network(source)
    shape = [d if isinstance(d, int) else 1 for d in network.model.graph.inputs[0].shape or ()]
    rng = np.random.default_rng(0)
    samples = rng.standard_normal((SAMPLES, *shape)).astype(np.float32)
    files = {"subbyte": folder / f"{name}-subbyte.onnx", "int8": folder / f"{name}-int8.onnx"}
    onnx.save(compressed(network, samples), files["subbyte"])
    stock_int8(source, files["int8"], samples)
    sides = {side: _session(path) for side, path in files.items()}
    feed = {sides["int8"][0].get_inputs()[0].name: samples[0]}
    for side, (session, _) in sides.items():
        if not all(np.isfinite(output).all() for output in session.run(None, feed)):
            raise SystemExit(f"{name}: {side} gives values that are not finite")
    times = _times([session for session, _ in sides.values()], feed, runs)
    ratios = times[:, 0] / times[:, 1]
    return {
        "network": name,
        "ratio": float(np.median(ratios)),
        "ratio_quartiles": [round(float(q), 3) for q in np.quantile(ratios, [0.25, 0.75])],
        "sides": {
            side: {
                "median_us": float(np.median(column) * 1e6),
                "min_us": float(column.min() * 1e6),
                "file_bytes": files[side].stat().st_size,
                "operators": operators,
            }
            for (side, (_, operators)), column in zip(sides.items(), times.T, strict=True)
        },
    }


def compressed(network: Network, samples: Array) -> onnx.ModelProto:
    """The network with product codes (d 4, K 16, 3-bit gain) and uint8 activations."""
    coded = {layer.weight: random_codes(layer.shape) for layer in network.layers}
    plan = plan_islands(network)
    return write_network(network, coded, None, plan, calibrate(network, plan, samples))


def random_codes(shape: WeightShape) -> CodedWeight:
    """Random product codes, scaled like a trained layer (variance 2 / inputs)."""
    rng = np.random.default_rng(shape.count)
    options = product.ProductOptions(group=4, words=16, gain=3)
    groups = -(-shape.inputs // 4)
    grid = (shape.outputs, shape.taps, groups)
    words = rng.integers(-31, 32, (groups * shape.groups, 16, 4)).astype(np.int8)
    scale = np.full(shape.outputs, np.sqrt(2 / (shape.taps * shape.inputs)) / 12, np.float32)
    codes, gains = rng.integers(0, 16, grid), rng.integers(0, 8, grid)
    return product.pack(shape, options, codes, gains, words, scale)


def calibrate(network: Network, plan: IslandPlan, samples: Array) -> Mapping[str, QuantParams]:
    """Least and greatest value of every group over the samples."""
    module = GraphModule(network).eval()
    low: dict[str, float] = {}
    high: dict[str, float] = {}
    for sample in samples:
        with torch.no_grad():
            env = dict(module.computed({module.input_names[0]: torch.from_numpy(sample)}))
        for group in plan.groups:
            for value in group.values:
                array = env[value.name].clamp(value.limit.low, value.limit.high)
                low[group.name] = min(low.get(group.name, np.inf), float(array.min()))
                high[group.name] = max(high.get(group.name, -np.inf), float(array.max()))
    return {group.name: group.params(low[group.name], high[group.name]) for group in plan.groups}


def stock_int8(source: Path, target: Path, samples: Array) -> None:
    """onnxruntime's own static quantization: QDQ, uint8 activations, int8 per channel."""
    ready = target.with_suffix(".ready.onnx")
    quant_pre_process(source, ready)
    name = onnx.load(ready).graph.input[0].name
    quantization.quantize_static(
        ready,
        target,
        _Reader(name, samples),
        quant_format=quantization.QuantFormat.QDQ,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        per_channel=True,
    )


class _Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Hands the samples over, one at a time."""

    def __init__(self, name: str, samples: Array) -> None:
        self.feeds = iter([{name: sample} for sample in samples])

    def get_next(self) -> dict[str, Array] | None:
        return next(self.feeds, None)


def _session(path: Path) -> tuple[onnxruntime.InferenceSession, dict[str, int]]:
    """A session with default options and one thread, and the operators it runs."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    optimized = path.with_suffix(".optimized.onnx")
    options.optimized_model_filepath = str(optimized)
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session, dict(Counter(node.op_type for node in onnx.load(optimized).graph.node))


def _times(
    sessions: Sequence[onnxruntime.InferenceSession], feed: Mapping[str, Array], runs: int
) -> NDArray[np.float64]:
    """CPU seconds [runs, sessions], the sessions taking turns."""
    times = np.empty((runs, len(sessions)))
    for turn in range(-3, runs):
        for index, session in enumerate(sessions):
            start = time.process_time()
            session.run(None, feed)
            times[turn, index] = time.process_time() - start
    return times


if __name__ == "__main__":
    main()
