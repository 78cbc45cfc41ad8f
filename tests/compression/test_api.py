"""``subbyte.compress`` on what users have: modules, models, files, arrays, mappings."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from torch import Tensor, nn

import subbyte
from subbyte.compression import CompressOptions
from subbyte.compression.config import CompressKeywords
from subbyte.data import as_samples
from subbyte.errors import (
    CalibrationError,
    OptionError,
    SubbyteError,
    UnsupportedOperatorError,
    WeightError,
)
from subbyte.graph.load.model_file import input_specs
from subbyte.report import inspect
from tests import tiny
from tests.compression.nets import normal, relative, run, smooth_images


class Encoder(nn.Module):
    """Rows of features -> a small transformer encoder -> scores."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.embed = nn.Linear(16, width)
        layer = nn.TransformerEncoderLayer(width, 4, 64, 0.1, "gelu", batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(width, 6)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(self.encoder(self.embed(x)).mean(1))
        return scores


def conv_net() -> nn.Sequential:
    torch.manual_seed(0)
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        first=nn.Conv2d(3, 16, 3, padding=1),
        norm=nn.BatchNorm2d(16),
        relu=nn.ReLU(),
        second=nn.Conv2d(16, 32, 3, stride=2, padding=1),
        again=nn.ReLU(),
        pool=nn.AdaptiveAvgPool2d(1),
        flat=nn.Flatten(),
        drop=nn.Dropout(),
        head=nn.Linear(32, 10),
    )
    return nn.Sequential(parts)


def outputs(module: nn.Module, x: np.ndarray) -> np.ndarray:
    modes = {part: part.training for part in module.modules()}
    module.eval()
    with torch.no_grad():
        result: np.ndarray = module(torch.from_numpy(x)).numpy()
    for part, mode in modes.items():
        part.training = mode
    return result


def test_conv_net(tmp_path: Path) -> None:
    net, images = conv_net(), smooth_images(64, size=8)
    net.norm.eval()
    weights = {name: value.clone() for name, value in net.state_dict().items()}
    found = subbyte.compress(
        net, tmp_path / "a.onnx", images, example_inputs=torch.zeros(1, 3, 8, 8), bits=4.0
    )
    # The module is left as it was: mode of every part, weights, statistics.
    assert net.training
    assert net.drop.training
    assert not net.norm.training
    assert all(torch.equal(value, weights[name]) for name, value in net.state_dict().items())
    assert found.path == tmp_path / "a.onnx"
    fresh = smooth_images(10, size=8, seed=5)
    assert relative(run(found.path, fresh), outputs(net, fresh)) < 0.05
    assert inspect(found.path).bits_per_weight <= 4.0
    assert len(found.losses) == len(found.plan) == 3


