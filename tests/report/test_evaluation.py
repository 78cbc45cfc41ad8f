from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper
from sklearn.metrics import balanced_accuracy_score, top_k_accuracy_score

import subbyte
from subbyte.errors import CalibrationError, MissingDependencyError, ModelFileError, OptionError
from subbyte.runtime import native_isa
from tests import tiny

CLASSES = 8


def linear(seed: int, batch: int | str = "N", classes: int = CLASSES):  # type: ignore[no-untyped-def]
    """x [N, 5] -> scores [N, classes]."""
    weight = np.random.default_rng(seed).standard_normal((5, classes)).astype(np.float32)
    return tiny.build(
        [helper.make_node("MatMul", ["x", "w"], ["scores"])],
        {"w": weight},
        {"x": [batch, 5]},
        {"scores": [batch, classes]},
    )


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny.save(linear(0), tmp_path / "model.onnx")


@pytest.fixture
def other(tmp_path: Path) -> Path:
    return tiny.save(linear(1), tmp_path / "other.onnx")


RNG = np.random.default_rng(2)
SAMPLES = RNG.standard_normal((50, 5)).astype(np.float32)
LABELS = RNG.integers(0, CLASSES, 50)


def scores(path: Path) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.asarray(subbyte.load(path).run(SAMPLES), np.float64)


def softmax(values: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, Any]:
    powers = np.exp(values)
    return powers / powers.sum(axis=1, keepdims=True)


def test_accuracies_agree_with_scikit_learn(model: Path) -> None:
    result = subbyte.evaluate(model, SAMPLES, LABELS, batch_size=7)
    found = scores(model)
    classes = np.arange(CLASSES)
    assert result.n == 50
    assert result.classes == CLASSES
    for k, name in ((1, "top1"), (5, "top5")):
        expected = top_k_accuracy_score(LABELS, found, k=k, labels=classes)
        assert getattr(result, name) == pytest.approx(100 * expected)
    expected = balanced_accuracy_score(LABELS, found.argmax(1))
    assert result.balanced_accuracy == pytest.approx(100 * expected)
    assert result.kl is None


def test_agreement_and_kl_follow_their_formulas(model: Path, other: Path) -> None:
    result = subbyte.evaluate(model, SAMPLES, float_network=other, batch_size=16)
    s, r = scores(model), scores(other)
    p, q = softmax(r), softmax(s)
    assert result.agreement == pytest.approx(100 * (s.argmax(1) == r.argmax(1)).mean())
    assert result.kl == pytest.approx((p * np.log(p / q)).sum(axis=1).mean(), rel=1e-6)
    assert (result.top1, result.float_top1) == (None, None)


def test_the_float_networks_accuracy_stands_beside(model: Path, other: Path) -> None:
    result = subbyte.evaluate(model, SAMPLES, LABELS, float_network=other, batch_size=16)
    alone = subbyte.evaluate(other, SAMPLES, LABELS)
    assert result.float_top1 == alone.top1 != result.top1
    assert alone.float_top1 is None


def test_a_model_agrees_with_itself(model: Path) -> None:
    result = subbyte.evaluate(model, SAMPLES, LABELS, float_network=model)
    assert result.agreement == 100
    assert result.kl == 0


@pytest.mark.parametrize("batch", [1, 4])
def test_fixed_batch_gives_the_same_numbers(tmp_path: Path, model: Path, batch: int) -> None:
    fixed = tiny.save(linear(0, batch), tmp_path / "fixed.onnx")
    result = subbyte.evaluate(fixed, SAMPLES, LABELS, float_network=model, batch_size=6)
    free = subbyte.evaluate(model, SAMPLES, LABELS)
    assert result.agreement == 100
    assert (result.n, result.top1, result.top5) == (free.n, free.top1, free.top5)


def test_samples_are_drawn_and_an_offset_shifts(model: Path) -> None:
    best = scores(model).argmax(1)
    mixed = np.concatenate([best[:20], (best[20:] + 1) % CLASSES])
    drawn = np.random.default_rng(0).choice(len(SAMPLES), 20, replace=False)
    expected = 100 * np.mean(mixed[drawn] == best[drawn])
    assert subbyte.evaluate(model, SAMPLES, mixed, samples=20).top1 == pytest.approx(expected)
    assert subbyte.evaluate(model, SAMPLES, mixed).top1 == 40
    assert subbyte.evaluate(model, SAMPLES, best - 1, label_offset=1).top1 == 100


def test_equal_scores_count_the_first_as_best(tmp_path: Path) -> None:
    flat = tiny.build(
        [helper.make_node("MatMul", ["x", "w"], ["scores"])],
        {"w": np.zeros((5, CLASSES), np.float32)},
        {"x": ["N", 5]},
        {"scores": ["N", CLASSES]},
    )
    path = tiny.save(flat, tmp_path / "flat.onnx")
    result = subbyte.evaluate(path, SAMPLES[:8], np.arange(8))
    assert result.top1 == 12.5
    assert result.top5 == 62.5


