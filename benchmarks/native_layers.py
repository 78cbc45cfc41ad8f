"""Single layers: the native kernels against other runtimes' int8, 4-bit and 2-bit ones.

python -m benchmarks.native_layers [--rounds N] [--only TEXT ...] [--output FILE.json]

Convolutions: both sides compute the same quantized layer; the peer's int8 weights are the decoded
product codes, x and y are uint8 NHWC. onnxruntime runs QLinearConv with channels last, so that
neither side moves a layout; OpenVINO runs the same layer as DequantizeLinear, Conv,
QuantizeLinear, with its own layout inside: chains of COPIES layers where inputs and outputs are as
many, else it is left out. A layer is measured COPIES times with different weights. Binary layers
have signs of their own, and binarize x, which is uint8, themselves, with scales per column (HORQ).

Linear layers at batch 1 (linear.py): each side has its own weights, enough of them that
they come from memory.

All sides are measured in turn, as process CPU time on one thread; figures are microseconds of one
layer. Before that, results are checked: ours and OpenVINO's convolutions against onnxruntime's,
binary and linear ones against NumPy. What the CPU can do at most (native_ceilings.py) is measured
in turn with them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.native import binary, linear
from benchmarks.native.cases import COPIES, X_SCALE, Y_ZERO, Case, Layer, make_case, table_shift
from benchmarks.native.ceilings import Ceilings, ceilings
from benchmarks.native.peers import openvino_chain, stock
from benchmarks.native.timing import figures, in_turn, timed
from subbyte.methods import packing
from subbyte.methods.coded import decode_scale
from subbyte.methods.product.form import ProductOptions
from subbyte.report.system import system
from subbyte.runtime.native.client import Finish, NativeLibrary, PackedLayer
from subbyte.runtime.native.structures import ConvLut16

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "native_layers.json"
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
    parser.add_argument("--only", nargs="+", default=[""], help="parts of the layers' names")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    library, limits = NativeLibrary(), ceilings()

    def chosen(name: str) -> bool:
        return any(text in name for text in arguments.only)

    layers = [
        measure(library, layer, arguments.rounds, limits) for layer in LAYERS if chosen(layer.name)
    ]
    linear_layers = [
        linear.measure(library, *size, arguments.rounds, limits)
        for size in linear.LAYERS
        if chosen("->".join(map(str, size)))
    ]
    record = {
        "layers": layers,
        "linear": linear_layers,
        "rounds": arguments.rounds,
        "copies": COPIES,
        "threads": 1,
        "level": library.isa,
        "no_ceilings": limits.missing,
        "peers": {name: metadata.version(name) for name in ("onnxruntime", "openvino")},
        "system": system(),
    }
    arguments.output.write_text(json.dumps(record, indent=1) + "\n")
    for row in layers + linear_layers:
        cells = [f"{name} {side['median_us']:.0f}" for name, side in row["sides"].items()]
        print(f"{row['layer']}: " + "; ".join(cells))


def measure(library: NativeLibrary, layer: Layer, rounds: int, limits: Ceilings) -> dict[str, Any]:
    """One layer in all formats and on the peers."""
    sides: dict[str, Callable[[], Any]] = {}
    extra: dict[str, dict[str, Any]] = {}
    for name, options in FORMATS.items():
        case = make_case(layer, options)
        lookups, finishes = native(library, case)
        y = [np.zeros((1, layer.size, layer.size, layer.outputs), np.uint8) for _ in lookups]
        sides[name] = in_turn(
            [p.prepare(case.x, out, f) for p, out, f in zip(lookups, y, finishes, strict=True)]
        )
        peer = stock(case)
        sides["onnxruntime int8"] = peer
        extra[name] = {"bits": bits(options), "mean_difference": check(name, sides[name], peer, y)}
    if layer.inputs == layer.outputs:
        sides["openvino int8"] = openvino_chain(case)
    for name, order in binary.ORDERS.items():
        sides[name] = binary.binary(library, layer, case.x, order)
        extra[name] = {"bits": 1.0, "order": order}
    times = timed(sides | dict(limits.calls), rounds)
    peaks = {name: figures(times[name], 1, limits.work[name])["gmacs"] for name in limits.calls}
    row = {name: figures(times[name], COPIES, layer.macs) | extra.get(name, {}) for name in sides}
    for name, side in row.items():
        if peaks:
            side["share"] = round(side["gmacs"] / peak(name, peaks), 3)
    best = min(side["median_us"] for name, side in row.items() if name.endswith("int8"))
    return {
        "layer": layer.name,
        "macs": layer.macs,
        "best_int8_us": best,
        "ceilings": peaks,
        "sides": row,
    }


def peak(name: str, peaks: Mapping[str, float]) -> float:
    """Multiply-adds a second, in 10^9, of the instructions that a side is made of alone."""
    if name in FORMATS:
        return peaks["look_up"] * FORMATS[name].group
    if name.endswith("int8"):
        return peaks["multiply"]
    return peaks["count"] / binary.ORDERS[name]


def bits(options: ProductOptions) -> float:
    """Bits per weight of codes and gains."""
    return round((options.code_bits + options.gain) / options.group, 3)


def native(library: NativeLibrary, case: Case) -> tuple[list[PackedLayer], list[Finish]]:
    """The packed copies and what is done with their sums."""
    layer, gains = case.layer, case.options.gain_levels()
    shift = table_shift(case.coded[0].inputs["codebook"].astype(np.int8), case.x)
    shape = ConvLut16(
        binary.geometry(layer),
        word_length=case.options.group,
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
        extra = (codes[1], gains) if case.options.gain else (None, None)
        lookups.append(library.pack(shape, codes[0], *extra, book))
        unit = 64 if case.options.gain else 1
        scale = decode_scale(coded) * np.float32(X_SCALE * 2**shift / unit / case.y_scale)
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


if __name__ == "__main__":
    main()
