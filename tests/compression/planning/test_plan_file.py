"""Plans as files: what is written is read back, and everything wrong is named."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subbyte.compression.planning.plan_file import (
    parse_plan,
    read_plan,
    read_text,
    write_plan,
)
from subbyte.errors import OptionError
from subbyte.graph.load.network import prepare
from subbyte.graph.network import Layer
from subbyte.methods import EIGHT_BITS, MethodOptions, WeightShape
from subbyte.methods.product.form import GROUPS, WORDS, ProductOptions
from subbyte.methods.scalar.form import BITS, ScalarOptions
from tests import tiny
from tests.compression.nets import normal, one_layer

# Enough sub-columns for all words.
WIDE = WeightShape(max(WORDS), 1, 64)
LAYERS = list(prepare(tiny.classifier(), "net").layers)

OPTIONS: st.SearchStrategy[MethodOptions] = st.one_of(
    st.builds(
        ProductOptions,
        st.sampled_from(GROUPS),
        st.sampled_from(WORDS),
        st.integers(0, 4),
        st.booleans(),
    ),
    st.builds(ScalarOptions, st.sampled_from(BITS)),
)
# Anything an ONNX node may be called: no surrogates, as names are UTF-8.
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


def renamed(names: list[str]) -> list[Layer]:
    return [
        dataclasses.replace(layer, name=name, weight=f"w{number}")
        for number, (layer, name) in enumerate(zip(LAYERS, names, strict=True))
    ]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.lists(NAMES, min_size=3, max_size=3, unique=True),
    st.lists(OPTIONS, min_size=3, max_size=3),
)
def test_round_trip(names: list[str], options: list[MethodOptions]) -> None:
    layers = [dataclasses.replace(layer, shape=WIDE) for layer in renamed(names)]
    plan = {layer.weight: found for layer, found in zip(layers, options, strict=True)}
    assert parse_plan(write_plan(plan, layers), layers, "plan") == plan


@pytest.mark.parametrize(
    "name",
    ['a"b', "a\\b", "/conv/Conv.1", "a\nb", "a\tb", "\x00", "\x7f", "\u2028", "é漢😀", "\\n", " "],
)
def test_odd_names(name: str) -> None:
    layers = renamed([name, "b", "c"])
    plan: dict[str, MethodOptions] = {layer.weight: ScalarOptions(3) for layer in layers}
    assert parse_plan(write_plan(plan, layers), layers, "plan") == plan


def test_layers_that_are_not_named_keep_eight_bits(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text('[layers."conv2"]\nmethod = "product"\ngroup = 6\n')
    plan = read_plan(path, LAYERS)
    assert plan["conv2.weight"] == ProductOptions(group=6)
    assert plan["conv1.weight"] == plan["head.weight"] == EIGHT_BITS


def test_empty_plan() -> None:
    assert set(parse_plan("", LAYERS, "plan").values()) == {EIGHT_BITS}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[layers", r"plan is not TOML \[p.toml\]"),
        ("layers = 3", "expected only"),
        ("[layer.conv1]\nmethod = 'scalar'", "expected only"),
        ("bits = 3\n[layers.conv1]\nmethod = 'scalar'", "expected only"),
        ("[layers.conv9]\nmethod = 'scalar'", r"no such layer in the network \[p.toml: conv9\]"),
        (
            "[layers]\nconv1 = 3",
            r"unknown method \[p.toml: conv1\].*product or scalar or ternary or composite or "
            r"binary, got 3",
        ),
        ("[layers.conv1]\nbits = 3", "unknown method.*product or scalar"),
        ("[layers.conv1]\nmethod = 'spline'", "unknown method.*got spline"),
        ("[layers.conv1]\nmethod = 'ternary'", "ternary: a layer needs its rank"),
        ("[layers.conv1]\nmethod = 'ternary'\nrank = 0", "rank out of range.*got 0"),
        ("[layers.conv1]\nmethod = 'ternary'\nrank = 999", "too small for this rank.*got 999"),
        ("[layers.conv1]\nmethod = 'composite'\nplanes = 0", "grid without planes.*got 0"),
        ("[layers.conv1]\nmethod = 'composite'\nplanes = 7", "planes out of range.*1 to 6, got 7"),
        ("[layers.conv1]\nmethod = 'composite'\nbits = 9.5", "bits out of range.*got 9.5"),
        ("[layers.conv1]\nmethod = 'composite'\nbits = true", "bits has the wrong type"),
        ("[layers.conv1]\nmethod = 'composite'\nbottleneck = 0", "allows no rank.*got 0"),
        ("[layers.conv1]\nmethod = 'composite'\nprocedure = 'a'", "unknown procedure.*got a"),
        ("[layers.conv1]\nmethod = ['product']", "unknown method"),
        ("[layers.conv1]\nmethod = 'scalar'\ngroup = 2", "unknown option group.*expected bits"),
        ("[layers.conv1]\nmethod = 'product'\nbits = 2", "unknown option bits.*group, words"),
        (
            "[layers.conv1]\nmethod = 'scalar'\nbits = 2.0",
            "bits has the wrong type.*whole.*got 2.0",
        ),
        ("[layers.conv1]\nmethod = 'scalar'\nbits = true", "bits has the wrong type"),
        (
            "[layers.conv1]\nmethod = 'product'\nshared = 1",
            "shared has the wrong type.*true",
        ),
        ("[layers.conv1]\nmethod = 'scalar'\nbits = 5", "bits out of range.*2, 3, 4 or 8, got 5"),
        ("[layers.conv1]\nmethod = 'product'\nwords = 17", "words out of range.*got 17"),
        ("[layers.conv1]\nmethod = 'product'\ngroup = 0", "group out of range.*got 0"),
        ("[layers.conv1]\nmethod = 'product'\ngain = 5", "gain out of range.*got 5"),
    ],
)
def test_errors(text: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        parse_plan(text, LAYERS, "p.toml")


def test_shared_codebook_of_a_grouped_convolution() -> None:
    grouped = list(one_layer("Conv", normal(0, 8, 4, 3, 3), 2, 8, group=2).layers)
    text = '[layers.layer]\nmethod = "product"\nshared = {}'
    with pytest.raises(OptionError, match=r"shared codebook .*p.toml: layer.*2 groups"):
        parse_plan(text.format("true"), grouped, "p.toml")
    assert parse_plan(text.format("false"), grouped, "p.toml") == {"w": ProductOptions()}


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"cannot read the plan .*none.toml.*No such file"):
        read_text(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(OptionError, match="plan is not a text file"):
        read_text(tmp_path / "binary.toml")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_plans_as_editors_of_other_systems_write_them(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "plan.toml"
    path.write_bytes("# Überblick\r\nx = 1\r\n".encode(encoding))
    assert read_text(path) == "# Überblick\nx = 1\n"