def test_transformer_encoder(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Encoder()
    x = normal(0, 64, 10, 16)
    subbyte.compress(net, tmp_path / "a.onnx", x, example_inputs=(torch.zeros(2, 10, 16),), bits=4)
    assert net.training
    fresh = normal(1, 20, 10, 16)
    assert relative(run(tmp_path / "a.onnx", fresh), outputs(net, fresh)) < 0.05
    assert inspect(tmp_path / "a.onnx").bits_per_weight <= 4.0


def test_model_path_and_bytes_of_it_are_the_same_job(tmp_path: Path) -> None:
    model = tiny.classifier()
    before = model.SerializeToString()
    tiny.save(model, tmp_path / "net.onnx")
    images = smooth_images(20, size=6)
    subbyte.compress(model, tmp_path / "a.onnx", images)
    subbyte.compress(str(tmp_path / "net.onnx"), str(tmp_path / "b.onnx"), images)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    assert model.SerializeToString() == before
    onnx.checker.check_model(onnx.load(tmp_path / "a.onnx"), full_check=True)


def test_networks_that_end_in_integers(tmp_path: Path) -> None:
    model, images = tiny.classifier(), smooth_images(20, size=6)
    scores = model.graph.output.pop()
    model.graph.node.append(helper.make_node("ArgMax", [scores.name], ["best"], axis=1))
    model.graph.output.append(helper.make_tensor_value_info("best", onnx.TensorProto.INT64, None))
    subbyte.compress(model, tmp_path / "a.onnx", images, bits=4.0)
    assert run(tmp_path / "a.onnx", images).shape == (20, 1)
    with pytest.raises(OptionError, match=r"`tune` and `tune_linear` need an output.*best"):
        subbyte.compress(model, tmp_path / "b.onnx", images, bits=4.0, tune=2)
    number = helper.make_node("Cast", ["best"], ["number"], to=onnx.TensorProto.FLOAT)
    model.graph.node.append(number)
    model.graph.output[0].CopyFrom(
        helper.make_tensor_value_info("number", onnx.TensorProto.FLOAT, None)
    )
    with pytest.raises(OptionError, match="outputs have no gradient to train by"):
        subbyte.compress(model, tmp_path / "b.onnx", images, bits=4.0, tune=2)
    assert not (tmp_path / "b.onnx").exists()


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"size": "2MB"}, r"`size` has the wrong type: expected a number of bytes, got '2MB'"),
        ({"max_drop": "0.5%"}, "a number of percentage points"),
        ({"latency": "3ms"}, "a number of milliseconds"),
        ({"bits": [2]}, r"`bits` has the wrong type: expected a number, got \[2\]"),
        ({"tune_linear": "9"}, "`tune_linear`"),
        ({"samples": "9"}, "`samples`"),
        (
            {"bits": 3, "trials": 1.5},
            r"`trials` has the wrong type: expected a whole number, got 1\.5",
        ),
        ({"seed": None}, "`seed` has the wrong type: expected a whole number, got None"),
        ({"size": float("nan")}, "`size` out of range"),
    ],
)
def test_what_is_no_number(wish: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        CompressOptions(**wish)


def test_options_as_an_object_or_as_keywords(tmp_path: Path) -> None:
    images = smooth_images(20, size=6)
    options = CompressOptions(method="scalar", bits=4.0)
    subbyte.compress(tiny.classifier(), tmp_path / "a.onnx", images, options)
    subbyte.compress(tiny.classifier(), tmp_path / "b.onnx", images, method="scalar", bits=4.0)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    with pytest.raises(OptionError, match=r"options and keywords exclude each other.*bits"):
        subbyte.compress(tiny.classifier(), tmp_path / "c.onnx", images, options, bits=2.0)


def test_mapping_for_several_inputs(tmp_path: Path) -> None:
    weights = {"v": normal(0, 16, 32), "w": normal(1, 16, 32)}
    nodes = [
        helper.make_node("MatMul", ["a", "v"], ["p"], "left"),
        helper.make_node("MatMul", ["b", "w"], ["q"], "right"),
        helper.make_node("Add", ["p", "q"], ["y"], "add"),
    ]
    model = tiny.build(nodes, weights, {"a": ["N", 16], "b": ["N", 16]}, {"y": ["N", 32]})
    data = {"b": normal(2, 40, 16), "a": normal(3, 40, 16)}
    subbyte.compress(model, tmp_path / "a.onnx", data, bits=5.0, method="scalar")
    wanted = data["a"] @ weights["v"] + data["b"] @ weights["w"]
    assert relative(run(tmp_path / "a.onnx", data), wanted) < 0.05
    with pytest.raises(CalibrationError, match="every input of the model needs an array"):
        subbyte.compress(model, tmp_path / "b.onnx", {"a": data["a"]})
    with pytest.raises(CalibrationError, match="differ in their number of samples"):
        subbyte.compress(model, tmp_path / "b.onnx", data | {"a": data["a"][:5]})
    assert not (tmp_path / "b.onnx").exists()


@pytest.mark.parametrize("source", [None, b"net", nn.Module, 3])
def test_what_is_no_network(source: Any, tmp_path: Path) -> None:
    with pytest.raises(
        OptionError,
        match=r"`source` has the wrong type: expected an ONNX file, .*\(not its class\), got",
    ):
        subbyte.compress(source, tmp_path / "a.onnx", smooth_images(8))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_scripts_name_the_way_out(tmp_path: Path) -> None:
    script = torch.jit.trace(nn.Linear(4, 4).eval(), torch.zeros(2, 4))
    with pytest.raises(OptionError, match=r"TorchScript.*the Python module.*dynamo=False"):
        subbyte.compress(script, tmp_path / "a.onnx", np.ones((8, 4)), example_inputs=None)


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (None, r"tensors, batch first, got NoneType \(as in torch.zeros\(1, 3, 224, 224\)\)"),
        (3, "got int"),
        (np.zeros((1, 3, 8, 8), np.float32), "got ndarray"),
        (torch.tensor(1.0), r"batch first, got \[\[\]\]"),
        ((), r"batch first, got \[\]"),
        (torch.zeros(0, 3, 8, 8), r"got \[\[0, 3, 8, 8\]\]"),
        ({"x": 3}, "got dict"),
        ({"no such": torch.zeros(1, 3, 8, 8)}, "does not run on example_inputs: got TypeError"),
        (torch.zeros(1, 5, 8, 8), "does not run on example_inputs: got RuntimeError: Given groups"),
        ((torch.zeros(1, 3, 8, 8),) * 2, "does not run on example_inputs: got TypeError"),
    ],
)
def test_wrong_example_inputs(example: Any, message: str, tmp_path: Path) -> None:
    net = conv_net()
    with pytest.raises(OptionError, match=message):
        subbyte.compress(net, tmp_path / "a.onnx", smooth_images(8), example_inputs=example)
    assert net.training
    assert not list(tmp_path.iterdir())


