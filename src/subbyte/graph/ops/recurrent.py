"""LSTM, GRU and RNN, step by step over time, with gradients.

Shapes, T steps of N samples in D directions with I inputs and H states:

- inputs: X [T, N, I], W [D, gates * H, I], R [D, gates * H, H], B [D, 2 * gates * H], sequence_lens
  [N], states [D, N, H];
- outputs: Y [T, D, N, H] and the last states.

With ``layout`` 1 the samples come first: X [N, T, I], Y [N, T, D, H], states [N, D, H]. Behind the
end of a sequence Y is zero, and a reverse direction begins at that end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from subbyte.graph.ops.registry import Kernel, NodeView, operator

Function = Callable[[Tensor], Tensor]
State = tuple[Tensor, ...]
Cell = Callable[[Tensor, State], State]
"""One step of one direction: X's part of the gates, the states -> the next states."""

FUNCTIONS: dict[str, Function] = {
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
}
DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}


@dataclass(frozen=True)
class _Weights:
    """The weights of one direction: W, R, the two halves of B, peepholes (or None)."""

    w: Tensor
    r: Tensor
    of_input: Tensor
    of_state: Tensor
    peephole: Tensor | None


@dataclass(frozen=True)
class _Setting:
    """The meaning of the attributes: per direction whether it is reversed, and its functions."""

    reverse: tuple[bool, ...]
    functions: tuple[tuple[Function, ...], ...]
    clip: float | None
    batch_first: bool

    def clipped(self, gates: Tensor) -> Tensor:
        """``gates`` within the clip."""
        return gates if self.clip is None else gates.clamp(-self.clip, self.clip)


def _setting(form: NodeView, defaults: Sequence[str]) -> _Setting:
    form.attribute("hidden_size", 0)
    for name in ("activation_alpha", "activation_beta"):
        if form.optional(name):
            form.unsupported(name)
    direction = form.attribute("direction", "forward")
    reverse = DIRECTIONS.get(direction)
    if reverse is None:
        form.unsupported(f"direction={direction}")
    given: list[str] = form.attribute("activations", [])
    names = [name.lower() for name in given]
    names = names or [name.lower() for name in defaults] * len(reverse)
    if len(names) != len(defaults) * len(reverse) or not set(names) <= set(FUNCTIONS):
        form.unsupported("activations=" + ",".join(names))
    functions = [FUNCTIONS[name] for name in names]
    count = len(defaults)
    return _Setting(
        reverse,
        tuple(tuple(functions[at * count : (at + 1) * count]) for at in range(len(reverse))),
        form.optional("clip"),
        bool(form.attribute("layout", 0)),
    )


def _turned(x: Tensor, lengths: Tensor | None) -> Tensor:
    """x [T, N, ...] with each sample's sequence backwards; entries behind its end stay there."""
    if lengths is None:
        return x.flip(0)
    steps = torch.arange(len(x), device=x.device)[:, None]
    places = torch.where(steps < lengths, lengths - 1 - steps, steps)
    return x.gather(0, places[:, :, None].expand_as(x))


def _scan(cell: Cell, x: Tensor, states: State, lengths: Tensor | None) -> tuple[Tensor, State]:
    """Run ``cell`` over x [T, N, ...]: the first state after each step [T, N, H], the last ones."""
    made = []
    for step, entry in enumerate(x):
        after = cell(entry, states)
        if lengths is None:
            made.append(after[0])
        else:
            valid = (step < lengths)[:, None]
            made.append(torch.where(valid, after[0], torch.zeros_like(after[0])))
            after = tuple(torch.where(valid, a, s) for a, s in zip(after, states, strict=True))
        states = after
    return (torch.stack(made) if made else x.new_zeros(0, *states[0].shape)), states


def _directions(
    setting: _Setting,
    cell_of: Callable[[_Weights, tuple[Function, ...]], Cell],
    x: Tensor,
    weights: tuple[Tensor, Tensor, Tensor | None, Tensor | None],
    lengths: Tensor | None,
    initial: Sequence[Tensor | None],
) -> tuple[Tensor, ...]:
    """Y, and the last of every state."""
    if setting.batch_first:
        x = x.transpose(0, 1)
        initial = [None if state is None else state.transpose(0, 1) for state in initial]
    lengths = None if lengths is None else lengths.long()
    runs = []
    for at, reverse in enumerate(setting.reverse):
        part = _part(weights, at)
        hidden = part.r.shape[1]
        states = tuple(x.new_zeros(x.shape[1], hidden) if s is None else s[at] for s in initial)
        fed = torch.nn.functional.linear(_turned(x, lengths) if reverse else x, part.w)
        y, last = _scan(cell_of(part, setting.functions[at]), fed, states, lengths)
        runs.append((_turned(y, lengths) if reverse else y, *last))
    ys, *lasts = zip(*runs, strict=True)
    y = torch.stack(ys, 1)
    y = y.permute(2, 0, 1, 3) if setting.batch_first else y
    return y, *(torch.stack(parts, int(setting.batch_first)) for parts in lasts)


