"""Linear layers at batch 1 in the native benchmark: weights come from memory.

Every side has so many copies of the layer, with weights of their own, that they are 128 MiB of
codes or more, a multiple of the last-level cache; a call computes all of them, one after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.native import linear_peers as peers
from benchmarks.native.cases import Y_ZERO, random_book, random_x, table_shift
from benchmarks.native.ceilings import Ceilings
from benchmarks.native.timing import figures, in_turn, timed
from subbyte.methods.product.form import ProductOptions
from subbyte.runtime.native.client import Finish, NativeLibrary, PackedLayer
from subbyte.runtime.native.structures import GemvInt4, GemvLut16

LEAST_BYTES = 128 << 20
LAYERS = ((25088, 4096), (4096, 4096))
LOOKUPS = {
    "d=8": ProductOptions(8),
    "d=4": ProductOptions(4),
    "d=4, 3-bit gain": ProductOptions(4, gain=3),
    "d=2": ProductOptions(2),
}
SCALARS = {f"scalar, {bits} bits": bits for bits in (2, 3, 4)}
_Call = Callable[[], Any]


@dataclass(frozen=True)
class Peer:
    """A runtime's layer and its bits per weight, scales not counted."""

    bits: int
    make: Callable[[NDArray[np.uint8], int, int], _Call]


PEERS = {
    "onnxruntime int8": Peer(8, peers.onnxruntime_int8),
    "openvino int8": Peer(8, peers.openvino_int8),
    "openvino 4-bit, groups of 128": Peer(4, peers.openvino_4bit),
    **{
        f"onnxruntime {bits}-bit, groups of {block}": Peer(
            bits, partial(peers.onnxruntime_bits, bits=bits, block=block)
        )
        for bits in (4, 2)
        for block in (32, 128)
    },
}


def measure(
    library: NativeLibrary, inputs: int, outputs: int, rounds: int, ceilings: Ceilings
) -> dict[str, Any]:
    """One layer in all formats and on the peers."""
    x = random_x((1, inputs))
    bits = {name: (o.code_bits + o.gain) / o.group for name, o in LOOKUPS.items()}
    bits |= SCALARS | {name: peer.bits for name, peer in PEERS.items()}
    copies = {name: -(-LEAST_BYTES * 8 // int(inputs * outputs * b)) for name, b in bits.items()}
    sides: dict[str, _Call] = {}
    for name, options in LOOKUPS.items():
        sides[name] = _looked_up(library, x, outputs, options, copies[name])
    for name, width in SCALARS.items():
        sides[name] = _unpacked(library, x, outputs, width, copies[name])
    for name, peer in PEERS.items():
        sides[name] = peer.make(x, outputs, copies[name])
    times = timed(sides | dict(ceilings.calls), rounds)
    macs = inputs * outputs
    row = {name: figures(times[name], copies[name], macs) for name in sides}
    peaks = {name: figures(times[name], 1, ceilings.work[name])["gmacs"] for name in ceilings.calls}
    for name, side in row.items():
        side |= {"bits": round(bits[name], 3), "copies": copies[name]}
        side["gigabytes"] = round(macs * bits[name] / 8 / side["median_us"] / 1e3, 2)
        if peaks:
            side["share"] = round(side["gigabytes"] / peaks["read"], 3)
    return {"layer": f"{inputs}->{outputs}", "macs": macs, "ceilings": peaks, "sides": row}


def _looked_up(
    library: NativeLibrary, x: NDArray[np.uint8], outputs: int, options: ProductOptions, copies: int
) -> _Call:
    inputs, d = x.shape[1], options.group
    rng = np.random.default_rng(d)
    book = random_book(rng, inputs // d, options)
    gains = options.gain_levels()
    grid = (outputs, inputs // d)
    codes = rng.integers(0, 16, grid, np.uint8)
    gain_codes = rng.integers(0, len(gains), grid, np.uint8) if options.gain else None
    shift = table_shift(book, x)
    levels = len(gains) if options.gain else 0
    shape = GemvLut16(1, inputs, outputs, d, gain_levels=levels, shift=shift)
    packed = library.pack(shape, codes, gain_codes, gains if options.gain else None, book)
    products = np.einsum("gi,gki->gk", x.reshape(-1, d).astype(np.int64), book.astype(np.int64))
    # Ties go up in even groups and down in odd ones.
    halves = ((1 << shift) >> 1) - (np.arange(len(products)) % 2 if shift else 0)
    entries = np.clip((products + np.reshape(halves, (-1, 1))) >> shift, -128, 127)
    rows = slice(0, peers.CHECKED)
    looked = np.take_along_axis(entries[None], codes[rows, :, None], 2)[..., 0]
    if gain_codes is not None:
        looked = looked * gains[gain_codes[rows]]
    return _copies(packed, x, outputs, looked.sum(1), copies)


def _unpacked(
    library: NativeLibrary, x: NDArray[np.uint8], outputs: int, bits: int, copies: int
) -> _Call:
    inputs = x.shape[1]
    rng = np.random.default_rng(bits)
    codes = rng.integers(0, 1 << bits, (outputs, inputs), np.uint8)
    levels = np.linspace(-120, 120, 1 << bits).astype(np.int8)
    packed = library.pack(GemvInt4(1, inputs, outputs, bits), codes, levels)
    wanted = levels[codes[: peers.CHECKED]].astype(np.int64) @ x[0].astype(np.int64)
    return _copies(packed, x, outputs, wanted, copies)


def _copies(
    packed: PackedLayer, x: NDArray[np.uint8], outputs: int, wanted: NDArray[np.int64], copies: int
) -> _Call:
    """The layer from ``copies`` places in memory; its first sums are ``wanted``."""
    sums = packed.run(x, np.int32)
    if not np.array_equal(sums[0, : peers.CHECKED], wanted):
        raise SystemExit(f"{packed.layer.prefix}: {outputs} outputs differ from NumPy")
    scale = np.full(outputs, 40 / float(sums.std()), np.float32)
    finish = Finish(scale, np.zeros(outputs, np.float32), zero=Y_ZERO)
    calls = []
    for _ in range(copies):
        y = np.zeros((1, outputs), np.uint8)
        calls.append(packed.copy().prepare(x, y, finish))
    return in_turn(calls)