def test_example_inputs_belong_to_a_module(tmp_path: Path) -> None:
    with pytest.raises(
        OptionError, match=r"example_inputs belongs to a PyTorch module.*ModelProto"
    ):
        subbyte.compress(
            tiny.classifier(), tmp_path / "a.onnx", smooth_images(8), example_inputs=torch.zeros(1)
        )


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) if x.sum() > 0 else x  # type: ignore[no-any-return]


def test_module_that_cannot_be_exported(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedOperatorError, match=r"cannot export the module.*guard on data"):
        subbyte.compress(
            Branches(), tmp_path / "a.onnx", normal(0, 8, 4), example_inputs=torch.ones(2, 4)
        )


def test_samples_are_checked_against_the_module(tmp_path: Path) -> None:
    example = torch.zeros(1, 3, 8, 8)
    with pytest.raises(CalibrationError, match="do not fit the model's input"):
        subbyte.compress(conv_net(), tmp_path / "a.onnx", normal(0, 8, 4), example_inputs=example)
    with pytest.raises(CalibrationError):
        subbyte.compress(
            conv_net(), tmp_path / "a.onnx", smooth_images(8) * np.inf, example_inputs=example
        )


def test_module_without_layers(tmp_path: Path) -> None:
    with pytest.raises(WeightError, match="nothing to compress"):
        subbyte.compress(
            nn.ReLU(), tmp_path / "a.onnx", normal(0, 8, 4), example_inputs=torch.zeros(2, 4)
        )
    assert not list(tmp_path.iterdir())


def test_unwritable_output_is_found_before_the_work(tmp_path: Path) -> None:
    stages: list[str] = []
    with pytest.raises(SubbyteError, match="output folder does not exist"):
        subbyte.compress(
            tiny.classifier(),
            tmp_path / "none" / "a.onnx",
            smooth_images(8, size=6),
            progress=lambda stage, *_: stages.append(stage),
        )
    assert not stages


def test_budget_out_of_reach_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(SubbyteError, match="at least"):
        subbyte.compress(tiny.classifier(), tmp_path / "a.onnx", smooth_images(8, size=6), bits=0.2)
    assert not list(tmp_path.iterdir())


