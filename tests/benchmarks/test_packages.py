"""Networks inside packages: what is recorded of one that is written, and of one that is not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from benchmarks.packages import child, content, fetch, sides, text
from benchmarks.packages.__main__ import series
from benchmarks.packages.catalog import ROWS, in_order
from benchmarks.packages.fetch import FetchError, Package
from benchmarks.packages.inputs import (
    Case,
    Inputs,
    alternate,
    decisions_alike,
    labels_alike,
    overlap,
    top1,
)
from benchmarks.packages.measure import TARGET, record, timed_again
from benchmarks.pages.packages import ZOO, packages_page, sceptic_lines
from tests import tiny


def _case(folder: Path, model: onnx.ModelProto) -> Case:
    source = tiny.save(model, folder / "net.onnx")
    images = tiny.images(24).transpose(0, 3, 1, 2).astype(np.float32) / 255
    fit, test = alternate(images, "input")
    return Case("tiny", "somewhere 1.0", source, Inputs("noise", fit, test, labels_alike()))


def test_a_network_is_compressed_compared_and_timed(tmp_path: Path) -> None:
    case = _case(tmp_path, tiny.classifier())
    found = record(case, ("--method", "scalar", "--size", "1MB"), tmp_path)
    assert found["result"] == "written", found["line"]
    assert set(found["ms"]) == {"float", "int8", "portable", "native"}
    assert 0 < max(found["errors"]["native"]) < 0.05
    assert found["task"]["float"] == 100
    assert found["peak_mb"] > 10
    assert found["samples"] == {"about": "noise", "calibration": 12, "test": 12}
    json.dumps(found, allow_nan=False)


def test_a_refusal_is_recorded_with_its_line_and_what_int8_makes_of_it(tmp_path: Path) -> None:
    found = record(_case(tmp_path, tiny.classifier()), ("--bits", "0.1"), tmp_path)
    assert found["result"] == "refused"
    assert found["line"].startswith("--bits out of reach")
    assert set(found["errors"]) == {"int8"}
    assert str(tmp_path) not in json.dumps(found)


def test_kept_files_are_compared_again_without_compressing_again(tmp_path: Path) -> None:
    case = _case(tmp_path, tiny.classifier())
    options = ("--method", "scalar", "--size", "1MB")
    first = record(case, options, tmp_path)
    written = (tmp_path / TARGET).stat().st_mtime_ns
    other = replace(case, inputs=replace(case.inputs, test=case.inputs.calibration))
    again = record(other, options, tmp_path)
    assert (tmp_path / TARGET).stat().st_mtime_ns == written
    timed = ("ms", "load")
    assert {k: v for k, v in again.items() if k not in timed} == {
        k: v for k, v in first.items() if k not in timed
    }
    record(case, ("--method", "scalar", "--size", "2MB"), tmp_path)
    assert (tmp_path / TARGET).stat().st_mtime_ns != written


def test_kept_files_are_timed_again_and_nothing_else_changes(tmp_path: Path) -> None:
    case = _case(tmp_path, tiny.classifier())
    found = record(case, ("--method", "scalar", "--size", "1MB"), tmp_path)
    old = found | {"ms": dict.fromkeys(found["ms"], 0.0), "system": {}, "errors": {"native": [7]}}
    again = timed_again(case, old, tmp_path)
    assert again["errors"] == {"native": [7]}
    assert again["system"] == found["system"]
    assert set(again["ms"]) == set(found["ms"])
    assert min(again["ms"].values()) > 0


def test_other_budgets_have_records_of_their_own() -> None:
    assert (series(3), series(8), series(2.5)) == (
        "packages",
        "packages_8_bits",
        "packages_2.5_bits",
    )


@pytest.mark.parametrize(
    ("code", "lines", "result"),
    [
        (0, ["encode 3/3"], ("written", "")),
        (2, ["encode 1/3", "error: no such thing"], ("refused", "no such thing")),
        (2, ["Usage: subbyte", "No such option"], ("traceback", "No such option")),
        (1, ["Traceback", "KeyError: 'x'"], ("traceback", "KeyError: 'x'")),
        (1, [], ("traceback", "exit code 1")),
        (-11, ["encode 1/3"], ("crashed", "signal 11")),
    ],
)
def test_exit_codes_have_names(code: int, lines: list[str], result: tuple[str, str]) -> None:
    assert child.outcome(code, lines) == result


def test_what_takes_too_long_is_stopped() -> None:
    assert child.compress(["--help"], limit=0)["result"] == "timed out"


def test_what_differs_in_shape_is_infinitely_far_off() -> None:
    reference = [[np.ones((1, 2))], [np.zeros((1, 2))]]
    assert sides.errors(reference, reference) == [0]
    assert sides.errors([[np.ones((1, 2))], [np.ones((1, 2))]], reference) == [2]
    assert sides.errors([[np.ones((2, 2))], [np.ones((1, 2))]], reference) == [float("inf")]


def test_states_are_stored_where_the_network_has_its_batch() -> None:
    inputs = Inputs("", {"h": np.zeros((5, 2, 8))}, {}, axes={"h": 1}, fixed={"sr": np.array(16)})
    feeds = inputs.feeds(inputs.calibration)
    assert len(feeds) == 5
    assert feeds[0]["h"].shape == (2, 1, 8)
    assert feeds[0]["sr"] == 16


def test_tasks_count_what_is_alike() -> None:
    one, two = [[np.array([[0.1, 0.9]])]], [[np.array([[0.6, 0.7]])]]
    assert labels_alike().score(one, two) == 100
    assert decisions_alike(0.5).score(one, two) == 50
    assert overlap(0.5).score(one, two) == 50
    assert top1(np.array([0])).score(one, two) == 0


def test_repeats_and_blanks_are_no_characters() -> None:
    scores = np.eye(4)[[0, 2, 2, 0, 2, 3, 3]][None]
    assert text._read(scores) == [2, 2, 3]


def test_ends_of_a_file_are_padded_and_free_of_white_space() -> None:
    found = content.ends(b"  ab")
    assert found.shape == (2048,)
    assert bytes(found[:2].astype(np.uint8)) == b"ab"
    assert bytes(found[-4:].astype(np.uint8)) == b"  ab"
    assert set(found[2:-4]) == {content.PADDING}


def test_packages_that_are_there_are_not_fetched_again(tmp_path: Path) -> None:
    package = Package("some/thing", "1.0", "npm")
    (tmp_path / "some-thing-1.0").mkdir()
    assert fetch.fetch(package, tmp_path) == tmp_path / "some-thing-1.0"


def test_a_package_that_cannot_be_had_is_an_error_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(FetchError, match=r"some-thing 1.0: npm is not installed"):
        fetch.fetch(Package("some-thing", "1.0", "npm"), tmp_path)
    assert not (tmp_path / "some-thing-1.0").exists()


def _record(name: str, origin: str = "package 1.0", **more: Any) -> dict[str, Any]:
    scores = {"name": "same label, %", "float": 100.0, "int8": 99.0, "portable": 98.0}
    return {
        "network": name,
        "origin": origin,
        "samples": {"about": "noise", "calibration": 12, "test": 12},
        "options": ["--bits", "3"],
        "result": "written",
        "line": "",
        "seconds": 3.0,
        "peak_mb": 400.0,
        "bits": 2.99,
        "bytes": {"float": 1000, "int8": 300, "portable": 100},
        "errors": {"int8": [0.01], "portable": [0.2, 0.05], "native": [0.1]},
        "task": scores | {"native": 99.5},
        "ms": {"float": 4.0, "int8": 2.0, "portable": 4.0, "native": 1.0},
        "missing": {},
        "system": {"cpu": "some CPU", "versions": {"python": "3"}},
    } | more


def test_the_page_has_a_row_for_networks_that_are_refused_too() -> None:
    refused = _record(
        "lstm",
        result="refused",
        line="no such thing",
        errors={"int8": [0.5]},
        ms={"float": 1.0},
        bytes={"float": 1000},
        task=None,
        missing={"int8": "why not"},
    )
    del refused["bits"]
    page = packages_page([_record("net"), refused, _record("zoo_net", ZOO)])
    assert "| net | package 1.0 | written | 2.99 | 10.0x smaller | 0.01 | 0.2 | 0.1 |" in page
    assert "- **lstm**, refused: no such thing" in page
    assert "- **lstm**, int8: why not" in page
    assert page.index("## With random weights") < page.index("| zoo_net |")


def test_the_page_has_errors_at_8_bits_apart() -> None:
    eight = _record("net", bits=8.02, errors={"int8": [0.003], "portable": [2e-4]})
    page = packages_page([_record("net")], [eight])
    section = page[page.index("## At 8 bits") :]
    assert "| net | package 1.0 | written | 8.02 | 10.0x smaller | 0.003 | 0.0002 |" in section
    assert "8.02" not in page[: page.index("## At 8 bits")]


def test_the_page_says_how_busy_the_machine_was() -> None:
    quiet = [_record("one", load=0.5), _record("two", load=1.25)]
    assert "Load average while timing: 0.5 to 1.2." in packages_page(quiet)
    coded = [record | {"load_compress": 2.5} for record in quiet]
    assert "While compressing: 2.5 to 2.5." in packages_page(coded)
    assert "kept all cores busy" in packages_page([*quiet, _record("three")])


def test_three_lines_say_what_runs_how_near_and_how_fast() -> None:
    refused = _record("lstm", result="refused", errors={}, ms={}, bytes={"float": 9}, task=None)
    lines = sceptic_lines([_record("net"), refused, _record("zoo_net", ZOO)]).splitlines()
    assert len(lines) == 3
    assert "Of 2 pretrained networks" in lines[0]
    assert "1 are written and run on both engines; refused in one line: lstm." in lines[0]
    assert "on 1 of 1 networks with our kernels, on 0 without" in lines[1]
    assert "10.0 times smaller" in lines[2]
    assert "2.00 times as fast (median; faster on 1 of 1)" in lines[2]


def test_records_come_in_the_order_of_the_catalogue(tmp_path: Path) -> None:
    first, second = list(ROWS)[:2]
    for name in ("zoo_b", second, "zoo_a", first):
        (tmp_path / f"{name}.json").write_text(json.dumps({"network": name}))
    assert [r["network"] for r in in_order(tmp_path)] == [first, second, "zoo_a", "zoo_b"]
