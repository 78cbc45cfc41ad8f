"""Recipes of layers with weights, windows and normalization."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.random_graphs.pool import Constant, Draft, Hopeless, Operand, Pool, Value, vector
from tests.random_graphs.recipes import recipe

WIDTHS = (1, 3, 4, 6, 8, 12)
PADS = ("NOTSET", "NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")


def window(pool: Pool, axes: int, most: int = 3) -> dict[str, Any]:
    """Attributes of a sliding window over ``axes`` axes."""
    found: dict[str, Any] = {"kernel_shape": [pool.rng.randint(1, most) for _ in range(axes)]}
    if pool.chance(0.5):
        found["strides"] = [pool.rng.randint(1, 2) for _ in range(axes)]
    auto = pool.choice(PADS)
    if auto != "NOTSET":
        found["auto_pad"] = auto
    elif pool.chance(0.6):
        found["pads"] = [pool.rng.randint(0, k // 2) for k in found["kernel_shape"] * 2]
    if pool.chance(0.2):
        found["dilations"] = [pool.rng.randint(1, 2) for _ in range(axes)]
    return found


def bias(pool: Pool, outputs: int, dtype: Any) -> list[Operand]:
    """A bias, or none."""
    return [pool.normal([outputs], dtype, 0.1)] if pool.chance(0.6) else []


def image(pool: Pool) -> Value:
    """A float value of 3 to 5 axes."""
    return pool.floats(ranks=(3, 4, 4, 5))


def grouping(pool: Pool, channels: int) -> int:
    """How many groups ``channels`` make: 1, all, or another divisor."""
    divisors = [n for n in range(1, channels + 1) if channels % n == 0]
    return 1 if pool.chance(0.6) else pool.choice([*divisors, channels])


@recipe("Conv")
def conv(pool: Pool, op_type: str) -> Draft:
    x = image(pool)
    channels, dtype = x.array.shape[1], x.array.dtype
    group = grouping(pool, channels)
    outputs = group * pool.choice([1, 1, 2, 4]) if group > 1 else pool.choice(WIDTHS)
    attributes = window(pool, x.array.ndim - 2)
    weight = pool.weight([outputs, channels // group, *attributes["kernel_shape"]], dtype)
    attributes |= {"group": group} if group > 1 else {}
    if pool.chance(0.3):
        del attributes["kernel_shape"]
    return Draft(op_type, [x, weight, *bias(pool, outputs, dtype)], attributes)


@recipe("ConvTranspose")
def conv_transpose(pool: Pool, op_type: str) -> Draft:
    x = image(pool)
    channels, axes, dtype = x.array.shape[1], x.array.ndim - 2, x.array.dtype
    group = grouping(pool, channels)
    each = pool.choice([1, 2, 3])
    attributes = window(pool, axes)
    weight = pool.weight([channels, each, *attributes["kernel_shape"]], dtype)
    attributes |= {"group": group} if group > 1 else {}
    if "strides" in attributes and pool.chance(0.3):
        attributes["output_padding"] = [pool.rng.randrange(s) for s in attributes["strides"]]
    elif pool.chance(0.1):
        attributes["output_shape"] = [2 * size for size in x.array.shape[2:]]
    return Draft(op_type, [x, weight, *bias(pool, each * group, dtype)], attributes)


@recipe("Gemm")
def gemm(pool: Pool, op_type: str) -> Draft:
    x = pool.floats(ranks=(2,))
    turned, outputs = pool.chance(0.6), pool.choice(WIDTHS)
    across = pool.chance(0.1)
    inputs = x.array.shape[0 if across else 1]
    weight = pool.weight([outputs, inputs] if turned else [inputs, outputs], x.array.dtype)
    attributes: dict[str, Any] = {"transB": 1} if turned else {}
    attributes |= {"transA": 1} if across else {}
    attributes |= {"alpha": 0.5, "beta": 2.0} if pool.chance(0.2) else {}
    shape = pool.choice([[outputs], [1, outputs], [1], [], [1, 1]])
    offset = [pool.normal(shape, x.array.dtype, 0.1)] if pool.chance(0.6) else []
    return Draft(op_type, [x, weight, *offset], attributes)


@recipe("MatMul")
def mat_mul(pool: Pool, op_type: str) -> Draft:
    x = pool.floats(least=1)
    shape, dtype = x.array.shape, x.array.dtype
    if pool.chance(0.2):
        y = pool.pick("f", lambda a: a.ndim > 1 and a.shape[-2] == shape[-1] and a.dtype == dtype)
        return Draft(op_type, [x, y])
    if x.array.ndim > 1 and pool.chance(0.15):
        return Draft(op_type, [pool.weight([pool.choice(WIDTHS), shape[-2]], dtype), x])
    outputs, heads = pool.choice(WIDTHS), list(shape[1:-2])
    kind = pool.rng.randrange(8)
    sizes = [shape[-1], outputs]
    sizes = [1, *sizes] if kind == 0 else [*heads, *sizes] if kind == 1 else sizes
    return Draft(op_type, [x, pool.weight(sizes[:1] if kind == 2 else sizes, dtype)])


@recipe("Einsum")
def einsum(pool: Pool, op_type: str) -> Draft:
    x = pool.floats(ranks=(2, 3, 4))
    letters = "bcde"[: x.array.ndim]
    last = x.array.shape[-1]
    if pool.chance(0.3):
        return Draft(op_type, [x, x], {"equation": f"{letters},{letters}->{letters[:-1]}"})
    weight = pool.weight([pool.choice(WIDTHS), last], x.array.dtype)
    return Draft(op_type, [x, weight], {"equation": f"{letters},z{letters[-1]}->{letters[:-1]}z"})


@recipe("Det")
def determinant(pool: Pool, op_type: str) -> Draft:
    return Draft(op_type, [pool.pick("f", lambda a: a.ndim > 1 and a.shape[-1] == a.shape[-2])])


@recipe("AveragePool", "MaxPool", "LpPool")
def pooling(pool: Pool, op_type: str) -> Draft:
    x = image(pool)
    attributes = window(pool, x.array.ndim - 2)
    if pool.chance(0.3):
        attributes["ceil_mode"] = 1
    if op_type == "AveragePool" and pool.chance(0.4):
        attributes["count_include_pad"] = 1
    if op_type == "LpPool":
        attributes["p"] = pool.choice([1, 2, 3])
    return Draft(op_type, [x], attributes)


@recipe("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pooling(pool: Pool, op_type: str) -> Draft:
    return Draft(op_type, [image(pool)])


@recipe("BatchNormalization")
def batch_normalization(pool: Pool, op_type: str) -> Draft:
    x = pool.floats(least=2)
    size, dtype = [x.array.shape[1]], x.array.dtype
    normal, positive = (lambda: pool.normal(size, dtype)), (lambda: pool.positive(size, dtype))
    operands = [x, positive(), normal(), normal(), positive()]
    return Draft(op_type, operands, {"epsilon": 0.01} if pool.chance(0.3) else {})


@recipe("InstanceNormalization")
def instance_normalization(pool: Pool, op_type: str) -> Draft:
    x = pool.floats(least=3)
    size, dtype = [x.array.shape[1]], x.array.dtype
    return Draft(op_type, [x, pool.positive(size, dtype), pool.normal(size, dtype)])


@recipe("GroupNormalization")
def group_normalization(pool: Pool, op_type: str) -> Draft:
    x = pool.floats(least=3)
    channels, dtype = x.array.shape[1], x.array.dtype
    groups = pool.choice([n for n in range(1, channels + 1) if channels % n == 0])
    size = [channels if pool.opset >= 21 else groups]
    operands = [x, pool.positive(size, dtype), pool.normal(size, dtype)]
    return Draft(op_type, operands, {"num_groups": groups})


@recipe("LayerNormalization", "RMSNormalization")
def layer_normalization(pool: Pool, op_type: str) -> Draft:
    x = pool.floats(least=2)
    axis = pool.axis(x.array, first=1)
    size, dtype = x.array.shape[axis:], x.array.dtype
    operands: list[Operand] = [x, pool.positive(size, dtype)]
    if op_type == "LayerNormalization" and pool.chance(0.6):
        operands.append(pool.normal(size, dtype))
    return Draft(op_type, operands, {} if axis == -1 and pool.chance(0.5) else {"axis": axis})


@recipe("MeanVarianceNormalization")
def mean_variance(pool: Pool, op_type: str) -> Draft:
    return Draft(op_type, [pool.floats(ranks=(4,))])


@recipe("LRN")
def lrn(pool: Pool, op_type: str) -> Draft:
    attributes: dict[str, Any] = {"size": pool.choice([1, 3, 5])}
    attributes |= {"alpha": 0.1, "bias": 2.0} if pool.chance(0.5) else {}
    return Draft(op_type, [pool.floats(ranks=(4,))], attributes)


@recipe("LpNormalization")
def lp_normalization(pool: Pool, op_type: str) -> Draft:
    x = pool.floats(least=1)
    return Draft(op_type, [x], {"axis": pool.axis(x.array), "p": pool.choice([1, 2])})


@recipe("Softmax", "LogSoftmax", "Hardmax")
def softmax(pool: Pool, op_type: str) -> Draft:
    x = pool.floats(least=1)
    return Draft(op_type, [x], {} if pool.chance(0.3) else {"axis": pool.axis(x.array)})


@recipe("Attention")
def attention(pool: Pool, op_type: str) -> Draft:
    x = pool.floats(ranks=(3, 4))
    attributes: dict[str, Any] = {"is_causal": 1} if pool.chance(0.4) else {}
    if x.array.ndim == 3:
        heads = pool.choice([n for n in (1, 2, 3, 4) if x.array.shape[2] % n == 0])
        attributes |= {"q_num_heads": heads, "kv_num_heads": heads}
    return Draft(op_type, [x, x, x], attributes)


@recipe("RotaryEmbedding")
def rotary_embedding(pool: Pool, op_type: str) -> Draft:
    x = pool.pick("f", lambda a: a.ndim == 4 and a.shape[-1] % 2 == 0)
    batch, _, length, width = x.array.shape
    caches = [pool.normal([1, length, width // 2], x.array.dtype) for _ in range(2)]
    tiled = [Constant(np.repeat(c.array, batch, 0)) for c in caches]
    if batch != 1:
        places = [np.tile(np.arange(length), (batch, 1))]
        return Draft(op_type, [x, *(Constant(c.array[0]) for c in caches), Constant(places[0])])
    return Draft(op_type, [x, *tiled], {"interleaved": 1} if pool.chance(0.4) else {})


@recipe("Resize")
def resize(pool: Pool, op_type: str) -> Draft:
    x = image(pool)
    axes = x.array.ndim - 2
    mode = pool.choice(["nearest", "nearest", "linear", "cubic"])
    attributes: dict[str, Any] = {"mode": mode}
    if pool.chance(0.6):
        kinds = ["asymmetric", "half_pixel", "align_corners", "pytorch_half_pixel"]
        attributes["coordinate_transformation_mode"] = pool.choice(kinds)
    if mode == "nearest" and pool.chance(0.5):
        attributes["nearest_mode"] = pool.choice(["floor", "ceil", "round_prefer_floor"])
    if pool.chance(0.5):
        scales = np.array([1, 1, *(pool.choice([0.5, 1, 2]) for _ in range(axes))], np.float32)
        return Draft(op_type, [x, None, Constant(scales)], attributes)
    sizes = [*x.array.shape[:2], *(pool.rng.randint(1, 8) for _ in range(axes))]
    if pool.opset >= 18:
        attributes["axes"] = list(range(2, axes + 2))
        sizes = sizes[2:]
    elif x.array.shape[0] != 1:
        raise Hopeless
    return Draft(op_type, [x, None, None, vector(*sizes)], attributes)
