"""Random networks of the operator table through the command: right, or one line; no traceback."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from subbyte.graph.ops import OPERATORS
from tests.random_graphs.__main__ import attempt
from tests.random_graphs.grow import BATCHES, COUNT, Drawn, draw
from tests.random_graphs.judge import run
from tests.random_graphs.recipes import RECIPES
from tests.random_graphs.trial import MODES, Mode, compare, compress
from tests.random_graphs.yardstick import rounded, squared_error


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 1 << 30))
def test_a_random_network_is_compressed_or_refused_in_one_line(
    seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outcome = attempt(random.Random(seed), tmp_path_factory.mktemp("drawn"))
    assert outcome is None or not outcome.fault, f"{outcome.kind}: {outcome.detail}"


def test_every_operator_of_the_table_has_a_recipe() -> None:
    missing = {name for domain, name in OPERATORS if not domain} - set(RECIPES)
    assert not missing


def test_a_seed_draws_the_same_network_again() -> None:
    drawn = [draw(random.Random(seed)) for seed in (3, 3)]
    assert drawn[0] is not None
    assert drawn[1] is not None
    assert drawn[0].model.SerializeToString() == drawn[1].model.SerializeToString()


def test_a_drawn_network_runs_at_its_batch_sizes() -> None:
    drawn = [found for seed in range(12) if (found := draw(random.Random(seed)))]
    assert len(drawn) > 3
    for each in drawn:
        for size in each.batches:
            part = {name: array[:size] for name, array in each.feeds.items()}
            assert run(each.model, part) is not None


def _linear() -> Drawn:
    """x [N, 8] times a weight."""
    rng = np.random.default_rng(0)
    weight = numpy_helper.from_array(rng.standard_normal((8, 16), np.float32), "w")
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", width])
        for name, width in (("x", 8), ("y", 16))
    )
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [x], [y])
    graph.initializer.append(weight)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return Drawn(model, {"x": rng.standard_normal((COUNT, 8), np.float32)}, BATCHES)


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode.near])
def test_a_linear_layer_is_written_and_near(mode: Mode, tmp_path: Path) -> None:
    assert compress(_linear(), tmp_path, mode).kind == "written"


def test_outputs_that_are_far_off_are_found() -> None:
    drawn = _linear()
    part = {"x": drawn.feeds["x"][:4]}
    exact = run(drawn.model, part)
    assert exact is not None
    assert compare(drawn, [exact], [part]) is None
    noise = np.random.default_rng(1).standard_normal(exact[0].shape).astype(np.float32)
    fault = compare(drawn, [[exact[0] + noise]], [part])
    assert fault is not None
    assert fault.startswith("output 0 is ")


def test_a_refusal_is_its_line(tmp_path: Path) -> None:
    outcome = compress(_linear(), tmp_path, Mode(("--bits", "0.1")))
    assert outcome.kind == "refused"
    assert outcome.detail.startswith("error: --bits out of reach")


def test_rounding_to_eight_bits_moves_a_linear_layer_a_little() -> None:
    drawn = _linear()
    coarse = rounded(drawn.model, [drawn.feeds])
    assert coarse is not None
    near, exact = run(coarse, drawn.feeds), run(drawn.model, drawn.feeds)
    assert near is not None
    assert exact is not None
    assert 0 < squared_error(near[0], exact[0]) < 1e-3
