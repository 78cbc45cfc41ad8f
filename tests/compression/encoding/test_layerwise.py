"""Layer by layer: targets, shared weights, residuals, chunks, memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from subbyte.compression.calibration import activation_store as store_module
from subbyte.compression.calibration import row_sampler
from subbyte.compression.calibration.activation_store import ActivationStore
from subbyte.compression.calibration.moments import Moments, Target
from subbyte.compression.calibration.row_sampler import (
    RowSampler,
    positions_per_sample,
    residual_operand,
)
from subbyte.compression.checkpoint import Checkpoints
from subbyte.compression.encoding.layerwise import (
    Encoded,
    LayerwiseEncoder,
)
from subbyte.compression.run import Run
from subbyte.errors import OptionError, OutputError
from subbyte.graph.load.network import prepare
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.query import known
from subbyte.graph.weight_layout import to_onnx_layout
from subbyte.methods import decode_weight
from subbyte.methods.composite.form import CompositeOptions
from subbyte.methods.product.form import ProductOptions
from subbyte.methods.scalar.form import ScalarOptions
from tests import tiny
from tests.compression.nets import (
    encode,
    normal,
    plan_of,
    relative,
    samples_for,
    smooth_images,
)

EIGHT = ScalarOptions(8)
COARSE = ProductOptions(4, 16, 1)


def chain(depth: int = 3, width: int = 16, relu: bool = True) -> onnx.ModelProto:
    """x [N, 16, 8, 8] -> depth x (conv, relu) -> y."""
    nodes, weights, source = [], {}, "x"
    for number in range(depth):
        name, last = f"conv{number}", number == depth - 1
        weights[f"{name}.weight"] = normal(number, width, width, 3, 3) / 9
        weights[f"{name}.bias"] = 0.1 * normal(number + 50, width)
        output = "y" if last else f"c{number}"
        nodes.append(tiny.conv(name, source, output))
        if not last:
            kind = "Relu" if relu else "Identity"
            nodes.append(helper.make_node(kind, [output], [f"r{number}"], f"act{number}"))
        source = f"r{number}"
    shape: list[int | str] = ["N", width, 8, 8]
    return tiny.build(nodes, weights, {"x": shape}, {"y": shape})


def residual(width: int = 16) -> onnx.ModelProto:
    """y = c + conv3(conv2(c)), c = conv1(x), all of them linear maps of single pixels.

    What coding conv1 loses is then a linear map of what conv3 reads.
    """
    shapes = {"conv1": (width, width), "conv2": (2 * width, width), "conv3": (width, 2 * width)}
    nodes, weights = [], {}
    for number, (name, source) in enumerate(zip(shapes, ("x", "conv1", "conv2"), strict=True)):
        weights[f"{name}.weight"] = normal(number, *shapes[name], 1, 1) / 4
        nodes.append(helper.make_node("Conv", [source, f"{name}.weight"], [name], name))
    nodes.append(helper.make_node("Add", ["conv3", "conv1"], ["y"], "add"))
    shape: list[int | str] = ["N", width, 8, 8]
    return tiny.build(nodes, weights, {"x": shape}, {"y": shape})


def shared() -> onnx.ModelProto:
    """Two convolutions read weight and bias of one name; another lies between them."""
    weights = {
        "a": normal(1, 16, 16, 3, 3) / 9,
        "b": normal(2, 16, 16, 1, 1) / 3,
        "bias": 0.1 * normal(3, 16),
    }
    nodes = [
        helper.make_node("Conv", ["x", "a", "bias"], ["y1"], "first", pads=[1] * 4),
        helper.make_node("Relu", ["y1"], ["r1"], "relu"),
        helper.make_node("Conv", ["r1", "b"], ["y2"], "between"),
        helper.make_node("Conv", ["y2", "a", "bias"], ["y"], "again", pads=[1] * 4),
    ]
    shape: list[int | str] = ["N", 16, 8, 8]
    return tiny.build(nodes, weights, {"x": shape}, {"y": shape})


def images(count: int = 20) -> np.ndarray:
    return smooth_images(count, channels=16)


def outputs(module: GraphModule, data: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        result: np.ndarray = module(torch.from_numpy(data)).numpy()
    return result


def float_outputs(model: onnx.ModelProto, data: np.ndarray) -> np.ndarray:
    return outputs(GraphModule(prepare(model, "net")).eval(), data)


def loss(
    model: onnx.ModelProto,
    folder: Path,
    options: object = COARSE,
    but: Mapping[str, object] | None = None,
    kind: type[LayerwiseEncoder] = LayerwiseEncoder,
) -> float:
    """Output error on other samples than those encoded with; ``but``: other options."""
    plan = plan_of(model, options) | dict(but or {})
    sequence, _, _ = encode(model, images(40), plan, folder, kind=kind)
    other = smooth_images(20, channels=16, seed=2)
    return relative(outputs(sequence.compressed, other), float_outputs(model, other))


def same(one: Encoded, other: Encoded) -> bool:
    """Byte for byte."""
    weights = all(
        one.weights[name].inputs.keys() == other.weights[name].inputs.keys()
        and all(
            np.array_equal(one.weights[name].inputs[key], other.weights[name].inputs[key])
            for key in one.weights[name].inputs
        )
        and one.weights[name].attributes == other.weights[name].attributes
        for name in one.weights
    )
    biases = all(torch.equal(one.biases[name], other.biases[name]) for name in one.biases)
    names = one.weights.keys() == other.weights.keys() and one.biases.keys() == other.biases.keys()
    return names and weights and biases


@pytest.mark.parametrize("model", [chain(), residual(), shared(), tiny.classifier()])
def test_eight_bits_are_nearly_the_float_network(model: onnx.ModelProto, tmp_path: Path) -> None:
    channels = model.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    size = model.graph.input[0].type.tensor_type.shape.dim[2].dim_value
    data = smooth_images(24, channels, size)
    sequence, encoded, _ = encode(model, data, plan_of(model, EIGHT), tmp_path)
    assert relative(outputs(sequence.compressed, data), float_outputs(model, data)) < 1e-3
    assert max(encoded.losses.values()) < 1e-3


def test_a_paper_procedure_sees_weights_only(tmp_path: Path) -> None:
    """Neither the samples nor the layers before change a weight or a bias."""
    model, other = chain(), smooth_images(20, channels=16, seed=5)
    plan = plan_of(model, CompositeOptions(procedure="paper"))
    _, one, network = encode(model, images(), plan, tmp_path / "a")
    _, two, _ = encode(model, other, plan, tmp_path / "b")
    assert same(one, two)
    for layer in network.layers:
        bias = known(layer.node.inputs[2])
        np.testing.assert_array_equal(one.biases[layer.name].numpy(), bias)
    corrected = plan_of(model, CompositeOptions())
    assert not same(encode(model, images(), corrected, tmp_path / "c")[1], one)


def test_a_layer_too_small_is_named(tmp_path: Path) -> None:
    model = tiny.classifier()
    plan = plan_of(model, EIGHT) | {
        "head.weight": CompositeOptions(procedure="paper", bottleneck=0.01)
    }
    with pytest.raises(OptionError, match=r"too small for this bottleneck .* \[head\]"):
        encode(model, smooth_images(20, size=6), plan, tmp_path)


def test_losses_are_those_of_the_layers(tmp_path: Path) -> None:
    model = chain()
    options = {ProductOptions(8, 16, 0): 0.0, COARSE: 0.0, ProductOptions(2, 16, 3): 0.0}
    for number, form in enumerate(options):
        _, encoded, _ = encode(model, images(), plan_of(model, form), tmp_path / str(number))
        options[form] = max(encoded.losses.values())
    assert list(options.values()) == sorted(options.values(), reverse=True)


def test_bias_closes_the_mean(tmp_path: Path) -> None:
    model = chain()
    data = images()
    sequence, _, _ = encode(model, data, plan_of(model, COARSE), tmp_path)
    ours, coded = float_outputs(model, data), outputs(sequence.compressed, data)
    np.testing.assert_allclose(coded.mean((0, 2, 3)), ours.mean((0, 2, 3)), atol=2e-4)


class Uncorrected(LayerwiseEncoder):
    """Codes the weights themselves, with the same moments."""

    def _target(self, moments: Moments, weight: torch.Tensor, *_: object) -> Target:
        return Target(weight, moments.target(weight).moments)


def test_error_correction_pays(tmp_path: Path) -> None:
    model = chain(depth=4)
    corrected = loss(model, tmp_path / "corrected")
    assert corrected < 0.95 * loss(model, tmp_path / "plain", kind=Uncorrected)


def test_residual_operand() -> None:
    network = prepare(residual(), "net")
    module = GraphModule(network)
    found = [residual_operand(module, layer) for layer in network.layers]
    assert found == [None, None, "conv1"]


class NoShortcuts(LayerwiseEncoder):
    """Sees nothing of the other side of an Add."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._sampler = SamplerWithoutShortcuts(*arguments[:1], self._float, self._chunk)