def test_a_plan_from_python_is_what_compress_does(tmp_path: Path) -> None:
    model, images = tiny.classifier(), smooth_images(40, size=tiny.SIZE)
    found = subbyte.plan(model, images, bits=4.0)
    found.save(tmp_path / "plan.toml")
    assert (tmp_path / "plan.toml").read_text() == found.text
    subbyte.compress(model, tmp_path / "a.onnx", images, plan=tmp_path / "plan.toml")
    subbyte.compress(model, tmp_path / "b.onnx", images, bits=4.0)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    figures = found.to_dict()
    assert set(figures) == {"summary", "layers", "uncoded"}
    assert figures["summary"] == found.summary
    assert [row["name"] for row in figures["layers"]] == [layer.name for layer in found.layers]
    assert sum(row["share"] for row in figures["layers"]) == pytest.approx(1)


def test_a_plan_from_python_is_for_two_bits_by_default() -> None:
    model, images = tiny.classifier(), smooth_images(40, size=tiny.SIZE)
    assert "at most 2 bits" in subbyte.plan(model, images).summary[0]
    assert "at most 2 bits" in subbyte.plan(model, images, method="product").summary[0]
    with pytest.raises(OptionError, match="options and keywords exclude each other"):
        subbyte.plan(model, images, CompressOptions(), bits=2.0)


def test_keywords_are_the_fields_of_the_options() -> None:
    assert get_type_hints(CompressKeywords) == get_type_hints(CompressOptions)
    assert CompressKeywords.__required_keys__ == frozenset()


def test_explore_from_python(tmp_path: Path) -> None:
    path, images = (
        tiny.save(tiny.classifier(), tmp_path / "net.onnx"),
        smooth_images(40, size=tiny.SIZE),
    )
    folder = tmp_path / "points"
    points = subbyte.explore(path, folder, images, bits=[4.0, 2.5], samples=30, latency=False)
    assert [point.name for point in points] == ["bits-2.500", "bits-4.000"]
    assert points[0].bits < points[1].bits <= 4.0
    lines = (folder / "points.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [point.to_dict() for point in points]
    assert points[0].options["samples"] + points[0].options["held_back"] == 30


def test_samples_have_their_options_already(tmp_path: Path) -> None:
    model, images = tiny.classifier(), smooth_images(40, size=tiny.SIZE)
    data = as_samples(images, input_specs(model))
    for given in (
        {"preprocessing": "zero-to-one"},
        {"set_inputs": {"x": 1}},
        {"batch_axes": {"x": 1}},
        {"fold_inputs": True},
    ):
        (name,) = given
        with pytest.raises(OptionError, match=f"Samples have their {name} already"):
            subbyte.compress(model, tmp_path / "a.onnx", data, **given)  # type: ignore[arg-type]
    subbyte.compress(model, tmp_path / "a.onnx", data, samples=20)
    subbyte.compress(model, tmp_path / "b.onnx", images, samples=20)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


IMAGES = smooth_images(24, size=tiny.SIZE)
NEWCOMERS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown": ({"bitz": 2}, "no such option: expected method, bits, .*, got bitz"),
    "text": ({"bits": "3"}, "`bits` has the wrong type: expected a number, got '3'"),
    "bool": ({"bits": True}, "`bits` has the wrong type: expected a number, got True"),
    "size": ({"size": "2MB"}, "`size` has the wrong type: expected a number of bytes, got '2MB'"),
    "method": ({"method": 5}, "`method` has the wrong type: expected a text, .*, got 5"),
    "no method": ({"method": "products"}, "unknown method: expected product, .*, got products"),
    "not called": ({"method": subbyte.methods.Product}, "`method` has the wrong type"),
    "dict": ({"options": {}}, "`options` has the wrong type: expected CompressOptions, got {}"),
    "samples": ({"samples": 2.5}, "`samples` has the wrong type: expected a whole number, got 2.5"),
    "none": ({"samples": 0}, "number of samples out of range: expected at least 1, got 0"),
    "calib": ({"calib": None}, "no samples .*: expected an array, .*, got None"),
    "seed": ({"seed": "x"}, "`seed` has the wrong type: expected a whole number, got 'x'"),
    "negative": ({"seed": -1}, "`seed` out of range: expected 0 to 4294967295, got -1"),
    "progress": ({"progress": 5}, "`progress` has the wrong type: expected a function, got 5"),
    "preset": ({"preprocessing": "imagnet"}, "unknown `preprocessing`: .*imagenet.*, got imagnet"),
    "steps": ({"preprocessing": {"scale": 255}}, "`preprocessing` has the wrong type"),
    "set": ({"set_inputs": 5}, "`set_inputs` has the wrong type"),
    "axes": ({"batch_axes": {"x": "0"}}, "`batch_axes` has the wrong type: expected a dict from"),
    "activations": ({"activations": "int4"}, "unknown `activations`: expected int8 or float"),
    "device": ({"device": "gpu"}, "no such `device`: expected cpu, cuda, .*, got gpu"),
    "output": ({"output": None}, "`output` has the wrong type: expected a text or a path"),
    "source": ({"source": "no.onnx"}, "cannot read the model .*: got No such file"),
    "budgets": ({"bits": 2, "size": 9}, "`bits` and `size` exclude each other"),
    "trials": (
        {"trials": 2, "method": "scalar"},
        "`trials` belongs to `bits`, `size` and `latency`",
    ),
}