def _part(weights: tuple[Tensor, Tensor, Tensor | None, Tensor | None], at: int) -> _Weights:
    w, r, b, p = weights
    half = w.shape[1]
    bias = w.new_zeros(2 * half) if b is None else b[at]
    return _Weights(w[at], r[at], bias[:half], bias[half:], None if p is None else p[at])


@operator("RNN", outputs=2)
def rnn(form: NodeView) -> Kernel:
    """H' = f(X W^T + Wb + H R^T + Rb)."""
    setting = _setting(form, ["Tanh"])

    def cell_of(part: _Weights, functions: tuple[Function, ...]) -> Cell:
        bias = part.of_input + part.of_state

        def cell(x: Tensor, states: State) -> State:
            return (functions[0](setting.clipped(x + bias + states[0] @ part.r.T)),)

        return cell

    def run(
        x: Tensor,
        w: Tensor,
        r: Tensor,
        b: Tensor | None = None,
        lengths: Tensor | None = None,
        h: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        return _directions(setting, cell_of, x, (w, r, b, None), lengths, [h])

    return run


@operator("GRU", outputs=2)
def gru(form: NodeView) -> Kernel:
    """H' = (1 - z) h + z H with gates z, r = f(...) and h = g(...), which r reaches before or,
    with ``linear_before_reset``, behind the product with R."""
    setting = _setting(form, ["Sigmoid", "Tanh"])
    late = bool(form.attribute("linear_before_reset", 0))

    def cell_of(part: _Weights, functions: tuple[Function, ...]) -> Cell:
        size = part.r.shape[1]
        gates_r, new_r = part.r[: 2 * size], part.r[2 * size :]
        gates_b = (part.of_input + part.of_state)[: 2 * size]
        new_b, state_b = part.of_input[2 * size :], part.of_state[2 * size :]

        def cell(x: Tensor, states: State) -> State:
            (h,) = states
            gates = functions[0](setting.clipped(x[:, : 2 * size] + gates_b + h @ gates_r.T))
            z, r = gates.chunk(2, 1)
            given = r * (h @ new_r.T + state_b) if late else (r * h) @ new_r.T + state_b
            new = functions[1](setting.clipped(x[:, 2 * size :] + new_b + given))
            return ((1 - z) * new + z * h,)

        return cell

    def run(
        x: Tensor,
        w: Tensor,
        r: Tensor,
        b: Tensor | None = None,
        lengths: Tensor | None = None,
        h: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        return _directions(setting, cell_of, x, (w, r, b, None), lengths, [h])

    return run


@operator("LSTM", outputs=3)
def lstm(form: NodeView) -> Kernel:
    """C' = f C + i g, H' = o h(C') with gates i, o, f = s(... + P C) and g = t(...); with
    ``input_forget`` f = 1 - i."""
    setting = _setting(form, ["Sigmoid", "Tanh", "Tanh"])
    coupled = bool(form.attribute("input_forget", 0))

    def cell_of(part: _Weights, functions: tuple[Function, ...]) -> Cell:
        gate, new, out = functions
        bias = part.of_input + part.of_state
        peepholes = (0, 0, 0) if part.peephole is None else part.peephole.chunk(3)

        def cell(x: Tensor, states: State) -> State:
            h, c = states
            i, o, f, g = (x + bias + h @ part.r.T).chunk(4, 1)
            i = gate(setting.clipped(i + peepholes[0] * c))
            f = 1 - i if coupled else gate(setting.clipped(f + peepholes[2] * c))
            c = f * c + i * new(setting.clipped(g))
            o = gate(setting.clipped(o + peepholes[1] * c))
            return o * out(c), c

        return cell

    def run(
        x: Tensor,
        w: Tensor,
        r: Tensor,
        b: Tensor | None = None,
        lengths: Tensor | None = None,
        h: Tensor | None = None,
        c: Tensor | None = None,
        p: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        return _directions(setting, cell_of, x, (w, r, b, p), lengths, [h, c])

    return run