class SamplerWithoutShortcuts(RowSampler):
    def _residual(self, *_: object) -> float:
        return 0.0


def test_residual_target_corrects_the_shortcut(tmp_path: Path) -> None:
    model, rough = residual(), {"conv1.weight": ScalarOptions(2)}
    with_it = loss(model, tmp_path / "with", EIGHT, rough)
    without = loss(model, tmp_path / "without", EIGHT, rough, NoShortcuts)
    assert with_it < 0.5 * without


def test_shared_weight_is_coded_once(tmp_path: Path) -> None:
    model = shared()
    sequence, encoded, network = encode(model, images(), plan_of(model, COARSE), tmp_path)
    assert set(encoded.weights) == set(encoded.losses) == {"a", "b"}
    assert set(encoded.biases) == {"first", "between", "again"}
    assert not torch.equal(encoded.biases["first"], encoded.biases["again"])
    layer = network.layers[0]
    weight = to_onnx_layout(layer, torch.from_numpy(decode_weight(encoded.weights["a"])))
    assert torch.equal(sequence.compressed.constant("a"), weight)
    means = [
        v.mean((0, 2, 3))
        for v in (float_outputs(model, images()), outputs(sequence.compressed, images()))
    ]
    np.testing.assert_allclose(means[0], means[1], atol=1e-3)


