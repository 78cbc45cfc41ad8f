from __future__ import annotations

from typing import Any

import pytest

from subbyte.report.page.advice import advice


def layer(name: str, **changes: Any) -> dict[str, Any]:
    row = {
        "name": name,
        "method": "product",
        "bits_per_weight": 2.0,
        "reason": "",
        "weights_share": 10.0,
        "file_share": 10.0,
        "harm_share": 10.0,
    }
    return row | changes


def document(*layers: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "layers": list(layers),
        "sensitivity": None,
        "activations": None,
        "latency": None,
        "summary": {"file_bytes": 1000, "parts": {"graph": 100}},
    } | changes


LOST = {"alone": 0.12, "weights": 0.1, "file": 0.11}
TENSOR = {"writer": "conv1", "readers": [], "low": 0.0, "high": 2.5, "clipped": 3.25}
NATIVE = {"label": "this file, native kernels", "engine": "native", "compressed": True}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (document(layer("a")), []),
        (
            document(layer("a"), layer("b", harm_share=60.0), sensitivity=LOST),
            ["b does 60% of all harm, with 10.0% of the weights: give it 1 bit more."],
        ),
        (document(layer("b", harm_share=60.0, weights_share=50.0)), []),
        (
            document(layer("a"), proof={"warnings": ["output y is far from float"]}),
            ["Output y is far from float."],
        ),
        (
            document(layer("b", harm_share=60.0, bits_per_weight=8.5)),
            ["b does 60% of all harm, with 10.0% of the weights: it has 8 bits already, "
             "only tuning is left."],
        ),
        (
            document(layer("b", harm_share=60.0), sensitivity=LOST | {"alone": 2.0}),
            ["Each alone, the layers would do 20 times the harm that they do together: they "
             "were tuned, or fitted to these very samples, and shares of harm do not tell where "
             "bits are missing. Measure on samples that compressing has not seen."],
        ),
        (
            document(layer("a", file_share=40.0, harm_share=0.2)),
            ["a takes 40% of the file and does 0.2% of the harm: it can do with fewer bits."],
        ),
        (
            document(
                layer("a", bits_per_weight=8.1, file_share=30.0, harm_share=None),
                layer("b", bits_per_weight=32.0, file_share=25.0, harm_share=None),
                layer("c", harm_share=None),
            ),
            ["2 layers at 8 bits or more take 55% of the file: a, b."],
        ),
        (
            document(layer("a", reason="1-D convolution"), layer("b", reason="1-D convolution")),
            ["a, b compute in float: 1-D convolution."],
        ),
        (document(layer("a", method="float")), ["a keeps float weights."]),
        (
            document(*(layer(name, method="float", harm_share=None) for name in "abcde")),
            ["a, b, c and 2 more keep float weights."],
        ),
        (
            document(activations=[TENSOR, TENSOR | {"clipped": 0.5}]),
            ["The output of conv1 saturates: 3.2% of its values lie outside 0 to 2.5. "
             "Calibrate with samples like these."],
        ),
        (
            document(sensitivity=LOST | {"file": 0.4}),
            ["8-bit activations do 75% of the file's harm, the weights the rest: more bits for "
             "the weights would gain little."],
        ),
        (
            document(summary={"file_bytes": 1000, "parts": {"graph": 700}}),
            ["Nodes, functions and names take 70% of the file: the network is too small for "
             "its weights to count."],
        ),
        (
            document(
                latency=[
                    NATIVE | {"median_ms": 2.0},
                    {"label": "float", "engine": "portable", "compressed": False, "median_ms": 1.5},
                ]
            ),
            ["float is faster (1.5 ms) than the native kernels with this file (2 ms)."],
        ),
        (
            document(
                latency=[
                    NATIVE | {"median_ms": 2.0},
                    {"label": "x", "engine": "portable", "compressed": True, "median_ms": 1.95},
                    {"label": "x", "engine": "portable", "compressed": True, "median_ms": 1.25},
                ]
            ),
            ["ONNX Runtime alone is faster (1.25 ms) than the native kernels with this file "
             "(2 ms)."],
        ),
        (
            document(layer("a"), layer("b", harm_share=25.0), layer("c"), layer("d")),
            ["No layer stands out; most harm is done by b (25%), a (10%), c (10%)."],
        ),
    ],
)  # fmt: skip
def test_sentences(given: dict[str, Any], expected: list[str]) -> None:
    assert advice(given) == expected
