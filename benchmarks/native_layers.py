"""Single layers: the native look-up kernels against int8 convolutions.

python -m benchmarks.native_layers [--rounds N] [--layers NAME ...] [--output FILE.json]

Both sides compute the same quantized layer: the peer's int8 weights are the decoded product
codes, x and y are uint8 NHWC. onnxruntime runs QLinearConv with channels last, so that neither
side moves a layout; OpenVINO runs the same layer as DequantizeLinear, Conv, QuantizeLinear,
with its own layout inside: chains of COPIES layers where inputs and outputs are as many, else
it is left out. A layer is measured COPIES times with different weights, in turn with the
peers, as process CPU time on one thread; figures are microseconds of one layer. Before that,
each side's result is checked against the other's.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from benchmarks.native_library import Finish, Library, Lookup, Shape
from subbyte.methods import CodedWeight, WeightShape, packing
from subbyte.methods.product import form
from subbyte.methods.product.form import ProductOptions
from subbyte.report.system import system

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "native_layers.json"
COPIES = 4
# Longer than the process clock is coarse, in seconds.
LEAST = 0.01
X_SCALE, Y_ZERO = 0.02, 128

_Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Layer:
    """A convolution without stride, padded to its own size."""

    inputs: int
    outputs: int
    kernel: int
    size: int

    @property
    def name(self) -> str:
        """E.g. ``3x3 64->64@56``."""
        return f"{self.kernel}x{self.kernel} {self.inputs}->{self.outputs}@{self.size}"

    @property
    def macs(self) -> int:
        """Multiply-adds of the layer."""
        return self.inputs * self.outputs * self.kernel**2 * self.size**2


LAYERS = (
    Layer(64, 64, 3, 56),
    Layer(128, 128, 3, 28),
    Layer(256, 256, 3, 14),
    Layer(512, 512, 3, 7),
    Layer(256, 1024, 1, 14),
)
FORMATS = {
    "d=8": ProductOptions(8),
    "d=4": ProductOptions(4),
    "d=4, 3-bit gain": ProductOptions(4, gain=3),
    "d=2": ProductOptions(2),
}


@dataclass(frozen=True)
class Case:
    """A layer in a format: COPIES of its weights, one x, and y's scale."""

    layer: Layer
    options: ProductOptions
    coded: list[CodedWeight]
    x: _Bytes
    y_scale: float


