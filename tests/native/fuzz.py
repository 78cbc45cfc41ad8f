"""Mutated models through the native operators: an error, or a result, but never a crash.

python -m tests.native.fuzz [--count N] [--seed S] [--library FILE]

Small models of every kind of node are changed at random: attributes, shapes and contents of
packed arrays, types, names, shapes of x, single bytes of the file. Each is opened and run.
With a library built with the sanitizers (LD_PRELOAD their runtime) any read or write beyond
a buffer ends the process; the model at fault is the last one written to --keep.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, numpy_helper

import subbyte
from subbyte.graph import island_ops
from subbyte.methods import WeightShape
from tests.graph.coding import code_binary
from tests.native import test_streamed as streamed
from tests.native.operators import OPSET, Node, parameters, random_codes
from tests.native.test_islands import POOLS
from tests.native.test_layers import CODERS, WINDOWS, Q, code, conv, layer

INTERESTING = (0, 1, -1, 2, 3, 7, 16, 63, 64, 127, 128, 255, 1 << 15, 1 << 30, 1 << 31, 1 << 62)


def nodes() -> list[Node]:
    """One node of every kind, small."""
    made = [conv(name, window) for name in CODERS for window in WINDOWS]
    made += [conv("product", groups=3), conv("8-bit", form="Add"), conv("sign", form="Add")]
    for name in CODERS:
        coded = code(name, WeightShape(64, 1, 19))
        feeds = {"x": random_codes((3, 19), 0, 255)}
        made += [layer(coded, "Linear", form, feeds, {}, Q, 3) for form in ("", "Dequant")]
    made += [streamed.linear(name, 2) for name in ("3-bit gain", "2-bit")]
    same = {"kernel_shape": [3, 4], "strides": [2, 1], "dilations": [1, 1], "group": 1}
    coded = code("4-bit", WeightShape(20, 12, 5))
    feeds = {"x": random_codes((1, 9, 8, 5), 0, 255)}
    made.append(layer(coded, "ConvSame", "", feeds, {**same, "auto_pad": "SAME_LOWER"}, Q))
    coded = code_binary(np.ones((64, 9, 9), np.float32), WeightShape(64, 9, 9))
    feeds = {"x": random_codes((2, 8, 7, 9), 0, 255), "r": random_codes((2, 8, 7, 64), 0, 255)}
    made.append(layer(coded, "Conv", "Add", feeds, {**WINDOWS["3x3"], "group": 1}, Q))
    return made + _islands()


def _islands() -> list[Node]:
    x, r = random_codes((2, 5, 6, 70), 0, 255), random_codes((2, 1, 1, 70), 0, 255)
    q = {"x": (0.02, 128), "r": (0.03, 7), "y": (0.05, 60)}
    pair = {"x": x, "r": r}
    made = [
        Node([island_ops.sum_function(OPSET)], parameters(q), pair),
        Node([island_ops.product_function(OPSET)], parameters(q), pair),
        Node([island_ops.global_average_pool_function(OPSET)], parameters(q), {"x": x}),
    ]
    joined = {"x0": x, "x1": x}
    q = {"x0": (0.02, 1), "x1": (0.03, 1), "y": (0.02, 1)}
    made.append(Node([island_ops.concat_function(2, OPSET)], parameters(q), joined, {"axis": 3}))
    for window in POOLS.values():
        window = {**window, "dilations": [1, 2]}
        made.append(Node([island_ops.max_pool_function(OPSET)], {}, {"x": x}, window))
        window = {key: window[key] for key in window if key != "dilations"}
        window["count_include_pad"] = 1
        q = {"x": (0.02, 128), "y": (0.05, 60)}
        function = island_ops.average_pool_function(OPSET)
        made.append(Node([function], parameters(q), {"x": x}, window))
    return made


def _number(rng: random.Random, old: int) -> int:
    chosen = rng.choice([*INTERESTING, old + 1, old - 1, old * 2, rng.randrange(-5, 300)])
    return min(chosen, (1 << 63) - 1)


def change_attribute(model: onnx.ModelProto, rng: random.Random) -> None:
    """One number of one attribute, or how many there are."""
    attributes = model.graph.node[0].attribute
    if not attributes:
        return
    chosen = rng.choice(attributes)
    if chosen.type == onnx.AttributeProto.INT:
        chosen.i = _number(rng, chosen.i)
    elif chosen.type == onnx.AttributeProto.FLOAT:
        chosen.f = rng.choice([0.0, -1.0, 1e-38, 1e38, float("inf"), float("nan")])
    elif chosen.type == onnx.AttributeProto.INTS:
        if rng.random() < 0.2:
            chosen.ints.append(1)
        elif chosen.ints:
            place = rng.randrange(len(chosen.ints))
            chosen.ints[place] = _number(rng, chosen.ints[place])
    elif chosen.type == onnx.AttributeProto.STRING:
        chosen.s = rng.choice([b"", b"SAME_UPPER", b"VALID", b"x" * 300])


def drop_attribute(model: onnx.ModelProto, rng: random.Random) -> None:
    """One attribute less."""
    attributes = model.graph.node[0].attribute
    if attributes:
        del attributes[rng.randrange(len(attributes))]


def change_array(model: onnx.ModelProto, rng: random.Random) -> None:
    """Contents, size or type of one constant."""
    if not model.graph.initializer:
        return
    tensor = rng.choice(model.graph.initializer)
    array = numpy_helper.to_array(tensor).copy()
    kind = rng.choice([0, 0, 0, 1, 2, 3])
    if kind == 0:
        raw = np.frombuffer(array.tobytes(), np.uint8).copy()
        for _ in range(rng.randrange(1, 20)):
            if raw.size:
                raw[rng.randrange(raw.size)] = rng.randrange(256)
        array = np.frombuffer(raw.tobytes(), array.dtype).reshape(array.shape)
    elif kind == 1:
        shape = list(array.shape) or [1]
        shape[rng.randrange(len(shape))] = rng.choice([0, 1, 2, 3, 5, 8, 9, 17, 64])
        array = np.resize(array, shape)
    elif kind == 2:
        array = array.reshape(rng.choice([(-1,), (1, -1), (-1, 1, 1)]))
    else:
        kinds = [np.uint8, np.int8, np.float32, np.float16, np.int64]
        with np.errstate(invalid="ignore", over="ignore"):
            array = np.nan_to_num(array).astype(rng.choice(kinds))
    changed = numpy_helper.from_array(np.ascontiguousarray(array), tensor.name)
    tensor.CopyFrom(changed)


def change_input(model: onnx.ModelProto, rng: random.Random) -> None:
    """Another constant, or x, or nothing, in an input's place."""
    names = model.graph.node[0].input
    place = rng.randrange(len(names))
    names[place] = rng.choice([*names, ""])


