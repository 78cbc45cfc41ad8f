"""What compress/ does, in small: code the weights, calibrate, and run what a file must equal."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import torch

from subbyte.graph.islands.plan import IslandPlan
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.network import Layer, Network
from subbyte.graph.quant_params import QuantParams
from subbyte.graph.query import known
from subbyte.graph.weight_layout import canonical, has_binary_form, to_onnx_layout
from subbyte.graph.write.unary import is_gate
from subbyte.methods import CodedWeight, WeightShape, binarization_of, decode_weight
from subbyte.methods.binarization import Binarization, Scales
from subbyte.methods.binary import form as binary
from subbyte.methods.composite import form as composite
from subbyte.methods.composite import galois
from subbyte.methods.product import form as product
from subbyte.methods.scalar import form as scalar
from subbyte.methods.ternary import form as ternary

# Two neighbours of one sign sum to at most 128, as the encoder sees to (decision 5): the integer
# products of stock ONNX Runtime saturate otherwise on CPUs without VNNI.
TOP_OF_EIGHT_BITS = 64


def code_scalar(weight: np.ndarray, shape: WeightShape, bits: int = 8) -> CodedWeight:
    """Round W[O, T, I] to the per-channel grid with zero."""
    top = min(TOP_OF_EIGHT_BITS, (1 << (bits - 1)) - 1)
    scale = np.maximum(np.abs(weight).max(axis=(1, 2)), 1e-6) / top
    levels = np.clip(np.rint(weight / scale[:, None, None]), -top, top).astype(np.int64)
    return scalar.pack(shape, bits, "zero", levels, scale.astype(np.float32))


def code_product(
    weight: np.ndarray,
    shape: WeightShape,
    gain: int = 0,
    group: int = 4,
    shared: bool = False,
    words: int = 16,
) -> CodedWeight:
    """Random words and codes, of the weight's size: a coded weight, if a bad one."""
    rng = np.random.default_rng(weight.size)
    options = product.ProductOptions(group, words, gain, shared)
    groups = -(-shape.inputs // group)
    grid = (shape.outputs, shape.taps, groups)
    codes = rng.integers(0, words, grid)
    gains = rng.integers(0, 1 << gain, grid)
    books = 1 if shared else shape.groups * groups
    codebook = rng.integers(-31, 32, (books, words, group)).astype(np.int8)
    scale = weight.std(axis=(1, 2)) / 18 + 1e-6
    return product.pack(shape, options, codes, gains, codebook, scale.astype(np.float32))


def code_ternary(weight: np.ndarray, shape: WeightShape) -> CodedWeight:
    """Random factors, of the weight's size."""
    rng = np.random.default_rng(weight.size)
    rank = ternary.rank_of(shape, 1)
    left = rng.integers(-1, 2, (shape.outputs, rank))
    right = rng.integers(-1, 2, (shape.groups, rank, shape.taps * shape.inputs))
    d = rng.integers(50, 256, (shape.groups, rank))
    scale = weight.std(axis=(1, 2)) / 18 + 1e-6
    return ternary.pack(shape, left, d, right, scale.astype(np.float32))


def code_composite(weight: np.ndarray, shape: WeightShape, factored: bool = False) -> CodedWeight:
    """Round W[O, T, I] to 15 levels a side; ``factored``: the upper planes as factors."""
    scale = np.maximum(np.abs(weight).max(axis=(1, 2)), 1e-6) / 15
    levels = np.rint(weight / scale[:, None, None]).astype(np.int64)
    planes = composite.planes_of(levels, composite.matrix_rows(shape))
    factors = {b: galois.factorize(planes[b]) for b in (2, 3) if factored and planes[b].any()}
    return composite.pack(shape, levels, scale.astype(np.float32), factors)


def code_binary(
    weight: np.ndarray, shape: WeightShape, order: int = 2, scales: Scales = "column"
) -> CodedWeight:
    """Signs and mean magnitudes."""
    form = Binarization(order, scales)
    scale = np.abs(weight).mean((1, 2)).astype(np.float32)
    return binary.pack(shape, form, weight < 0, scale)


def code_network(
    network: Network, method: str = "scalar", **options: int
) -> dict[str, CodedWeight]:
    """Code every weight; ``method`` is ``scalar``, ``product``, ``gain``, ``ternary``,
    ``composite``, ``factored`` or ``binary`` (but for layers without a binary form)."""
    coded = {}
    stored = network.model.graph.initializers
    for layer in network.weighted:
        weight = canonical(layer, np.asarray(known(stored[layer.weight]), np.float32))
        if method == "scalar" or layer.shape.inputs < 8:
            coded[layer.weight] = code_scalar(weight, layer.shape, **options)
        elif method == "binary":
            binary_form = isinstance(layer, Layer) and has_binary_form(layer)
            code = code_binary if binary_form else code_scalar
            coded[layer.weight] = code(weight, layer.shape)
        elif method == "ternary":
            coded[layer.weight] = code_ternary(weight, layer.shape)
        elif method in ("composite", "factored"):
            coded[layer.weight] = code_composite(weight, layer.shape, method == "factored")
        else:
            gain = 3 if method == "gain" else 0
            coded[layer.weight] = code_product(weight, layer.shape, gain)
    return coded


def coded_module(network: Network, coded: dict[str, CodedWeight]) -> GraphModule:
    """The network with its coded weights."""
    module = GraphModule(network).eval()
    for layer in network.weighted:
        if layer.weight in coded:
            weight = to_onnx_layout(layer, decode_weight(coded[layer.weight]))
            module.set_constant(layer.weight, torch.from_numpy(weight.copy()))
            binarization = binarization_of(coded[layer.weight])
            if binarization is not None and isinstance(layer, Layer):
                module.binarize(layer, binarization)
    return module


def values_of(module: GraphModule, inputs: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Every value of one run."""
    env = {name: torch.from_numpy(array) for name, array in inputs.items()}
    with torch.no_grad():
        return dict(module.computed(env))


def calibrate(
    module: GraphModule, plan: IslandPlan, inputs: dict[str, np.ndarray]
) -> dict[str, QuantParams]:
    """Parameters from the least and the greatest value seen."""
    values = values_of(module, inputs)
    params = {}
    for group in plan.groups:
        arrays = [
            values[v.name].detach().numpy().clip(v.limit.low, v.limit.high) for v in group.values
        ]
        low, high = min(a.min() for a in arrays), max(a.max() for a in arrays)
        params[group.name] = group.params(float(low), float(high))
    return params


def simulate(
    network: Network,
    module: GraphModule,
    plan: IslandPlan,
    params: dict[str, QuantParams],
    inputs: dict[str, np.ndarray],
) -> dict[str, torch.Tensor]:
    """Run with every carried value rounded to its eight bits wherever uint8 is read."""
    of = {value: params[group] for value, group in plan.group_of.items()}
    functions = plan.functions.values()
    gates = {n.outputs[0].name for f in functions for n in f.nodes if is_gate(f, n)}
    forms = {layer.output: plan.layers[layer.name].form for layer in network.layers}
    env = {name: torch.from_numpy(array) for name, array in inputs.items()}
    for index, step in enumerate(module.steps):
        local = dict(env)
        form = forms.get(step.outputs[0])
        joined = step.outputs[0] in plan.nodes
        for place, name in enumerate(step.inputs):
            if name in of and (joined or (form in ("uint8", "dequant") and place == 0)):
                local[name] = fake_quantize(local[name], of[name])
        with torch.no_grad():
            module.run(local, index, index + 1, {n for s in module.steps for n in s.outputs})
        for name in step.outputs:
            env[name] = local[name]
            if name in gates:
                env[name] = fake_quantize(env[name], QuantParams(1 / 255, 0))
            if name in of and (joined or form == "uint8"):
                env[name] = fake_quantize(env[name], of[name])
    return env


def fake_quantize(x: torch.Tensor, params: QuantParams) -> torch.Tensor:
    """scale * (clamp(round(x / scale) + zero) - zero)."""
    scale = torch.tensor(params.scale, dtype=torch.float32)
    q = (torch.round(x / scale) + params.zero_point).clamp(0, 255)
    return (q - params.zero_point) * scale


def session(
    model: onnx.ModelProto, optimized: str = "", optimize: bool = True
) -> onnxruntime.InferenceSession:
    """Stock onnxruntime, one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if optimized:
        options.optimized_model_filepath = optimized
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