def main() -> None:
    """Measure, print and write the record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.native_layers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--layers", nargs="+", default=[layer.name for layer in LAYERS])
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    library = Library()
    rows = [
        measure(library, layer, arguments.rounds)
        for layer in LAYERS
        if layer.name in arguments.layers
    ]
    record = {
        "layers": rows,
        "rounds": arguments.rounds,
        "copies": COPIES,
        "threads": 1,
        "level": library.isa,
        "system": system(),
    }
    arguments.output.write_text(json.dumps(record, indent=1) + "\n")
    for row in rows:
        best = row["best_int8_us"]
        cells = [
            f"{name} {us['median_us']:.0f} ({best / us['median_us']:.2f}x)"
            for name, us in row["sides"].items()
        ]
        print(f"{row['layer']}: best int8 {best:.0f}; " + "; ".join(cells))


def measure(library: Library, layer: Layer, rounds: int) -> dict[str, Any]:
    """One layer in all formats and on the peers."""
    sides: dict[str, Callable[[], Any]] = {}
    differences = {}
    for name, options in FORMATS.items():
        case = make_case(layer, options)
        lookups, finishes = native(library, case)
        y = [np.zeros((1, layer.size, layer.size, layer.outputs), np.uint8) for _ in lookups]
        sides[name] = _all(lookups, case.x, y, finishes)
        peer = stock(case)
        sides["onnxruntime int8"] = peer
        differences[name] = check(name, sides[name], peer, y)
    if layer.inputs == layer.outputs:
        sides["openvino int8"] = openvino_chain(case)
    row: dict[str, dict[str, Any]] = {}
    for name, values in timed(sides, rounds).items():
        row[name] = figures(layer, values)
        if name in FORMATS:
            row[name] |= {"bits": bits(FORMATS[name]), "mean_difference": differences[name]}
    best = min(us["median_us"] for name, us in row.items() if name.endswith("int8"))
    return {"layer": layer.name, "macs": layer.macs, "best_int8_us": best, "sides": row}


def figures(layer: Layer, seconds: Sequence[float]) -> dict[str, Any]:
    """Median and quartiles of one layer in microseconds, and 10^9 multiply-adds a second."""
    low, median, high = (float(q) * 1e6 / COPIES for q in np.quantile(seconds, [0.25, 0.5, 0.75]))
    return {
        "median_us": round(median, 2),
        "quartiles_us": [round(low, 2), round(high, 2)],
        "gmacs": round(layer.macs / median / 1e3, 1),
    }


def bits(options: ProductOptions) -> float:
    """Bits per weight of codes and gains."""
    return round((options.code_bits + options.gain) / options.group, 3)


def make_case(layer: Layer, options: ProductOptions) -> Case:
    """Random codes of a random codebook near its limits, and x as after a ReLU."""
    rng = np.random.default_rng(layer.macs)
    shape = WeightShape(layer.outputs, layer.kernel**2, layer.inputs)
    groups = layer.inputs // options.group
    words = rng.standard_normal((groups, 16, options.group))
    part = max(np.maximum(words, 0).sum(2).max(), np.maximum(-words, 0).sum(2).max())
    book = np.fix(words * min(form.PART_LIMIT / part, form.WORD_LIMIT / np.abs(words).max()))
    grid = (layer.outputs, shape.taps, groups)
    coded = [
        form.pack(
            shape,
            options,
            rng.integers(0, 16, grid),
            rng.integers(0, 2**options.gain, grid),
            book.astype(np.int8),
            np.full(layer.outputs, 0.01, np.float32),
        )
        for _ in range(COPIES)
    ]
    x = np.maximum(rng.normal(0, 60, (1, layer.size, layer.size, layer.inputs)), 0)
    weight = form.decode(coded[0]).astype(np.float64)
    spread = float(np.sqrt((weight**2).sum((1, 2)).mean() * (x**2).mean()))
    y_scale = X_SCALE * 0.01 * spread / 40
    return Case(layer, options, coded, np.minimum(x, 255).astype(np.uint8), y_scale)


def native(library: Library, case: Case) -> tuple[list[Lookup], list[Finish]]:
    """The packed copies and what is done with their sums."""
    layer, gains = case.layer, case.options.gain_levels()
    shift = table_shift(case)
    pad = layer.kernel // 2
    shape = Shape(
        *(1, layer.size, layer.size, layer.inputs, layer.outputs, case.options.group),
        kernel=(layer.kernel, layer.kernel),
        pads=(pad, pad, pad, pad),
        gain_levels=len(gains) if case.options.gain else 0,
        shift=shift,
    )
    lookups, finishes = [], []
    for coded in case.coded:
        grid = (layer.outputs, layer.kernel**2, layer.inputs // case.options.group)
        codes = [
            packing.unpack(coded.inputs[name].astype(np.uint8), int(np.prod(grid)))
            .reshape(grid)
            .astype(np.uint8)
            for name in ("codes", "gain_codes")
            if name in coded.inputs
        ]
        book = coded.inputs["codebook"].astype(np.int8)
        extra = (codes[1], gains) if case.options.gain else ()
        lookups.append(library.pack(shape, codes[0], book, *extra))
        unit = 64 if case.options.gain else 1
        scale = form.scale(coded) * np.float32(X_SCALE * 2**shift / unit / case.y_scale)
        finishes.append(Finish(scale, np.zeros(layer.outputs, np.float32), zero=Y_ZERO))
    return lookups, finishes


def table_shift(case: Case) -> int:
    """The least shift at which one entry in a thousand or fewer saturates."""
    book = case.coded[0].inputs["codebook"].astype(np.int64)
    rows = case.x.reshape(-1, len(book), book.shape[2])[:200].astype(np.int64)
    products = np.einsum("pgd,gkd->pgk", rows, book)
    within = [float((np.abs(products) >> shift > 127).mean()) <= 1e-3 for shift in range(9)]
    return within.index(True)


def stock(case: Case) -> Callable[[], list[Any]]:
    """COPIES of onnxruntime's channels-last QLinearConv on one x, outputs preallocated."""
    layer, pad = case.layer, case.layer.kernel // 2
    constants = {
        "xs": np.float32(X_SCALE),
        "xz": np.uint8(0),
        "ys": np.float32(case.y_scale),
        "yz": np.uint8(Y_ZERO),
        "wz": np.zeros(layer.outputs, np.int8),
    }
    nodes, outputs = [], []
    for i, coded in enumerate(case.coded):
        constants[f"w{i}"] = kernel_weight(coded, layer)
        constants[f"s{i}"] = form.scale(coded)
        nodes.append(
            helper.make_node(
                "QLinearConv",
                ["x", "xs", "xz", f"w{i}", f"s{i}", "wz", "ys", "yz"],
                [f"y{i}"],
                domain="com.microsoft",
                channels_last=1,
                kernel_shape=[layer.kernel] * 2,
                pads=[pad] * 4,
            )
        )
        outputs.append(_value(f"y{i}", layer.outputs, layer.size))
    inputs = [_value("x", layer.inputs, layer.size)]
    session = _session(_model(nodes, inputs, outputs, constants))
    binding = session.io_binding()
    binding.bind_cpu_input("x", case.x)
    for output in outputs:
        binding.bind_output(output.name)

    def run() -> list[Any]:
        session.run_with_iobinding(binding)
        return list(binding.get_outputs())

    return run