def test_reads_files_and_reports_progress(tmp_path: Path, model: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, inputs=SAMPLES * 2, labels=LABELS.astype(np.uint8))
    seen: list[tuple[int, int]] = []
    result = subbyte.evaluate(
        model,
        f"{path}:inputs",
        f"{path}:labels",
        preprocessing=subbyte.Preprocessing(scale=2),
        batch_size=20,
        progress=lambda stage, done, total, detail: seen.append((done, total)),
    )
    assert seen == [(20, 50), (40, 50), (50, 50)]
    assert result.top1 == subbyte.evaluate(model, SAMPLES, LABELS).top1


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS[:-1], "differ in number.*expected 50, got 49"),
        (LABELS / 2, r"class indices.*expected integers \[N\], got float64"),
        (LABELS[:, None], r"got int64 \[50, 1\]"),
        (LABELS + 1, "expected 0 to 7 after the label offset, got 8"),
        (LABELS - 1, "out of range.*got -1"),
    ],
)
def test_labels_that_do_not_fit(model: Path, labels: Any, message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        subbyte.evaluate(model, SAMPLES, labels)


def test_something_to_measure_against_is_needed(model: Path) -> None:
    with pytest.raises(OptionError, match="labels, a float network, or both"):
        subbyte.evaluate(model, SAMPLES)
    with pytest.raises(OptionError, match="batch size"):
        subbyte.evaluate(model, SAMPLES, LABELS, batch_size=0)


def test_outputs_that_are_no_class_scores(tmp_path: Path) -> None:
    nodes = [helper.make_node("Identity", ["x"], ["a"]), helper.make_node("Neg", ["x"], ["b"])]
    two = tiny.build(nodes, {}, {"x": ["N", 5]}, {"a": ["N", 5], "b": ["N", 5]})
    with pytest.raises(
        OptionError, match=r"need class scores.*N, classes\] .subbyte report.*, got a"
    ):
        subbyte.evaluate(tiny.save(two, tmp_path / "two.onnx"), SAMPLES, LABELS)
    volume = tiny.build(nodes[:1], {}, {"x": ["N", 5, 2]}, {"a": ["N", 5, 2]})
    with pytest.raises(OptionError, match="need class scores"):
        subbyte.evaluate(
            tiny.save(volume, tmp_path / "map.onnx"), np.ones((3, 5, 2)), np.zeros(3, int)
        )
    first = helper.make_node("ReduceMax", ["x", "axes"], ["a"])
    one = tiny.build([first], {"axes": np.array([1])}, {"x": ["N", 5]}, {"a": ["N", 1]})
    path = tiny.save(one, tmp_path / "one.onnx")
    with pytest.raises(OptionError, match=r"need class scores.*got a \['N', 1\]"):
        subbyte.evaluate(path, SAMPLES, float_network=path)


def test_references_that_do_not_fit(tmp_path: Path, model: Path) -> None:
    renamed = tiny.build(
        [helper.make_node("Identity", ["y"], ["a"])], {}, {"y": ["N", 5]}, {"a": ["N", 5]}
    )
    with pytest.raises(OptionError, match="expected x, got y"):
        subbyte.evaluate(
            model, SAMPLES, float_network=tiny.save(renamed, tmp_path / "renamed.onnx")
        )
    fewer = tiny.save(linear(0, classes=3), tmp_path / "fewer.onnx")
    with pytest.raises(OptionError, match="expected 8 classes, got 3"):
        subbyte.evaluate(model, SAMPLES, float_network=fewer)


def test_outputs_that_are_not_finite(tmp_path: Path) -> None:
    log = tiny.build([helper.make_node("Log", ["x"], ["a"])], {}, {"x": ["N", 5]}, {"a": ["N", 5]})
    with pytest.raises(ModelFileError, match="NaN or Inf"):
        subbyte.evaluate(tiny.save(log, tmp_path / "log.onnx"), SAMPLES, LABELS % 5)


def test_says_which_engine_ran(model: Path) -> None:
    portable = subbyte.evaluate(model, SAMPLES, LABELS, engine="portable")
    assert portable.engine == "portable"
    assert portable.native_isa is None
    try:
        level = native_isa()
    except MissingDependencyError as error:
        pytest.skip(str(error))
    native = subbyte.evaluate(model, SAMPLES, LABELS, engine="native")
    assert (native.engine, native.native_isa) == ("native", level)


def test_the_result_has_the_figures_that_were_measured(model: Path) -> None:
    result = subbyte.evaluate(model, SAMPLES, LABELS)
    assert (result.float_top1, result.agreement, result.kl) == (None, None, None)
    isa = ["native_isa"] if result.engine == "native" else []
    accuracy = ["top1", "top5", "balanced_accuracy"]
    assert [*result.to_dict()] == ["model", "engine", *isa, "n", "classes", *accuracy]
    with pytest.raises(FrozenInstanceError):
        result.n = 3  # type: ignore[misc]