def test_same_bytes_twice_and_not_with_another_seed(tmp_path: Path) -> None:
    model = chain()
    runs = [
        encode(model, images(), plan_of(model, COARSE), tmp_path / str(n), seed)[1]
        for n, seed in enumerate((0, 0, 1))
    ]
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])


def test_resumed_from_its_checkpoints(tmp_path: Path) -> None:
    model = chain()
    first, whole, _ = encode(model, images(), plan_of(model, COARSE), tmp_path)
    (tmp_path / "layer-2.checkpoint").unlink()
    second, again, _ = encode(model, images(), plan_of(model, COARSE), tmp_path)
    assert same(whole, again)
    assert whole.losses == again.losses
    x = images(4)
    assert np.array_equal(outputs(first.compressed, x), outputs(second.compressed, x))


class Keeping(LayerwiseEncoder):
    """Keeps the targets of its layers."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.targets: list[torch.Tensor] = []

    def _target(self, *given: Any) -> Target:
        target = super()._target(*given)
        self.targets.append(target.weight)
        return target


def test_chunks_change_nothing_but_rounding(tmp_path: Path) -> None:
    """With 64 positions a sample all of them are taken, whatever the chunk.

    Rounding of sums may move a weight by one of its 255 levels, and so the next targets.
    """
    found: dict[int, list[torch.Tensor]] = {}
    for chunk in (20, 7, 1):
        folder, plan = tmp_path / str(chunk), plan_of(chain(), EIGHT)
        encoder, _, _ = encode(chain(), images(), plan, folder, kind=Keeping, most_samples=chunk)
        assert isinstance(encoder, Keeping)
        found[chunk] = encoder.targets
    assert len(found[20]) == 3
    for chunk in (7, 1):
        for number, (one, other) in enumerate(zip(found[20], found[chunk], strict=True)):
            assert (one - other).norm() / one.norm() < (1e-3 if number == 0 else 2e-2)


def test_spilled_activations_give_the_same_bytes(tmp_path: Path) -> None:
    model, plan = residual(), plan_of(residual(), COARSE)
    _, held, _ = encode(model, images(), plan, tmp_path / "held", most_samples=8)
    spilled_files: list[int] = []

    class Spilling(ActivationStore):
        def __init__(self, folder: Path) -> None:
            super().__init__(folder, limit=0)

        def put(self, key: tuple[str, int], environment: store_module.Environment) -> None:
            super().put(key, environment)
            spilled_files.append(len(list((tmp_path / "spilled").rglob("*.pt"))))
            assert not self._held

    spilled_to = tmp_path / "spilled"
    _, spilled, _ = encode(model, images(), plan, spilled_to, store=Spilling, most_samples=8)
    assert same(held, spilled)
    assert max(spilled_files) == 6
    assert not list(spilled_to.rglob("*.pt"))


def test_memory_held_stays_within_the_limit(tmp_path: Path) -> None:
    limit = 10_000
    store = ActivationStore(tmp_path, limit)
    environments = {
        ("float", n): {"a": torch.full((n + 1, 100), float(n)), "b": torch.zeros(300)}
        for n in range(12)
    }
    for key, environment in environments.items():
        store.put(key, environment)
        held = [v for e in store._held.values() for v in e.values()]
        # What the tensors keep alive, not only what they show.
        assert sum(v.untyped_storage().nbytes() for v in held) <= limit
    assert len(list(tmp_path.rglob("*.pt"))) > 0
    for key, environment in environments.items():
        found = store.take(key)
        assert found.keys() == environment.keys()
        assert all(torch.equal(found[name], environment[name]) for name in found)
    assert not list(tmp_path.rglob("*.pt"))
    store.close()
    assert not list(tmp_path.iterdir())


def test_store_replaces_what_was_there(tmp_path: Path) -> None:
    store = ActivationStore(tmp_path, limit=100)
    store.put(("float", 0), {"a": torch.zeros(100)})
    store.put(("float", 0), {"a": torch.ones(2)})
    assert torch.equal(store.take(("float", 0))["a"], torch.ones(2))
    assert not list(tmp_path.rglob("*.pt"))
    store.close()


def test_views_do_not_keep_their_whole_alive(tmp_path: Path) -> None:
    """A Split or a Slice gives views: counted by what they show, they must hold no more."""
    store = ActivationStore(tmp_path, limit=10_000)
    for number in range(20):
        store.put(("float", number), {"a": torch.zeros(100, 100)[:1]})
    held = [v for e in store._held.values() for v in e.values()]
    assert sum(v.untyped_storage().nbytes() for v in held) <= 10_000
    store.close()


def test_full_disk_is_a_named_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    store = ActivationStore(tmp_path, limit=0)
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OutputError, match=r"cannot spill activations to disk.*No space left"):
        store.put(("float", 0), {"a": torch.zeros(4)})
    store.close()


def test_a_folder_that_activations_cannot_go_to(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot make a folder for activations.*none"):
        ActivationStore(tmp_path / "none")


def test_values_no_longer_read_are_dropped(tmp_path: Path) -> None:
    """However deep the network, a chunk keeps what later layers read: one value here."""
    kept: list[tuple[str, set[str]]] = []

    class Watching(ActivationStore):
        def put(self, key: tuple[str, int], environment: store_module.Environment) -> None:
            super().put(key, environment)
            kept.append((key[0], set(environment)))

    model = chain(depth=6)
    encode(model, images(4), plan_of(model, EIGHT), tmp_path, store=Watching)
    assert max(len(names) for side, names in kept if side == "float") == 1
    assert max(len(names) for side, names in kept if side == "coded") <= 2


def test_positions_follow_samples_and_width() -> None:
    assert positions_per_sample(576, 1000) == row_sampler.POSITIONS
    assert positions_per_sample(64, 16) * 16 >= row_sampler.LEAST_ROWS
    for width in (1000, 4000, 20000):
        rows = positions_per_sample(width, 1000) * 1000
        assert rows >= row_sampler.ROWS_PER_COLUMN * width
        if rows > row_sampler.ROWS_PER_COLUMN * width + 1000:
            assert rows * width**2 <= row_sampler.MOST_WORK + 1000 * width**2


def test_float_weights_are_dropped_behind_the_pass(tmp_path: Path) -> None:
    """Each behind its layer, unless a node that comes later reads it."""
    nodes = [
        helper.make_node("MatMul", ["a", "x"], ["one"], "one"),
        helper.make_node("MatMul", ["b", "one"], ["two"], "two"),
        helper.make_node("MatMul", ["a", "two"], ["three"], "three"),
        helper.make_node("MatMul", ["c", "three"], ["y"], "four"),
    ]
    size: list[int | str] = ["N", 32, 32]
    weights = {name: normal(number, 32, 32) / 6 for number, name in enumerate("abc")}
    model = tiny.build(nodes, weights, {"x": size}, {"y": size})
    network = prepare(model, "net")
    exact = GraphModule(network)
    coded = GraphModule(network, share=exact)
    samples = samples_for(model, normal(7, 20, 32, 32))
    checkpoints = Checkpoints(tmp_path, "key", keep=True)
    seen: list[list[int]] = []

    def watch(stage: str, done: int, total: int, detail: str) -> None:
        seen.append([exact.constant(name).numel() for name in "abc"])

    plan = dict.fromkeys("abc", EIGHT)
    run = Run(network, samples, progress=watch, checkpoints=checkpoints)
    LayerwiseEncoder(run, plan, modules=(exact, coded)).run()
    full = 32 * 32
    # The third product still needs what the first one has.
    assert seen == [[full] * 3, [full] * 3, [full, 0, full], [0, 0, full], [0, 0, 0]]
    for name, weight in weights.items():
        np.testing.assert_allclose(coded.constant(name).detach(), weight, atol=0.05)