def openvino_chain(case: Case) -> Callable[[], Any]:
    """COPIES layers one after the other in OpenVINO, as it takes quantized models."""
    import openvino

    layer, pad = case.layer, case.layer.kernel // 2
    constants: dict[str, Any] = {
        "xs": np.float32(X_SCALE),
        "xz": np.uint8(0),
        "wz": np.zeros(layer.outputs, np.int8),
    }
    node = helper.make_node
    nodes = [node("DequantizeLinear", ["x", "xs", "xz"], ["d0"])]
    for i, coded in enumerate(case.coded):
        constants[f"w{i}"], constants[f"s{i}"] = kernel_weight(coded, layer), form.scale(coded)
        nodes += [
            node("DequantizeLinear", [f"w{i}", f"s{i}", "wz"], [f"k{i}"], axis=0),
            node("Conv", [f"d{i}", f"k{i}"], [f"c{i}"], pads=[pad] * 4),
            node("Relu", [f"c{i}"], [f"r{i}"]),
            node("QuantizeLinear", [f"r{i}", "xs", "xz"], [f"q{i}"]),
            node("DequantizeLinear", [f"q{i}", "xs", "xz"], [f"d{i + 1}"]),
        ]
    shape = [1, layer.inputs, layer.size, layer.size]
    last = nodes[-1].input[0]
    model = _model(
        nodes[:-1],
        [helper.make_tensor_value_info("x", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info(last, TensorProto.UINT8, shape)],
        constants,
    )
    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(model.SerializeToString()), "CPU", settings)
    request = compiled.create_infer_request()
    x = np.ascontiguousarray(case.x.transpose(0, 3, 1, 2))
    request.set_input_tensor(openvino.Tensor(x))
    return request.infer


def kernel_weight(coded: CodedWeight, layer: Layer) -> NDArray[np.int8]:
    """Decoded weights int8 [O, I, k, k]."""
    weight = form.decode(coded).transpose(0, 2, 1)
    return np.ascontiguousarray(
        weight.reshape(layer.outputs, layer.inputs, layer.kernel, layer.kernel)
    )


def check(
    name: str, side: Callable[[], Any], peer: Callable[[], list[Any]], y: list[_Bytes]
) -> float:
    """Mean absolute difference in steps of y, which is spread over 40 of them."""
    side()
    outputs = [value.numpy().astype(int) for value in peer()]
    apart = [float(np.abs(ours - theirs).mean()) for ours, theirs in zip(y, outputs, strict=True)]
    if max(apart) > 2 or any(np.ptp(ours) < 100 for ours in y):
        raise SystemExit(f"{name}: differs from onnxruntime by {max(apart):.2f} steps")
    return round(max(apart), 3)


def timed(sides: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Process CPU seconds of one call of each side, in turn, ``rounds`` times."""
    calls = {}
    for name, side in sides.items():
        side()
        calls[name] = max(1, int(LEAST / _seconds(side, 1)))
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            times[name].append(_seconds(side, calls[name]))
    return times


def _seconds(side: Callable[[], Any], calls: int) -> float:
    start = time.process_time()
    for _ in range(calls):
        side()
    return max(time.process_time() - start, 1e-6) / calls


def _all(
    lookups: Sequence[Lookup], x: _Bytes, y: Sequence[_Bytes], finishes: Sequence[Finish]
) -> Callable[[], None]:
    calls = [
        lookup.prepare(x, output, finish)
        for lookup, output, finish in zip(lookups, y, finishes, strict=True)
    ]

    def run() -> None:
        for call in calls:
            call()

    return run


def _value(name: str, channels: int, size: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.UINT8, [1, size, size, channels])


def _model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    constants: dict[str, Any],
) -> onnx.ModelProto:
    tensors = [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()]
    graph = helper.make_graph(list(nodes), "layers", list(inputs), list(outputs), tensors)
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=9)


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


if __name__ == "__main__":
    main()
