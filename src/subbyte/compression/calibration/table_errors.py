"""How far a layer that is looked up is from the same layer multiplied, computed as kernels do.

For every input pixel a look-up kernel builds a table of the inner products p of the pixel's
channels with the codebook's words, as int8 entries

    clamp((p + half) >> shift, -128, 127)      half = 2^(shift - 1) - g mod 2, 0 for shift 0

of channel group g (docs/kernel-derivations.md). Here every entry is less its product: summed
over taps and groups by the weight's codes, times the gains, that is the layer's error. A gain
multiplies the unrounded word, where the file's weights are rounded; that is part of the error.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from subbyte.compression.calibration.rows import entry_axis, from_rows, input_rows, position_count
from subbyte.graph.network import Layer
from subbyte.graph.quant_params import QuantParams
from subbyte.methods import METHODS, CodedWeight, LookupTables
from subbyte.methods.coded import decode_scale

MOST_SHIFT = 8
PRODUCTS = 1 << 23


@dataclass(frozen=True)
class TableLayer:
    """A layer that has tables.

    ``words`` float32 [groups, G, K, d] of G channel groups of every convolution group; ``codes``
    uint8 and ``gains`` float32 [groups, O of a group, T * G]. ``left_out`` float32 [groups,
    O of a group, T * I]: gain * word less the file's rounded weight; None without gains.
    ``scale`` float32 [O]: an output's unit. ``params``: of the input.
    """

    layer: Layer
    words: Tensor
    codes: Tensor
    gains: Tensor | None
    left_out: Tensor | None
    scale: Tensor
    params: QuantParams

    @property
    def length(self) -> int:
        """Channels of a word, d."""
        return int(self.words.shape[3])


def table_layer(
    layer: Layer, coded: CodedWeight, params: QuantParams, device: torch.device
) -> TableLayer | None:
    """``layer`` with the tables of ``coded``; None where that has none."""
    tables: LookupTables | None = METHODS[coded.method].tables(coded)
    if tables is None:
        return None
    shape = layer.shape
    groups, channel_groups = shape.groups, tables.codes.shape[2]
    words = torch.from_numpy(tables.words).to(device, torch.float32)
    words = words.expand(groups * channel_groups, -1, -1).unflatten(0, (groups, channel_groups))
    codes = (
        torch.from_numpy(tables.codes).to(device).reshape(groups, -1, shape.taps, channel_groups)
    )
    gains = left_out = None
    if tables.gains is not None:
        gains = torch.from_numpy(tables.gains).to(device, torch.float32).reshape(codes.shape)
        place = torch.arange(channel_groups, device=device)
        chosen = torch.stack([words[g][place, codes[g].long()] for g in range(groups)])
        exact = (gains[..., None] * chosen).flatten(3)[..., : shape.inputs].flatten(2)
        effective = torch.from_numpy(METHODS[coded.method].decode(coded)).to(exact)
        left_out = exact - effective.reshape(exact.shape)
        gains = gains.flatten(2)
    scale = torch.from_numpy(decode_scale(coded)).to(device) * params.scale
    return TableLayer(layer, words, codes.flatten(2), gains, left_out, scale, params)


def table_error(
    tables: TableLayer, shift: int, value: Tensor, output: Tensor, products: int = PRODUCTS
) -> Tensor:
    """What looking up adds to ``output``, of the layer's input ``value``, for tables of ``shift``:
    float32 of the output's shape. ``products``: inner products held at a time."""
    layer = tables.layer
    entries, count = _entry_count(layer, value), position_count(layer, value, output)
    step = max(1, products // (entries * _table_size(tables)))
    size = tuple(output.shape[2:])
    parts = []
    for first in range(0, count, step):
        places = torch.arange(first, min(first + step, count), device=value.device)
        rows = input_rows(layer, _codes(value, tables.params), places.expand(entries, -1), size)
        parts.append(rows_error(tables, shift, rows.flatten(0, 1)).unflatten(0, (entries, -1)))
    return from_rows(layer, torch.cat(parts, 1), output)


def rows_error(tables: TableLayer, shift: int, rows: Tensor) -> Tensor:
    """The same for rows [R, groups, T * I] of input codes less their zero point: [R, O]."""
    return _summed(tables, rows, _entry_errors(_products(tables, rows), shift))


def best_shift(tables: TableLayer, rows: Tensor, products: int = PRODUCTS) -> int:
    """The shift of least squared error of the outputs, in their units, on ``rows``.

    The search goes down from the least shift at which none of the rows saturates a table: larger
    ones only round more. It ends where two more bits have made it worse. ``products``: inner
    products held at a time.
    """
    parts = rows.split(max(1, products // _table_size(tables)))
    most = max(float(_products(tables, part).abs().max()) for part in parts)
    shift = min(MOST_SHIFT, max(0, math.ceil(math.log2(max(most, 1.0) / 127.0))))
    best, least, worse = shift, math.inf, 0
    for tried in range(shift, -1, -1):
        errors = (rows_error(tables, tried, part) for part in parts)
        found = sum(float(error.square().sum(dtype=torch.float64)) for error in errors)
        best, least, worse = (tried, found, 0) if found < least else (best, least, worse + 1)
        if worse == 2:
            break
    return best


def input_codes(tables: TableLayer, value: Tensor) -> Tensor:
    """The codes of the layer's input less their zero point: integers, as float32."""
    return _codes(value, tables.params)


def _table_size(tables: TableLayer) -> int:
    """Inner products of one output position."""
    return tables.codes.shape[0] * tables.codes.shape[2] * tables.words.shape[2]


def _entry_count(layer: Layer, value: Tensor) -> int:
    axis = entry_axis(layer, value)
    return 1 if axis is None else value.shape[axis]


def _products(tables: TableLayer, rows: Tensor) -> Tensor:
    """Inner products [R, groups, T, G, K] with all words."""
    shape, length = tables.layer.shape, tables.length
    pixels = rows.unflatten(2, (shape.taps, shape.inputs))
    pixels = torch.nn.functional.pad(pixels, (0, -shape.inputs % length))
    return torch.einsum("rptgd,pgkd->rptgk", pixels.unflatten(3, (-1, length)), tables.words)


def _entry_errors(products: Tensor, shift: int) -> Tensor:
    """Entries, in units of the products, less the products [..., G, K]."""
    groups = torch.arange(products.shape[-2], device=products.device)
    half = (2 ** (shift - 1) - groups % 2 if shift else 0 * groups).to(products)
    entries = ((products + half[:, None]) / 2**shift).floor_()
    return entries.clamp_(-128, 127).mul_(2**shift).sub_(products)


def _summed(tables: TableLayer, rows: Tensor, errors: Tensor) -> Tensor:
    """Errors [R, groups, T, G, K] of entries to errors of outputs [R, O], in the outputs' units."""
    by_word = errors.permute(4, 1, 0, 2, 3).flatten(3)
    total = sum(map(torch.matmul, by_word, _chosen(tables)), torch.zeros((), device=rows.device))
    if tables.left_out is not None:
        total = total + rows.transpose(0, 1) @ tables.left_out.transpose(1, 2)
    return total.transpose(0, 1).flatten(1) * tables.scale


def _chosen(tables: TableLayer) -> Iterator[Tensor]:
    """For every word [groups, T * G, O of a group]: the gain where a code chooses it, else 0."""
    for word in range(tables.words.shape[2]):
        chosen = (tables.codes == word).to(tables.words)
        if tables.gains is not None:
            chosen *= tables.gains
        yield chosen.transpose(1, 2)


def _codes(value: Tensor, params: QuantParams) -> Tensor:
    codes = (value / params.scale).round() + params.zero_point
    return codes.clamp(0, 255) - params.zero_point
