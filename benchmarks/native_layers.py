"""Single layers: the native look-up kernels against int8 convolutions.

python -m benchmarks.native_layers [--rounds N] [--layers NAME ...] [--output FILE.json]

Both sides compute the same quantized layer: the peer's int8 weights are the decoded product
codes, x and y are uint8 NHWC. onnxruntime runs QLinearConv with channels last, so that neither
side moves a layout; OpenVINO runs the same layer as DequantizeLinear, Conv, QuantizeLinear,
with its own layout inside: chains of COPIES layers where inputs and outputs are as many, else
it is left out. A layer is measured COPIES times with different weights, in turn with the
peers, as process CPU time on one thread; figures are microseconds of one layer. Before that,
results are checked: ours and OpenVINO's against onnxruntime's.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.native_cases import COPIES, X_SCALE, Y_ZERO, Case, Layer, make_case, table_shift
from benchmarks.native_library import Finish, Library, Lookup, Shape
from benchmarks.native_peers import openvino_chain, stock
from subbyte.methods import packing
from subbyte.methods.product import form
from subbyte.methods.product.form import ProductOptions
from subbyte.report.system import system

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "native_layers.json"
# Longer than the process clock is coarse, in seconds.
LEAST = 0.01
_Bytes = NDArray[np.uint8]


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
        "peers": {name: metadata.version(name) for name in ("onnxruntime", "openvino")},
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


if __name__ == "__main__":
    main()
