"""Kernel timings: fitted, kept, refused where they are of another machine. Nothing is timed."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from subbyte.cpu import cpu_name
from subbyte.errors import OptionError, TimingsError
from subbyte.runtime.grid import (
    ALL_FORMATS,
    BINARY,
    DEPTHWISE,
    LOOKUPS,
    MANY_WORDS,
    UNPACKED,
    format_names,
    terms,
)
from subbyte.runtime.library import find_library
from subbyte.runtime.native.kernels import Kernels
from subbyte.runtime.native.layers import KernelFormat, LayerSize
from subbyte.runtime.timings import (
    CACHE_VARIABLE,
    Measured,
    Timings,
    cache_path,
    calibrate,
    fit,
    load_timings,
    save,
)

needs_library = pytest.mark.skipif(find_library() is None, reason="no native library")
CONV = LayerSize(14, 14, 64, 48, kernel=(3, 3), pads=(1, 1, 1, 1))
DEPTH = LayerSize(14, 14, 32, 32, 32, kernel=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1))


HERE = Measured(cpu_name(), "avx2", "0")


def table(**changes: str) -> Timings:
    """A table with a price of 1 ns for every term."""
    prices = dict.fromkeys(format_names(), (1e-9,) * 5) | {DEPTHWISE: (1e-9,) * 4}
    here = asdict(HERE) | changes
    return Timings(prices=prices, errors=dict.fromkeys(prices, (0.0, 0.0)), **here)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache folder."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path


def test_sizes_of_a_layer() -> None:
    assert CONV.out == (14, 14)
    assert CONV.work == 14 * 14 * 9 * 64 * 48
    assert DEPTH.out == (7, 7)
    assert DEPTH.work == 7 * 7 * 9 * 32
    assert LayerSize(5, 1, 8, 3, linear=True).out == (5, 1)


def test_terms_count_what_the_kernel_does() -> None:
    one, outputs, tables, lookups, weights = terms(CONV, KernelFormat(4))
    assert (one, outputs, tables) == (1, 14 * 14 * 48, 14 * 14 * 16)
    assert lookups == 14 * 14 * weights == 14 * 14 * 9 * 16 * 48
    assert terms(CONV, KernelFormat())[3] == 4 * lookups
    assert terms(DEPTH, KernelFormat())[3] == DEPTH.work
    # 10 channels are 2 codes of 6, which fill one table of four; 3 outputs fill a block.
    odd = LayerSize(1, 1, 10, 3)
    assert terms(odd, KernelFormat(6))[4] == 4 * 16


def test_terms_of_many_words_and_of_signs() -> None:
    # 48 outputs fill one block of 64; words of 2 to 4 channels are one step of the kernel.
    assert terms(CONV, KernelFormat(4, words=64))[4] == 9 * 16 * 64
    assert KernelFormat(2, words=64).name == KernelFormat(4, words=64).name == "look-up 4 of 64"
    assert KernelFormat(6, gain=True, words=32).name == "look-up 8 of 32 gain"
    shared, own = terms(CONV, KernelFormat(order=1)), terms(CONV, KernelFormat(order=2))
    assert own[2] == 9 * shared[2] == 9 * 14 * 14 * 64
    assert own[4] == 9 * 1 * 48
    assert own[3] == 14 * 14 * own[4]


def test_a_form_without_timings_is_named() -> None:
    with pytest.raises(TimingsError, match=r"no kernel timings.*got binary 4 image"):
        table().seconds(CONV, KernelFormat(order=4, scales="image"))


def test_fit_finds_prices_and_never_a_negative_one() -> None:
    rng = np.random.default_rng(0)
    rows = rng.uniform(1, 1e6, (40, 5)) ** rng.uniform(0.2, 1, (40, 1))
    prices = np.array([1e-6, 0, 3e-9, 0, 2e-10])
    np.testing.assert_allclose(fit(rows, rows @ prices), prices, rtol=1e-6, atol=1e-15)
    wild = fit(rows, rng.uniform(1e-6, 1e-3, 40))
    assert min(wild) >= 0
    assert max(wild) > 0


def test_prediction_is_the_sum_of_priced_terms() -> None:
    found = table().seconds(CONV, KernelFormat(4, gain=True))
    assert found == pytest.approx(1e-9 * terms(CONV, KernelFormat(4)).sum())
    assert table().seconds(DEPTH, KernelFormat()) == pytest.approx(
        1e-9 * terms(DEPTH, KernelFormat()).sum()
    )


def test_ceilings() -> None:
    assert table().ceiling("look-up 4 gain") == pytest.approx(4.0)
    assert table().ceiling("int8") == pytest.approx(1.0)
    assert table().ceiling("look-up 8 of 64") == pytest.approx(8.0)
    assert table().ceiling("binary 2 column") == pytest.approx(64.0)
    assert table().ceiling("look-up 4 streamed") is None


def test_a_table_is_kept_and_read(machine: Path) -> None:
    save(table(), cache_path())
    assert cache_path().is_relative_to(machine)
    assert load_timings(here=HERE) == table()
    save(table(), machine / "own.json")
    assert load_timings(machine / "own.json", HERE) == table()


@pytest.mark.parametrize("name", ["cpu", "isa", "library"])
def test_another_machine_is_refused(machine: Path, name: str) -> None:
    save(dataclasses.replace(table(), **{name: "other"}), cache_path())
    with pytest.raises(TimingsError, match=rf"another {name}.*calibrate-cpu.*got other"):
        load_timings(here=HERE)


def test_no_table(machine: Path) -> None:
    with pytest.raises(TimingsError, match=r"no table of kernel timings.*calibrate-cpu"):
        load_timings(here=HERE)


@pytest.mark.parametrize("damage", ["text", "form", "price", "nan", "format"])
def test_a_damaged_table_is_refused(machine: Path, damage: str) -> None:
    path = machine / "own.json"
    save(table(), path)
    document = json.loads(path.read_text())
    if damage == "form":
        del document["forms"]["int8"]
    elif damage == "price":
        document["forms"]["int8"]["prices"].pop()
    elif damage == "nan":
        document["forms"]["int8"]["prices"][0] = float("nan")
    elif damage == "format":
        document["format"] = 99
    path.write_text("{" if damage == "text" else json.dumps(document))
    with pytest.raises(TimingsError, match="not a table of kernel timings"):
        load_timings(path, HERE)


def test_the_error_of_a_file_that_is_none_is_short(machine: Path) -> None:
    path = machine / "own.json"
    for damage in (bytes(range(256)) * 100, b'{"format": 3, "forms": {}}'):
        path.write_bytes(damage)
        with pytest.raises(TimingsError, match="not a table of kernel timings") as error:
            load_timings(path, HERE)
        assert len(str(error.value)) < len(str(path)) + 200


def test_calibration_fits_what_was_measured() -> None:
    """With a clock that follows the prices, the prices come back."""

    class Pretended(Kernels):
        def __init__(self) -> None:
            """No library is loaded."""

        def prepare(self, size, form, seed=0):  # type: ignore[no-untyped-def]
            return table().seconds(size, form)

    steps: list[int] = []

    def progress(_: str, done: int, total: int, __: str) -> None:
        steps.append(total - done)

    found = calibrate(progress, Pretended(), HERE, measure=lambda call: call)  # type: ignore[arg-type, return-value]
    assert steps[-1] == 0
    assert found.cpu == table().cpu
    for name, prices in found.prices.items():
        np.testing.assert_allclose(prices, table().prices[name], rtol=1e-3, atol=1e-13)
        assert found.errors[name][1] < 1e-3


@needs_library
@pytest.mark.parametrize("form", ALL_FORMATS, ids=lambda form: form.name)
def test_kernels_take_every_form(form: KernelFormat) -> None:
    kernels = Kernels()
    for size in (CONV, LayerSize(3, 1, 70, 10, linear=True), LayerSize(2, 2, 3, 5)):
        kernels.prepare(size, form)()


@needs_library
@pytest.mark.parametrize(
    "form", [*LOOKUPS, *MANY_WORDS, *BINARY, *UNPACKED], ids=lambda form: form.name
)
def test_kernels_take_streamed_layers(form: KernelFormat) -> None:
    kernels = Kernels()
    for rows in (1, 4):
        size = LayerSize(rows, 1, 1100, 1000, linear=True)
        assert size.streamed
        kernels.prepare(size, form)()


def test_streamed_layers_have_prices_of_their_own() -> None:
    one, many = (LayerSize(rows, 1, 1024, 1024, linear=True) for rows in (1, 5))
    assert (one.streamed, many.streamed) == (True, False)
    prices = {"look-up 4": (0.0,) * 5, "look-up 4 streamed": (1.0,) + (0.0,) * 4}
    found = dataclasses.replace(table(), prices=table().prices | prices)
    assert found.seconds(one, KernelFormat(4)) == 1.0
    assert found.seconds(many, KernelFormat(4)) == 0.0
    assert found.seconds(one, KernelFormat()) == table().seconds(one, KernelFormat())


@needs_library
def test_kernels_name_what_they_refuse() -> None:
    kernels = Kernels()
    kernels.prepare(DEPTH, KernelFormat())()
    with pytest.raises(OptionError, match="native kernels"):
        kernels.prepare(dataclasses.replace(CONV, outputs=0), KernelFormat())
