"""What the native benchmark compares with: int8 convolutions of onnxruntime and OpenVINO."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from benchmarks.native.cases import X_SCALE, Y_ZERO, Case, kernel_weight
from subbyte.methods.coded import decode_scale


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
        constants[f"s{i}"] = decode_scale(coded)
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
    session = make_session(make_model(nodes, inputs, outputs, constants))
    binding = session.io_binding()
    binding.bind_cpu_input("x", case.x)
    for output in outputs:
        binding.bind_output(output.name)

    def run() -> list[Any]:
        session.run_with_iobinding(binding)
        return list(binding.get_outputs())

    return run


def openvino_chain(case: Case) -> Callable[[], Any]:
    """COPIES layers one after the other in OpenVINO, as it takes quantized models.

    Its output is checked against onnxruntime's of the same model.
    """
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
        constants[f"w{i}"], constants[f"s{i}"] = kernel_weight(coded, layer), decode_scale(coded)
        nodes += [
            node("DequantizeLinear", [f"w{i}", f"s{i}", "wz"], [f"k{i}"], axis=0),
            node("Conv", [f"d{i}", f"k{i}"], [f"c{i}"], pads=[pad] * 4),
            node("Relu", [f"c{i}"], [f"r{i}"]),
            node("QuantizeLinear", [f"r{i}", "xs", "xz"], [f"q{i}"]),
            node("DequantizeLinear", [f"q{i}", "xs", "xz"], [f"d{i + 1}"]),
        ]
    shape = [1, layer.inputs, layer.size, layer.size]
    last = nodes[-1].input[0]
    model = make_model(
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
    request.infer()
    ours, theirs = request.get_output_tensor().data, make_session(model).run(None, {"x": x})[0]
    apart = np.abs(ours.astype(int) - theirs).mean()
    if apart > 1 or np.ptp(theirs) < 100:
        raise SystemExit(f"OpenVINO and onnxruntime differ by {apart:.2f} steps")
    return request.infer


def _value(name: str, channels: int, size: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.UINT8, [1, size, size, channels])


def make_model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    constants: dict[str, Any],
) -> onnx.ModelProto:
    """A model of these nodes and constants."""
    tensors = [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()]
    graph = helper.make_graph(list(nodes), "layers", list(inputs), list(outputs), tensors)
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=9)


def make_session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """A session on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