@pytest.mark.parametrize("name", NEWCOMERS)
def test_a_newcomers_mistake_is_one_line_with_a_name(name: str, tmp_path: Path) -> None:
    wrong, message = NEWCOMERS[name]
    right = {"source": tiny.classifier(), "output": tmp_path / "a.onnx", "calib": IMAGES}
    with pytest.raises(SubbyteError, match=message) as error:
        subbyte.compress(**{**right, **wrong})
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: subbyte.evaluate(p, IMAGES, batch_size="64"), "`batch_size` has the wrong type"),
        (lambda p: subbyte.evaluate(p, IMAGES, label=[0]), "unexpected keyword argument 'label'"),
        (lambda p: subbyte.evaluate(p, IMAGES), "nothing to measure against"),
        (lambda p: subbyte.bench(str(p)), "`paths` has the wrong type"),
        (lambda p: subbyte.bench([p], runs=2.5), "`runs` has the wrong type"),
        (lambda p: subbyte.load(p, engine="gpu"), "unknown `engine`: expected portable or native"),
        (lambda p: subbyte.load(5), "`path` has the wrong type: expected a text or a path, got 5"),
        (lambda p: subbyte.inspect(None), "`path` has the wrong type"),
        (lambda p: subbyte.inspect(), "inspect: missing a required argument: 'path'"),
        (lambda p: subbyte.plan(p, IMAGES, bits=[2]), "`bits` has the wrong type"),
        (lambda p: subbyte.explore(p, p.parent / "f", IMAGES, bits=2), "`bits` has the wrong type"),
        (lambda p: subbyte.make_report(p, p, runs="1"), "`runs` has the wrong type"),
        (
            lambda p: subbyte.ImageOptions(size=224),
            r"`size` .* expected \(height, width\), got 224",
        ),
        (lambda p: subbyte.Preprocessing(scale="255"), "`scale` .* expected a number, got '255'"),
        (
            lambda p: subbyte.methods.Product(gruop=8),
            "product: got an unexpected keyword argument 'gruop'",
        ),
        (lambda p: subbyte.methods.Product(group="8"), "product: group has the wrong type"),
    ],
)
def test_mistakes_in_the_other_functions(
    call: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    path = tiny.save(tiny.classifier(), tmp_path / "net.onnx")
    with pytest.raises(SubbyteError, match=message) as error:
        call(path)
    assert "\n" not in str(error.value)
    assert [each.name for each in tmp_path.iterdir()] == ["net.onnx"]
