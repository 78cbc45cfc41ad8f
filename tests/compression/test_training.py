"""The training loop: the best state is kept, and a stopped training goes on to the same result."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from subbyte.compression.training import NoStore, State, Store, Training, pack, unpack
from subbyte.errors import OptionError, RunError, WeightError

STEPS = 12


class Counter:
    """Batches 0, 1, 2 ..."""

    def __init__(self) -> None:
        self.place = -1

    def __next__(self) -> int:
        self.place += 1
        return self.place

    def state(self) -> State:
        return {"place": self.place}

    def restore(self, state: State) -> None:
        self.place = state["place"]


class Kept:
    """A store in memory, of bytes as files have them."""

    def __init__(self) -> None:
        self.raw: list[bytes] = []

    def load(self) -> State | None:
        return dict(unpack(self.raw[-1])) if self.raw else None

    def save(self, state: State) -> None:
        self.raw.append(pack(state))


class Line(nn.Module):
    """w, to be brought near the batches' targets."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(3))

    def losses(self, batch: int) -> Iterator[Tensor]:
        """Two losses, of which the second moves with the batch."""
        yield (self.w - 1).square().sum()
        yield (self.w * math.sin(batch)).sum() / 4


def ignore(step: int, figure: float) -> None:
    """Report nothing."""


def training(
    line: Line,
    store: Store | None = None,
    report: Callable[[int, float], None] = ignore,
    **given: Any,
) -> Training[int]:
    options: dict[str, Any] = {"losses": line.losses, "warm_up": 1, "check_every": 5, **given}
    return Training(
        line,
        [{"params": list(line.parameters()), "lr": 0.1}],
        STEPS,
        Counter(),
        report=report,
        store=NoStore() if store is None else store,
        **options,
    )


def test_the_gradients_of_all_losses_are_added_up() -> None:
    both, one = Line(), Line()
    seen: list[tuple[int, float]] = []
    last = training(both, report=lambda *call: seen.append(call)).run()
    training(one, losses=lambda batch: [sum(one.losses(batch), torch.zeros(()))]).run()
    torch.testing.assert_close(both.w, one.w)
    assert [step for step, _ in seen] == list(range(1, STEPS + 1))
    assert seen[-1][1] == last
    assert seen[0][1] == pytest.approx(3.0)


def test_state_is_saved_when_due_and_at_the_end() -> None:
    store = Kept()
    training(Line(), store).run()
    assert [unpack(raw)["descent"]["done"] for raw in store.raw] == [5, 10, 12]


@pytest.mark.parametrize(
    ("figures", "best"), [([9, 3, 5, 7], 1), ([1, 3, 5, 7], 0), ([9, 8, 7, 6], 3)]
)
def test_the_best_state_is_kept(figures: list[float], best: int) -> None:
    line, seen = Line(), []
    left = iter(figures)

    def judge() -> float:
        seen.append(line.w.detach().clone())
        return next(left)

    assert training(line, judge=judge).run() == figures[best]
    assert torch.equal(line.w, seen[best])


@pytest.mark.parametrize("judged", [False, True])
@pytest.mark.parametrize("at", [2, 5, 7, 12])
def test_a_stopped_training_goes_on_to_the_same_result(at: int, judged: bool) -> None:
    def make(
        store: Store | None, report: Callable[[int, float], None] = ignore
    ) -> tuple[Line, Any]:
        line = Line()
        judge = (lambda: float(line.w.detach().sum())) if judged else None
        return line, training(line, store, report, judge=judge)

    def stop(step: int, figure: float) -> None:
        if step == at:
            raise KeyboardInterrupt

    whole, run = make(None)
    figure = run.run()
    store = Kept()
    with pytest.raises(KeyboardInterrupt):
        make(store, stop)[1].run()
    steps: list[int] = []
    resumed, run = make(store, lambda step, figure: steps.append(step))
    assert run.run() == figure
    assert torch.equal(resumed.w, whole.w)
    assert steps == list(range(max((n for n in (5, 10, 12) if n <= at), default=0) + 1, STEPS + 1))


def test_numbers_that_are_not_finite() -> None:
    line = Line()
    with pytest.raises(WeightError, match=r"training diverged at step 5 \[net\]: got nan"):
        training(line, losses=lambda _: [line.w.sum() * torch.nan], where="net").run()
    with pytest.raises(RunError, match=r"before any training \[net\]"):
        training(line, judge=lambda: math.inf, where="net").run()


def test_a_loss_without_gradient() -> None:
    with pytest.raises(OptionError, match="no gradient to train by"):
        training(Line(), losses=lambda _: [torch.ones(())]).run()
