"""Tables of the native benchmark."""

from __future__ import annotations

from typing import Any

from benchmarks.pages.native import layers_table, linear_table


def record(**options: Any) -> dict[str, Any]:
    return {
        "level": "avx512",
        "threads": 1,
        "no_ceilings": "",
        "system": {"cpu": "A CPU"},
        "peers": {"onnxruntime": "1.31.1"},
    } | options


def test_layers_have_a_row_each() -> None:
    sides = {
        "onnxruntime int8": {"median_us": 300.0, "share": 0.9},
        "d=4": {"median_us": 100.0, "share": 0.854},
    }
    other = {"openvino int8": {"median_us": 200.0}, "d=4": {"median_us": 100.0}}
    layers = [
        {"layer": "1x1 8->8@4", "best_int8_us": 300.0, "sides": sides},
        {"layer": "3x3 8->8@4", "best_int8_us": 200.0, "sides": other},
    ]
    assert layers_table(record(layers=layers)).splitlines() == [
        "A CPU, level avx512, 1 thread, onnxruntime 1.31.1:",
        "",
        "| layer | onnxruntime int8 | openvino int8 | d=4 |",
        "| --- | --- | --- | --- |",
        "| 1x1 8->8@4 | 300 (90 %) | - | 100 (3.00x, 85 %) |",
        "| 3x3 8->8@4 | - | 200 | 100 (2.00x) |",
    ]


def test_ceilings_are_stated_where_they_were_measured() -> None:
    sides = {"onnxruntime int8": {"median_us": 300.0}}
    row = {"layer": "1x1 8->8@4", "best_int8_us": 300.0, "sides": sides}
    ceilings = [{"look_up": c, "count": 10 * c, "multiply": c / 2} for c in (100.0, 170.0, 180.0)]
    found = layers_table(record(layers=[row | {"ceilings": each} for each in ceilings]))
    assert found.splitlines()[-1] == (
        "Ceilings, 10^9 multiply-adds a second: 1360 for d = 8, 680 for d = 4, 340 for d = 2, "
        "1700 for one binary order, 85 for int8."
    )


def test_linear_layers_are_held_against_the_best_peers() -> None:
    def side(us: float, bits: float) -> dict[str, Any]:
        return {"median_us": us, "bits": bits, "gigabytes": 12.34, "share": 0.5}

    sides = {
        "d=4": side(100, 1),
        "onnxruntime int8": side(1300, 8),
        "openvino int8": side(1200, 8),
        "openvino 4-bit, groups of 128": side(500, 4),
        "onnxruntime 2-bit, groups of 32": side(410, 2),
        "onnxruntime 2-bit, groups of 128": side(400, 2),
    }
    linear = [{"layer": "8->8", "sides": sides}]
    lines = linear_table(record(linear=linear, no_ceilings="why")).splitlines()
    assert lines[0].endswith("; ceilings not measured: why:")
    assert lines[2].startswith("| layer | side | bits | microseconds | x best int8 |")
    assert lines[-1] == "| 8->8 | d=4 | 1 | 100 | 12.00 | 5.00 | 4.00 | 12.3 | 50 % |"
    assert [line.split(" | ")[1] for line in lines[4:6]] == ["onnxruntime int8", "openvino int8"]
