"""How much memory and time networks of hundreds of megabytes take.

    python -m benchmarks.memory

writes random networks to a temporary folder, runs the command line on each in a process of its
own, and records the peak of that process' resident memory and its CPU time.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from benchmarks.random_networks import resnet50
from subbyte.report.system import system

RESULTS = Path(__file__).parent / "results" / "memory.json"
SAMPLES = 64
_PROGRAM = "from subbyte.cli import main; main()"
_ONE_THREAD = {"OMP_NUM_THREADS": "1"}
# Kilobytes on Linux, bytes on macOS.
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024
_CHANNELS, _SIZE, _CLASSES = 512, 7, 1000


@dataclass(frozen=True)
class Usage:
    """Of one process: the largest resident set in bytes, CPU seconds, seconds passed."""

    peak_bytes: int
    cpu_seconds: float
    seconds: float


def main() -> None:
    """Measure, and write the record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    rows = []
    for name, measure in RUNS.items():
        with tempfile.TemporaryDirectory() as folder:
            rows.append({"run": name, **measure(Path(folder))})
        print(rows[-1], flush=True)
    record = {"system": system(), "rows": rows}
    arguments.output.write_text(json.dumps(record, indent=1) + "\n")


def run_program(*arguments: str | os.PathLike[str]) -> Usage:
    """Run ``subbyte`` with these arguments in a process of its own, on one thread.

    Raises:
        subprocess.CalledProcessError: the command failed.
    """
    command = [sys.executable, "-c", _PROGRAM, *(os.fspath(each) for each in arguments)]
    started = time.monotonic()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command, stdout=said, stderr=subprocess.STDOUT, env=os.environ | _ONE_THREAD
        )
        # Of this child alone, not the largest of all children so far.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command, said.read())
    cpu = usage.ru_utime + usage.ru_stime
    return Usage(usage.ru_maxrss * _RSS_UNIT, cpu, time.monotonic() - started)


def _plan_resnet50(folder: Path) -> dict[str, Any]:
    path, calib = folder / "resnet50.onnx", folder / "x.npy"
    onnx.save(resnet50(), path)
    rng = np.random.default_rng(1)
    np.save(calib, rng.standard_normal((256, 3, 224, 224), np.float32))
    used = run_program("plan", path, "--calib", calib, "--bits", "2", "-o", folder / "plan.toml")
    return {"command": "plan --bits 2", "weight_bytes": _weight_bytes(path), **asdict(used)}


def _compress_stack(folder: Path) -> dict[str, Any]:
    """61 linear layers, most of 2048 x 2048, behind three convolutions: 1.03 GB."""
    path, calib = write_stack(folder, 2048, 3, 60)
    plan = folder / "plan.toml"
    plan.write_text("# All layers stay at 8 bits: the largest file, and little computing.\n")
    used = run_program(
        "compress", path, "--calib", calib, "--plan", plan, "-o", folder / "small.onnx"
    )
    return {"command": "compress, 8 bits", "weight_bytes": _weight_bytes(path), **asdict(used)}


def _weight_bytes(path: Path) -> int:
    model = onnx.load(path, load_external_data=False)
    return sum(4 * int(np.prod(tensor.dims)) for tensor in model.graph.initializer)


RUNS: Mapping[str, Callable[[Path], dict[str, Any]]] = {
    "ResNet-50": _plan_resnet50,
    "1 GB of external data": _compress_stack,
}


def write_stack(
    folder: Path, width: int, convolutions: int, linears: int, samples: int = SAMPLES
) -> tuple[Path, Path]:
    """A network of random weights in external data, and samples for it; paths of both.

    ``convolutions`` of 512 channels, 3x3, at 7x7 pixels, their mean, then ``linears`` of
    ``width`` and one of 1,000 outputs. Weights are made and written one at a time.
    """
    rng = np.random.default_rng(0)
    shapes = [(_CHANNELS, _CHANNELS, 3, 3)] * convolutions
    sizes = [_CHANNELS, *[width] * linears, _CLASSES]
    dense = [(outputs, inputs) for inputs, outputs in itertools.pairwise(sizes)]
    path = folder / "stack.onnx"
    with (folder / "stack.data").open("wb") as stream:
        tensors = [
            _external(stream, f"w{number}", _weight(rng, shape))
            for number, shape in enumerate([*shapes, *dense])
        ]
    onnx.save(_stack(tensors, convolutions), path)
    calib = folder / "x.npy"
    np.save(calib, rng.standard_normal((samples, _CHANNELS, _SIZE, _SIZE), np.float32))
    return path, calib


def _weight(rng: np.random.Generator, shape: Sequence[int]) -> NDArray[np.float32]:
    std = np.float32(np.sqrt(2 / np.prod(shape[1:])))
    return rng.standard_normal(shape, np.float32) * std


def _external(stream: Any, name: str, weight: NDArray[np.float32]) -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=weight.shape)
    tensor.data_location = TensorProto.EXTERNAL
    place = {"location": "stack.data", "offset": stream.tell(), "length": weight.nbytes}
    for key, value in place.items():
        tensor.external_data.add(key=key, value=str(value))
    weight.tofile(stream)
    return tensor


def _stack(tensors: Sequence[TensorProto], convolutions: int) -> onnx.ModelProto:
    nodes, x = [], "x"
    for number, tensor in enumerate(tensors):
        if number == convolutions:
            nodes.append(helper.make_node("GlobalAveragePool", [x], ["mean"], "mean"))
            nodes.append(helper.make_node("Flatten", ["mean"], ["rows"], "rows"))
            x = "rows"
        convolution = number < convolutions
        kind, options = ("Conv", {"pads": [1] * 4}) if convolution else ("Gemm", {"transB": 1})
        name, last = f"layer{number}", number + 1 == len(tensors)
        output = "logits" if last else f"y{number}"
        nodes.append(helper.make_node(kind, [x, tensor.name], [output], name, **options))
        if not last:
            x = f"r{number}"
            nodes.append(helper.make_node("Relu", [output], [x], f"relu{number}"))
    graph = helper.make_graph(
        nodes,
        "stack",
        [_info("x", ["N", _CHANNELS, _SIZE, _SIZE])],
        [_info("logits", ["N", _CLASSES])],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def _info(name: str, shape: list[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


if __name__ == "__main__":
    main()
