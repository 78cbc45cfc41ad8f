"""Recipes of operators that move entries, look them up, reduce them or make them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from tests.random_graphs.pool import Constant, Draft, Hopeless, Operand, Pool, Value, vector
from tests.random_graphs.recipes import recipe

ANY = "fib"


def axes_of(pool: Pool, x: Value, axes: list[int], since: int, **more: Any) -> Draft:
    """A node on ``axes``, as an attribute before operator set ``since``, as an input from then."""
    op_type: str = more.pop("op_type")
    if pool.opset < since:
        return Draft(op_type, [x], more | {"axes": axes})
    return Draft(op_type, [x, vector(*axes)], more)


@recipe("Reshape")
def reshape(pool: Pool, op_type: str) -> Draft:
    x = pool.pick(ANY, lambda a: a.ndim > 1)
    rest = int(np.prod(x.array.shape[1:]))
    cuts = [n for n in range(1, rest + 1) if rest % n == 0]
    first = pool.choice(cuts)
    first_axis = 0 if pool.chance(0.6) else -1
    options = [[first_axis, rest], [first_axis, first, rest // first], [0, first, -1]]
    options += [[-1], [0, 0, -1], [first_axis, 1, first, rest // first]]
    return Draft(op_type, [x, vector(*pool.choice(options))])


@recipe("Flatten")
def flatten(pool: Pool, op_type: str) -> Draft:
    x = pool.pick(ANY, lambda a: a.ndim > 0)
    return Draft(op_type, [x], {} if pool.chance(0.5) else {"axis": pool.axis(x.array)})


@recipe("Squeeze")
def squeeze(pool: Pool, op_type: str) -> Draft:
    x = pool.pick(ANY, lambda a: 1 in a.shape[1:])
    ones = [axis for axis in range(1, x.array.ndim) if x.array.shape[axis] == 1]
    chosen = sorted(pool.rng.sample(ones, pool.rng.randint(1, len(ones))))
    return axes_of(pool, x, chosen, 13, op_type=op_type)


@recipe("Unsqueeze")
def unsqueeze(pool: Pool, op_type: str) -> Draft:
    x = pool.pick(ANY)
    axis = pool.rng.randint(-x.array.ndim - 1, x.array.ndim)
    return axes_of(pool, x, [axis], 13, op_type=op_type)


@recipe("Transpose")
def transpose(pool: Pool, op_type: str) -> Draft:
    x = pool.pick(ANY, lambda a: a.ndim > 1)
    order = list(range(x.array.ndim))
    if pool.chance(0.7):
        tail = order[1:]
        pool.rng.shuffle(tail)
        order[1:] = tail
    else:
        pool.rng.shuffle(order)
    return Draft(op_type, [x], {} if pool.chance(0.1) else {"perm": order})


@recipe("Expand")
def expand(pool: Pool, op_type: str) -> Draft:
    x = pool.pick(ANY)
    shape = [1 if n > 1 else pool.rng.randint(1, 3) for n in x.array.shape]
    return Draft(op_type, [x, vector(*([2] if pool.chance(0.2) else []), *shape)])


@recipe("Tile")
def tile(pool: Pool, op_type: str) -> Draft:
    x = pool.pick(ANY, lambda a: a.ndim > 0)
    return Draft(op_type, [x, vector(1, *(pool.rng.randint(1, 2) for _ in x.array.shape[1:]))])


@recipe("Concat")
def concat(pool: Pool, op_type: str) -> Draft:
    x = pool.pick("fi", lambda a: a.ndim > 0)
    axis = pool.axis(x.array, first=1 if x.array.ndim > 1 else 0)
    place = axis % x.array.ndim

    def fits(a: Any) -> bool:
        if a.dtype != x.array.dtype or a.ndim != x.array.ndim:
            return False
        return all(a.shape[k] == x.array.shape[k] for k in range(a.ndim) if k != place)

    others: list[Operand] = [pool.pick("fi", fits) for _ in range(pool.rng.randint(0, 2))]
    return Draft(op_type, [x, *others], {"axis": axis})


@recipe("Split")
def split(pool: Pool, op_type: str) -> Draft:
    x = pool.pick("fi", lambda a: a.ndim > 1 and max(a.shape[1:]) > 1)
    axis = pool.choice([axis for axis in range(1, x.array.ndim) if x.array.shape[axis] > 1])
    size = x.array.shape[axis]
    first = pool.rng.randint(1, size - 1)
    if size % 2 == 0 and pool.chance(0.5):
        many = {"num_outputs": 2} if pool.opset >= 18 else {}
        return Draft(op_type, [x], {"axis": axis} | many, outputs=2)
    sizes = [first, size - first]
    if pool.opset < 13:
        return Draft(op_type, [x], {"axis": axis, "split": sizes}, outputs=2)
    return Draft(op_type, [x, vector(*sizes)], {"axis": axis}, outputs=2)


@recipe("Slice")
def slice_(pool: Pool, op_type: str) -> Draft:
    x = pool.pick(ANY, lambda a: a.ndim > 1)
    axis = pool.axis(x.array, first=1)
    size = x.array.shape[axis]
    start, step = pool.rng.randrange(size), pool.choice([1, 1, 2, -1])
    stop = pool.choice([size, 2**31 - 1, -1]) if step > 0 else -(2**31)
    parts = [vector(start), vector(stop), vector(axis), vector(step)]
    return Draft(op_type, [x, *parts])


@recipe("Pad")
def pad(pool: Pool, op_type: str) -> Draft:
    x = pool.pick("f", lambda a: a.ndim > 1)
    axes = x.array.ndim - 1
    before, after = ([0, *(pool.rng.randint(0, 2) for _ in range(axes))] for _ in range(2))
    mode = pool.choice(["constant", "constant", "reflect", "edge"])
    fill = (
        Constant(np.array(0.5, x.array.dtype)) if mode == "constant" and pool.chance(0.5) else None
    )
    return Draft(op_type, [x, vector(*before, *after), fill], {"mode": mode})


@recipe("Gather")
def gather(pool: Pool, op_type: str) -> Draft:
    if pool.chance(0.4):
        ids = pool.pick("i", lambda a: a.size > 0 and a.min() >= 0 and a.max() < 40)
        rows = max(int(ids.array.max()) + 1, pool.choice([8, 40]))
        return Draft(op_type, [pool.weight([rows, pool.choice([1, 4, 8])]), ids])
    x = pool.pick(ANY, lambda a: a.ndim > 1)
    axis = pool.axis(x.array, first=1)
    size = x.array.shape[axis]
    shape = pool.choice([[], [1], [2], [2, 1]])
    return Draft(op_type, [x, pool.integers(-size, size, shape)], {"axis": axis})


@recipe("GatherElements")
def gather_elements(pool: Pool, op_type: str) -> Draft:
    x = pool.pick(ANY, lambda a: a.ndim > 1 and a.shape[0] == 1)
    axis = pool.axis(x.array, first=1)
    return Draft(op_type, [x, pool.integers(0, x.array.shape[axis], x.array.shape)], {"axis": axis})


@recipe("GatherND")
def gather_nd(pool: Pool, op_type: str) -> Draft:
    x = pool.pick(ANY, lambda a: a.ndim > 1 and a.shape[0] == 1)
    return Draft(op_type, [x, pool.integers(0, min(x.array.shape), [2, pool.rng.randint(1, 2)])])


@recipe("ScatterElements")
def scatter_elements(pool: Pool, op_type: str) -> Draft:
    x = pool.pick("f", lambda a: a.ndim > 1 and a.shape[0] == 1)
    axis = pool.axis(x.array, first=1)
    shape = [1] * x.array.ndim
    places = pool.integers(0, x.array.shape[axis], shape)
    return Draft(op_type, [x, places, pool.normal(shape, x.array.dtype)], {"axis": axis})


@recipe("ScatterND")
def scatter_nd(pool: Pool, op_type: str) -> Draft:
    x = pool.pick("f", lambda a: a.ndim > 1)
    places = Constant(np.zeros([1, 1], np.int64))
    return Draft(op_type, [x, places, pool.normal([1, *x.array.shape[1:]], x.array.dtype)])


@recipe("Compress")
def compress(pool: Pool, op_type: str) -> Draft:
    x = pool.pick(ANY, lambda a: a.ndim > 1)
    axis = pool.axis(x.array, first=1)
    kept = pool.integers(0, 2, [x.array.shape[axis]]).array.astype(bool)
    return Draft(op_type, [x, Constant(kept)], {"axis": axis})


@recipe("DepthToSpace")
def depth_to_space(pool: Pool, op_type: str) -> Draft:
    x = pool.pick("f", lambda a: a.ndim == 4 and a.shape[1] % 4 == 0)
    mode = {"mode": pool.choice(["DCR", "CRD"])} if pool.chance(0.6) else {}
    return Draft(op_type, [x], {"blocksize": 2} | mode)


@recipe("SpaceToDepth")
def space_to_depth(pool: Pool, op_type: str) -> Draft:
    even = pool.pick("f", lambda a: a.ndim == 4 and a.shape[2] % 2 == 0 and a.shape[3] % 2 == 0)
    return Draft(op_type, [even], {"blocksize": 2})


@recipe("Shape", "Size", "NonZero")
def description(pool: Pool, op_type: str) -> Draft:
    start = {"start": 1} if op_type == "Shape" and pool.opset >= 15 and pool.chance(0.3) else {}
    return Draft(op_type, [pool.pick(ANY)], start)


@recipe("ConstantOfShape")
def constant_of_shape(pool: Pool, op_type: str) -> Draft:
    shape = pool.pick("i", lambda a: a.ndim == 1 and a.size < 5 and a.min(initial=1) > 0)
    value = onnx.numpy_helper.from_array(np.array([1.5], np.float32))
    return Draft(op_type, [shape], {"value": value} if pool.chance(0.6) else {})


@recipe("EyeLike")
def eye_like(pool: Pool, op_type: str) -> Draft:
    k = {"k": pool.choice([-1, 1])} if pool.chance(0.4) else {}
    return Draft(op_type, [pool.floats(ranks=(2,))], k)


@recipe("Range")
def range_(pool: Pool, op_type: str) -> Draft:
    ends = [Constant(np.array(n, np.int64)) for n in (0, pool.rng.randint(1, 6), 1)]
    return Draft(op_type, ends)


@recipe("Constant")
def constant(pool: Pool, op_type: str) -> Draft:
    kind = pool.choice(["value_float", "value_floats", "value_int", "value_ints"])
    held: Any = 0.75 if "float" in kind else 2
    return Draft(op_type, [], {kind: [held] * 3 if kind.endswith("s") else held})


@recipe("OneHot")
def one_hot(pool: Pool, op_type: str) -> Draft:
    ids = pool.pick("i")
    depth = Constant(np.array(pool.rng.randint(2, 6), np.int64))
    return Draft(op_type, [ids, depth, Constant(np.array([0, 1], np.float32))])


@recipe("TopK")
def top_k(pool: Pool, op_type: str) -> Draft:
    x = pool.floats(least=1)
    axis = pool.axis(x.array)
    attributes = {"axis": axis} | ({"largest": 0} if pool.chance(0.3) else {})
    return Draft(op_type, [x, vector(pool.rng.randint(1, x.array.shape[axis]))], attributes, 2)


@recipe("Trilu")
def trilu(pool: Pool, op_type: str) -> Draft:
    offset: list[Operand] = [Constant(np.array(1, np.int64))] if pool.chance(0.4) else []
    return Draft(op_type, [pool.floats(least=2), *offset], {"upper": pool.rng.randint(0, 1)})


@recipe("ReverseSequence")
def reverse_sequence(pool: Pool, op_type: str) -> Draft:
    x = pool.pick("f", lambda a: a.ndim > 1 and a.shape[0] == 1)
    lengths = pool.integers(1, x.array.shape[1] + 1, [1])
    return Draft(op_type, [x, lengths], {"batch_axis": 0, "time_axis": 1})


@recipe("CumSum", "CumProd")
def cumulative(pool: Pool, op_type: str) -> Draft:
    x = pool.floats(least=2)
    axis = Constant(np.array(pool.axis(x.array, first=1), np.int64))
    names = [name for name in ("reverse", "exclusive") if pool.chance(0.3)]
    return Draft(op_type, [x, axis], dict.fromkeys(names, 1))


@recipe("ArgMax", "ArgMin")
def arg(pool: Pool, op_type: str) -> Draft:
    x = pool.floats(least=1)
    keep = {"keepdims": 0} if pool.chance(0.5) else {}
    last = {"select_last_index": 1} if pool.opset >= 12 and pool.chance(0.2) else {}
    return Draft(op_type, [x], {"axis": pool.axis(x.array)} | keep | last)


@recipe(
    *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean"),
    *("ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"),
)
def reduction(pool: Pool, op_type: str) -> Draft:
    x = pool.floats(least=1)
    if x.array.ndim < 2:
        raise Hopeless
    keep = {"keepdims": 0} if pool.chance(0.5) else {}
    if pool.chance(0.1):
        return Draft(op_type, [x], keep)
    places = range(1, x.array.ndim)
    axes = sorted(pool.rng.sample(places, pool.rng.randint(1, len(places))))
    since = 13 if op_type == "ReduceSum" else 18
    return axes_of(pool, x, axes, since, op_type=op_type, **keep)
