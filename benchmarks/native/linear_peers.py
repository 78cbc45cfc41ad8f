"""What the native benchmark compares linear layers with: int8, 4 and 2 bits in other runtimes.

Each function makes ``copies`` layers with weights of their own on one x, checks the first 64
outputs of the first against NumPy, and returns a call that runs all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from benchmarks.native.cases import X_SCALE, Y_ZERO
from benchmarks.native.peers import make_model, make_session

CHECKED = 64  # outputs
_W_SCALE = 0.01
_Call = Callable[[], Any]


def int8_model(
    x: NDArray[np.uint8], outputs: int, copies: int
) -> tuple[onnx.ModelProto, NDArray[np.int64]]:
    """Layers as models are quantized (QDQ): x and y uint8, weights int8 with a scale per output.

    Also what the first outputs of the first layer are, in steps of y.
    """
    inputs = x.shape[1]
    rng = np.random.default_rng(8)
    spread = float(np.sqrt((x.astype(float) ** 2).mean() * inputs)) * 73
    y_scale = np.float32(X_SCALE * _W_SCALE * spread / 40)
    constants: dict[str, Any] = {
        "xs": np.float32(X_SCALE),
        "xz": np.uint8(0),
        "ys": y_scale,
        "yz": np.uint8(Y_ZERO),
        "ws": np.full(outputs, _W_SCALE, np.float32),
        "wz": np.zeros(outputs, np.int8),
    }
    nodes = [helper.make_node("DequantizeLinear", ["x", "xs", "xz"], ["d"])]
    for i in range(copies):
        constants[f"w{i}"] = rng.integers(-127, 128, (inputs, outputs), np.int8)
        nodes += [
            helper.make_node("DequantizeLinear", [f"w{i}", "ws", "wz"], [f"k{i}"], axis=1),
            helper.make_node("MatMul", ["d", f"k{i}"], [f"m{i}"]),
            helper.make_node("QuantizeLinear", [f"m{i}", "ys", "yz"], [f"y{i}"]),
        ]
    model = make_model(
        nodes,
        [helper.make_tensor_value_info("x", TensorProto.UINT8, x.shape)],
        [
            helper.make_tensor_value_info(f"y{i}", TensorProto.UINT8, [1, outputs])
            for i in range(copies)
        ],
        constants,
    )
    sums = x[0].astype(np.int64) @ constants["w0"][:, :CHECKED].astype(np.int64)
    real = sums * (X_SCALE * _W_SCALE / float(y_scale)) + Y_ZERO
    return model, np.clip(np.rint(real), 0, 255).astype(np.int64)


def onnxruntime_int8(x: NDArray[np.uint8], outputs: int, copies: int) -> _Call:
    """onnxruntime on `int8_model`."""
    model, steps = int8_model(x, outputs, copies)
    session = make_session(model)
    _close_steps("onnxruntime int8", session.run(["y0"], {"x": x})[0], steps)
    return lambda: session.run(None, {"x": x})


def openvino_int8(x: NDArray[np.uint8], outputs: int, copies: int) -> _Call:
    """OpenVINO on `int8_model`."""
    import openvino

    model, steps = int8_model(x, outputs, copies)
    read = openvino.Core().read_model(model.SerializeToString())
    request, got = _openvino(read, x)
    _close_steps("openvino int8", got, steps)
    return request


def onnxruntime_bits(
    x: NDArray[np.uint8], outputs: int, copies: int, *, bits: int, block: int
) -> _Call:
    """onnxruntime's MatMulNBits with x in int8 inside (accuracy_level 4)."""
    inputs = x.shape[1]
    rng = np.random.default_rng(bits)
    constants: dict[str, Any] = {}
    nodes = []
    for i in range(copies):
        constants[f"w{i}"] = _bytes(rng, (outputs, inputs // block, block * bits // 8))
        constants[f"s{i}"] = np.full(outputs * inputs // block, _W_SCALE, np.float32)
        nodes.append(
            helper.make_node(
                "MatMulNBits",
                ["x", f"w{i}", f"s{i}"],
                [f"y{i}"],
                domain="com.microsoft",
                **{"K": inputs, "N": outputs, "bits": bits, "block_size": block},
                accuracy_level=4,
            )
        )
    model = make_model(
        nodes,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [
            helper.make_tensor_value_info(f"y{i}", TensorProto.FLOAT, [1, outputs])
            for i in range(copies)
        ],
        constants,
    )
    session, feed = make_session(model), {"x": _real(x)}
    levels = unpacked(constants["w0"][:CHECKED], bits).reshape(CHECKED, inputs)
    wanted = (levels - (1 << (bits - 1))) * _W_SCALE @ feed["x"][0]
    _close(f"onnxruntime {bits}-bit", session.run(["y0"], feed)[0], wanted)
    return lambda: session.run(None, feed)


def openvino_4bit(x: NDArray[np.uint8], outputs: int, copies: int, *, group: int = 128) -> _Call:
    """OpenVINO's compressed weights as nncf writes them: int4, symmetric, a scale per group."""
    import openvino
    from openvino import opset13 as ops

    inputs = x.shape[1]
    rng = np.random.default_rng(4)
    parameter = ops.parameter(list(x.shape), openvino.Type.f32)
    results = []
    weights = [_bytes(rng, (outputs * inputs // 2,)) for _ in range(copies)]
    for packed in weights:
        shape = openvino.Shape([outputs, inputs // group, group])
        weight = openvino.op.Constant(openvino.Tensor(packed, shape, openvino.Type.i4))
        scale = np.full((outputs, inputs // group, 1), _W_SCALE, np.float16)
        real = ops.multiply(ops.convert(weight, "f16"), ops.constant(scale))
        flat = ops.reshape(real, ops.constant([outputs, inputs]), False)
        results.append(ops.matmul(parameter, ops.convert(flat, "f32"), False, True))
    request, got = _openvino(openvino.Model(results, [parameter], "layers"), _real(x))
    levels = unpacked(weights[0][: CHECKED * inputs // 2], 4).reshape(CHECKED, inputs)
    levels = np.where(levels > 7, levels - 16, levels)
    _close("openvino 4-bit", got, levels * float(np.float16(_W_SCALE)) @ _real(x)[0])
    return request


def unpacked(data: NDArray[np.uint8], bits: int) -> NDArray[np.int64]:
    """Codes of ``bits`` bits, the lowest of a byte first."""
    shifts = bits * np.arange(8 // bits)
    return (data.reshape(-1, 1) >> shifts & ((1 << bits) - 1)).astype(np.int64).ravel()


def _bytes(rng: np.random.Generator, shape: Sequence[int]) -> NDArray[np.uint8]:
    return rng.integers(0, 256, tuple(shape), np.uint8)


def _real(x: NDArray[np.uint8]) -> NDArray[np.float32]:
    return x.astype(np.float32) * np.float32(X_SCALE)


def _openvino(model: Any, x: NDArray[Any]) -> tuple[_Call, NDArray[Any]]:
    """The call, and the first output."""
    import openvino

    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
    request.set_input_tensor(openvino.Tensor(np.ascontiguousarray(x)))
    request.infer()
    return request.infer, np.asarray(request.get_output_tensor(0).data)


def _close_steps(name: str, got: NDArray[Any], steps: NDArray[np.int64]) -> None:
    apart = np.abs(got[0, :CHECKED].astype(np.int64) - steps).max()
    if apart > 1 or np.ptp(steps) < 40:
        raise SystemExit(f"{name}: differs from NumPy by {apart} steps")


def _close(name: str, got: NDArray[Any], wanted: NDArray[Any]) -> None:
    apart = np.linalg.norm(got[0, :CHECKED] - wanted) / np.linalg.norm(wanted)
    if not apart < 0.02:
        raise SystemExit(f"{name}: differs from NumPy by {apart:.2g} of its size")
