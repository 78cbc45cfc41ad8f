from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from subbyte.data import InputSpec, Preprocessing, as_samples
from subbyte.data.batches import collect
from subbyte.errors import CalibrationError

FLOAT = np.dtype("float32")
SPEC = InputSpec("x", ("N", 3, 4, 5), FLOAT)
PAIR = (InputSpec("a", ("N", 2), FLOAT), InputSpec("b", ("N", 3), FLOAT))
X = np.random.default_rng(0).normal(size=(10, 3, 4, 5)).astype(np.float32)
A, B = np.arange(20.0).reshape(10, 2), np.arange(30.0).reshape(10, 3)


def values(source: Any, **options: Any) -> Any:
    samples = as_samples(source, [SPEC], **options)
    return next(samples.batches(len(samples)))["x"]


def in_batches(array: Any, size: int = 4) -> Iterator[Any]:
    return (array[start : start + size] for start in range(0, len(array), size))


@pytest.mark.parametrize(
    "source",
    [
        in_batches(X),
        iter(X),
        list(in_batches(X)),
        list(X),
        tuple(X),
        [(x, 3) for x in X],
        [{"x": x, "label": 3} for x in X],
        ((batch, np.zeros(len(batch))) for batch in in_batches(X)),
        DataLoader(TensorDataset(torch.from_numpy(X), torch.arange(10)), batch_size=4),
        lambda: X,
        lambda: in_batches(X),
        lambda: {"x": X},
        lambda: lambda_is_not_called_twice,
    ],
    ids=lambda source: type(source).__name__,
)
def test_everything_that_gives_batches_or_samples(source: Any) -> None:
    if callable(source) and source() is lambda_is_not_called_twice:
        with pytest.raises(CalibrationError, match="array is not numeric"):
            values(source)
        return
    np.testing.assert_array_equal(values(source), X)


def lambda_is_not_called_twice() -> Any:
    return X


def test_data_sets_are_drawn_at_random() -> None:
    data = TensorDataset(torch.from_numpy(X), torch.arange(10))
    assert sorted(values(data)[:, 0, 0, 0]) == sorted(X[:, 0, 0, 0])
    few = values(data, count=4, seed=1)
    assert len(few) == 4
    assert not np.array_equal(few, X[:4])
    np.testing.assert_array_equal(few, values(data, count=4, seed=1))
    assert not np.array_equal(few, values(data, count=4, seed=2))


def test_an_iterable_is_read_no_further_than_needed() -> None:
    given = []

    def endless() -> Iterator[Any]:
        while True:
            given.append(1)
            yield X[:4]

    np.testing.assert_array_equal(values(endless(), count=6), np.concatenate([X[:4], X[:2]]))
    assert len(given) == 2
    with pytest.raises(CalibrationError, match=r"at most 2000 bytes, or a number of samples"):
        collect(endless(), [SPEC], "data", most_bytes=2000)


def test_models_with_several_inputs() -> None:
    for source in (
        [{"a": A[i], "b": B[i], "y": 1} for i in range(10)],
        ((A[i : i + 3], B[i : i + 3], np.zeros(3)) for i in range(0, 10, 3)),
    ):
        batch = next(as_samples(source, PAIR).batches(10))
        np.testing.assert_array_equal(batch["a"], A)
        np.testing.assert_array_equal(batch["b"], B)


def test_the_batch_may_lie_on_another_axis() -> None:
    spec = InputSpec("x", (2, "N"), FLOAT, 1)
    batch = next(as_samples(in_batches(A.T.T), [InputSpec("x", ("N", 2), FLOAT)]).batches(10))
    np.testing.assert_array_equal(batch["x"], A)
    batch = next(as_samples(iter([A[:4].T, A[4:].T]), [spec]).batches(10))
    np.testing.assert_array_equal(batch["x"], A.T)


def test_pixels_get_preprocessing_and_layout() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (6, 4, 5, 3), dtype=np.uint8)
    for source in (iter(pixels), in_batches(pixels)):
        got = values(source, preprocessing=Preprocessing(255, layout="nhwc"))
        np.testing.assert_allclose(got, pixels.transpose(0, 3, 1, 2) / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (iter(()), "no samples"),
        (iter([X[:2], X[:2, :, :3]]), r"batches differ in shape .*got \[2, 3, 3, 5\]"),
        (iter([{"y": X}]), r"batch 0\]: expected x, got y"),
        (iter([X[:2], "text"]), r"array is not numeric \[.*batch 1\]"),
        (iter([X[:2, 0]]), r"samples do not fit .*got \[2, 4, 5\]"),
    ],
)
def test_batches_that_do_not_fit(source: Any, message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        values(source)


def test_tuples_that_lack_an_input() -> None:
    with pytest.raises(CalibrationError, match=r"expected a, b, got 1 arrays"):
        as_samples(iter([(A,)]), PAIR)
    with pytest.raises(CalibrationError, match=r"expected a, b, got one array"):
        as_samples(iter([A]), PAIR)


def test_what_a_program_raises_is_one_line() -> None:
    def fails() -> Iterator[Any]:
        yield X
        raise RuntimeError("no such\ndisk")

    with pytest.raises(CalibrationError, match=r"program .*fails .*got RuntimeError: no such disk"):
        values(fails())
    with pytest.raises(CalibrationError, match=r"program .*fails .*got ZeroDivisionError"):
        values(lambda: 1 // 0)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in, with a module of functions."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_samples.py").write_text(
        "import numpy as np\n"
        "number = 3\n"
        "def whole():\n    return np.ones((7, 3, 4, 5))\n"
        "def batches():\n    yield np.ones((2, 3, 4, 5))\n    yield np.ones((5, 3, 4, 5))\n"
        "def folder():\n    return 'none.npz'\n"
    )
    (tmp_path / "my_broken.py").write_text("import nothing_of_this_name\n")
    (tmp_path / "my_exit.py").write_text("raise SystemExit(3)\n")
    return tmp_path


@pytest.mark.parametrize("name", ["my_samples:whole", "my_samples:batches", "my_samples.py:whole"])
def test_functions_by_name(program: Path, name: str) -> None:
    np.testing.assert_array_equal(values(name), np.ones((7, 3, 4, 5)))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my_samples:nothing", r"no such function \[my_samples:nothing\]"),
        ("my_samples:number", "not a function"),
        ("my_broken:whole", "cannot import .*nothing_of_this_name"),
        ("no_module_of_this_name:f", "cannot import .*no_module_of_this_name"),
        ("my_exit:whole", "cannot import .*SystemExit"),
        ("none.py:whole", r"no such file \[none\.py\]"),
        ("my_samples:folder", r"no such data file \[none\.npz\]"),
        ("none.npz:whole", r"no such data file \[none\.npz\]"),
        ("none:", r"no such data file \[none:\]"),
    ],
)
def test_names_that_lead_nowhere(program: Path, name: str, message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        values(name)
