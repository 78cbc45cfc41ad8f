"""Mutated models through the native operators: an error, or a result, but never a crash.

python -m tests.native.fuzz [--count N] [--seed S] [--library FILE] [--registrar FILE]

Small models of every operator are changed at random: attributes, shapes and contents of
packed arrays, types, names, what is declared of the shapes of inputs and outputs, shapes of x,
single bytes of the file. Each is opened and run.
With a library built with the sanitizers (LD_PRELOAD their runtime) any read or write beyond
a buffer ends the process; the model at fault is the last one written to --keep.
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

import subbyte
from tests.native.fuzz_nodes import bare, families, operators
from tests.native.nodes.operators import Node

INTERESTING = (0, 1, -1, 2, 3, 7, 16, 63, 64, 127, 128, 255, 1 << 15, 1 << 30, 1 << 31, 1 << 62)
RUNS = 3  # on inputs of a model that opens


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
    kind = rng.choice([*(0,) * 7, 1, 2, 3])
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


def change_declared(model: onnx.ModelProto, rng: random.Random) -> None:
    """What is declared of an input's or output's shape: nothing, a scalar, other dimensions."""
    values = [*model.graph.input, *model.graph.output]
    kind = rng.choice(values).type.tensor_type
    choice = rng.randrange(5)
    if choice == 0:
        kind.ClearField("shape")
        return
    dims = kind.shape.dim
    if choice == 1 or not dims:
        # A shape of no dimensions, or what had none has up to five.
        count = 0 if dims else rng.randrange(6)
        del dims[:]
        for _ in range(count):
            dims.add().dim_param = rng.choice("NHW")
        kind.shape.SetInParent()
        return
    for dim in rng.sample(list(dims), rng.randrange(1, len(dims) + 1)):
        if choice == 2:
            dim.dim_param = rng.choice(["N", "N", "H", "", "subbyte_unknown_1"])
        else:
            dim.dim_value = rng.choice([0, 0, 1, 2, _number(rng, 3)])


def change_type(model: onnx.ModelProto, rng: random.Random) -> None:
    """Another type of node, of as many inputs."""
    node = model.graph.node[0]
    node.op_type = rng.choice(_types()[len(node.input)])


@functools.cache
def _types() -> dict[int, list[str]]:
    types: dict[int, list[str]] = {}
    for name, node in operators().items():
        types.setdefault(len(node.function.input), []).append(name)
    return types


CHANGES: tuple[Callable[[onnx.ModelProto, random.Random], None], ...] = (
    *(change_attribute,) * 5,
    *(change_array,) * 5,
    *(change_declared,) * 2,
    drop_attribute,
    change_input,
    change_type,
)


def mutate(model: onnx.ModelProto, rng: random.Random) -> tuple[bytes, str]:
    """A changed copy, serialized, sometimes with a few bytes of the file changed; its operator."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        rng.choice(CHANGES)(copy, rng)
    data = bytearray(copy.SerializeToString())
    if rng.random() < 0.1:
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data), copy.graph.node[0].op_type


def inputs(session: onnxruntime.InferenceSession, node: Node, rng: random.Random) -> dict:  # type: ignore[type-arg]
    """The node's feeds; sometimes one is of another shape, or of extremes alone."""
    feeds = {
        value.name: node.feeds.get(value.name, np.zeros((1, 2, 3, 4), np.uint8))
        for value in session.get_inputs()
    }
    if feeds and rng.random() < 0.5:
        name = rng.choice(list(feeds))
        x = feeds[name]
        shape = [rng.choice([0, 1, 2, size, size, size + 1]) for size in x.shape]
        if rng.random() < 0.2:  # another rank, which a model takes that declares none
            shape = rng.choice([[], shape[1:], [1, *shape]])
        feeds[name] = np.resize(x, shape) if rng.random() < 0.7 else (x // 128) * 255
    return feeds


def _refused(error: Exception) -> bool:
    # onnxruntime's errors have no base class; what is not one of them is our own bug.
    return type(error).__module__.startswith("onnxruntime") or isinstance(error, UnicodeDecodeError)


def attempt(data: bytes, node: Node, library: Path, rng: random.Random) -> str:
    """Open, and run on several inputs: "ran", or "refused" by errors that onnxruntime reports."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    # There is nothing to optimize: opening is what takes the time.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.register_custom_ops_library(str(library))
    outcome = "refused"
    try:
        session = onnxruntime.InferenceSession(
            data, options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
        for _ in range(RUNS):
            try:
                session.run(None, inputs(session, node, rng))
                outcome = "ran"
            except Exception as error:
                if not _refused(error):
                    raise
    except Exception as error:
        if not _refused(error):
            raise
    return outcome


def fuzz(
    count: int,
    seed: int,
    library: Path,
    keep: Path | None = None,
    registrar: Path | None = None,
) -> dict[str, Counter[str]]:
    """``count`` mutated models: by family of nodes, how many ran and how many were refused.

    ``registrar``: one_operator of native/tests, which registers the operator of each model.
    """
    choose = None if registrar is None else ctypes.CDLL(str(registrar)).choose_operator
    chosen = families()
    models = {name: [bare(node) for node in nodes] for name, nodes in chosen.items()}
    outcomes = {name: Counter[str]() for name in chosen}
    started = time.monotonic()
    for number in range(count):
        rng = random.Random(f"{seed}-{number}")
        name = rng.choice(list(chosen))
        place = rng.randrange(len(models[name]))
        data, operator = mutate(models[name][place], rng)
        if choose is not None:
            choose(str(library).encode(), operator.encode())
        if keep is not None:
            keep.write_bytes(data)
        outcomes[name][attempt(data, chosen[name][place], registrar or library, rng)] += 1
        if keep is not None and (number + 1) % 1000 == 0:
            rate = (number + 1) / (time.monotonic() - started)
            print(f"{number + 1} models, {rate:.0f} a second: {total(outcomes)}", flush=True)
    return outcomes


def total(outcomes: dict[str, Counter[str]]) -> dict[str, int]:
    """Outcomes of all families."""
    return dict(sum(outcomes.values(), Counter[str]()))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.native.fuzz")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--library", type=Path, help="default: the installed one")
    parser.add_argument("--registrar", type=Path, help="one_operator: eight times as fast")
    parser.add_argument("--keep", type=Path, default=Path("out/fuzzed.onnx"))
    arguments = parser.parse_args()
    arguments.keep.parent.mkdir(parents=True, exist_ok=True)
    library = arguments.library or subbyte.library_path()
    outcomes = fuzz(arguments.count, arguments.seed, library, arguments.keep, arguments.registrar)
    for name, counts in outcomes.items():
        print(f"{name}: {dict(counts)}")
    print(f"{arguments.count} models of {len(operators())} operators: {total(outcomes)}")


if __name__ == "__main__":
    main()
