from __future__ import annotations

import numpy as np
import pytest

from subbyte.data.specs import Dimension, InputSpec, baked_batch, find_axes, set_axes
from subbyte.errors import OptionError

Shape = tuple[Dimension, ...]


def specs(*shapes: Shape) -> tuple[InputSpec, ...]:
    kind = np.dtype(np.float32)
    return tuple(InputSpec(f"i{number}", shape, kind) for number, shape in enumerate(shapes))


@pytest.mark.parametrize(
    ("shapes", "axes"),
    [
        ((("N", 3, 8, 8),), (0,)),
        (((1, 3, "H", "W"),), (0,)),
        (((None, None),), (0,)),
        (((3, 8, 8),), (0,)),
        # A voice detector: samples, a state, the sampling rate.
        (((None, None), (2, None, 128), ()), (0, 1, None)),
        (((1, 512), (2, 1, 128), ()), (0, 1, None)),
        ((("N", 8), (2, "N", 16), (1,)), (0, 1, None)),
        (((1, 8), (1,)), (0, None)),
        (((2, "batch_size", 16), ("batch_size", 8)), (1, 0)),
        (((40, "batch", 16),), (1,)),
        # The time of one input is not the batch of the other.
        ((("N", "T", 8), (4, "T", "N", 8)), (0, 2)),
        ((("N", "T", 8), (1, "T", None)), (0, 2)),
        ((("n", 80), (256, 80)), (0, None)),
        # Time first, or features first: no first dimension is a batch.
        (((5, "N", 24), (2, "N", 32), (2, "N", 32)), (1, 1, 1)),
        (((5, "m", 24), (2, "m", 32), ()), (1, 1, None)),
        (((8, 16, "N"),), (2,)),
        (((32, "B"), (7,)), (1, None)),
        # A baked batch before lengths.
        (((1, "N", 3),), (0,)),
        (((1, "T", 80), (1, "T")), (0, 0)),
        (((4, "T", 80), (4, "T")), (0, 0)),
        (((5, "m", "k"), (2, "m", "k")), (0, None)),
        # Exporters that give every dimension a name of its own.
        ((("unk__1", 3), ("unk__2", "unk__3")), (0, 0)),
        ((("minibatches", 3), ("batch", 4)), (0, 0)),
    ],
)
def test_the_batch_axis_of_declared_shapes(
    shapes: tuple[Shape, ...], axes: tuple[int | None, ...]
) -> None:
    assert tuple(spec.axis for spec in find_axes(specs(*shapes))) == axes


def test_a_spec_without_its_batch() -> None:
    spec = InputSpec("state", (2, None, 128), np.dtype(np.float32), 1)
    assert spec.rest == (2, 128)
    assert str(spec) == "[2, N, 128]"
    assert spec.accepts((2, 128))
    assert not spec.accepts((2, 4, 128))
    assert InputSpec("rate", (), np.dtype(np.int64)).axis is None


def test_the_batch_that_is_baked() -> None:
    assert baked_batch(find_axes(specs((1, 3), (2, 1, 4), ()))) == 1
    assert baked_batch(find_axes(specs(("N", 3), (2, "N", 4), (1,)))) is None


def test_axes_that_a_user_names() -> None:
    found = set_axes(specs(("T", "N", 8), ("N", 4)), {"i0": 1, "i1": None})
    assert [spec.axis for spec in found] == [1, None]
    with pytest.raises(OptionError, match=r"`batch_axes`\]: expected i0, got x"):
        set_axes(specs(("N", 8)), {"x": 1})
    with pytest.raises(OptionError, match=r"no such axis.*expected 0 to 1, or none, got 2"):
        set_axes(specs(("N", 8)), {"i0": 2})