def change_type(model: onnx.ModelProto, rng: random.Random) -> None:
    """Another type of node, with the same inputs."""
    node = model.graph.node[0]
    kinds = ["ProductConv", "ProductGainConv", "ScalarConv", "ProductLinear", "ScalarConvAdd"]
    kinds += ["BinaryColumn2Conv", "BinaryImage8Conv", "BinaryPixel1ConvAdd"]
    node.op_type = rng.choice([*kinds, "MaxPool", "Add", "Concat2", "GlobalAveragePool"])


CHANGES: tuple[Callable[[onnx.ModelProto, random.Random], None], ...] = (
    *(change_attribute,) * 4,
    *(change_array,) * 4,
    drop_attribute,
    change_input,
    change_type,
)


def mutate(model: onnx.ModelProto, rng: random.Random) -> bytes:
    """A changed copy, serialized; sometimes with a few bytes of the file changed."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        rng.choice(CHANGES)(copy, rng)
    data = bytearray(copy.SerializeToString())
    if rng.random() < 0.1:
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def inputs(session: onnxruntime.InferenceSession, node: Node, rng: random.Random) -> dict:  # type: ignore[type-arg]
    """The node's feeds, x sometimes of another shape."""
    feeds = {}
    for value in session.get_inputs():
        x = node.feeds.get(value.name, np.zeros((1, 2, 3, 4), np.uint8))
        if rng.random() < 0.3:
            shape = [rng.choice([0, 1, 2, size, size + 1]) for size in x.shape]
            x = np.resize(x, shape)
        feeds[value.name] = x
    return feeds


def attempt(data: bytes, node: Node, library: Path, rng: random.Random) -> str:
    """Open and run: "ran", or "refused" by an error that onnxruntime reports."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.register_custom_ops_library(str(library))
    try:
        session = onnxruntime.InferenceSession(
            data, options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
        session.run(None, inputs(session, node, rng))
    except Exception as error:
        # onnxruntime's errors have no base class; what is not one of them is our own bug.
        known = type(error).__module__.startswith("onnxruntime")
        if known or isinstance(error, UnicodeDecodeError):
            return "refused"
        raise
    return "ran"


def fuzz(count: int, seed: int, library: Path, keep: Path | None = None) -> dict[str, int]:
    """``count`` mutated models; how many ran and how many were refused."""
    chosen = nodes()
    models = [node.model() for node in chosen]
    for model in models:
        model.graph.output[0].type.tensor_type.elem_type = TensorProto.UINT8
    outcomes = {"ran": 0, "refused": 0}
    for number in range(count):
        rng = random.Random(f"{seed}-{number}")
        place = rng.randrange(len(models))
        data = mutate(models[place], rng)
        if keep is not None:
            keep.write_bytes(data)
        outcomes[attempt(data, chosen[place], library, rng)] += 1
        if keep is not None and (number + 1) % 10_000 == 0:
            print(f"{number + 1} models: {outcomes}", flush=True)
    return outcomes


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.native.fuzz")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--library", type=Path, help="default: the installed one")
    parser.add_argument("--keep", type=Path, default=Path("out/fuzzed.onnx"))
    arguments = parser.parse_args()
    arguments.keep.parent.mkdir(parents=True, exist_ok=True)
    library = arguments.library or subbyte.library_path()
    print(fuzz(arguments.count, arguments.seed, library, arguments.keep))


if __name__ == "__main__":
    main()
