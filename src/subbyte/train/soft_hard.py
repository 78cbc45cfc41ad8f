"""Soft/hard quantization: weights drawn to a 2-bit grid in training, then set on it.

Source: Hung et al., *Bridge deep learning to the physical world: an efficient method to
quantize network*, SiPS 2015. From its abstract: quantization seen as regularisation; two
stages, soft, then hard; 32 to 2 bits; 3 % of the ordinary training. Levels, regulariser,
schedule and scales are ours:

    soft     loss + lambda(t) / 2 * sum ||w - q(w)||^2,     q(w) = s * the nearest level
    hard     w <- q(w), and held; what is not such a weight may be tuned on

The scale s of a layer (or of an output) is the least squares one, refitted in turns with q.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from subbyte.errors import OptionError, WeightError
from subbyte.train.grids import LEVELS, Distance, GridWeight, nearest, refit, start_scale

LevelName = Literal["ternary", "uniform4"]
Ramp = Literal["exponential", "linear"]
ScaleOf = Literal["layer", "output"]

BITS = 2
FLOAT_BITS = 32
FIRST_SHARE = 1e-5
HARD_ROUNDS = 3
CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True)
class _Part:
    """A weight in training, and the axes over which one scale holds."""

    name: str
    module: nn.Module
    weight: Tensor
    axes: tuple[int, ...]
    scale: Tensor


class SoftHard:
    """The regulariser of the soft stage, and the hard stage, for any training loop::

        penalty = SoftHard(model, levels="ternary", steps=1000)
        for x, y in batches:                    # the soft stage
            loss = criterion(model(x), y) + penalty()
            optimizer.zero_grad(); loss.backward(); optimizer.step()
            penalty.step()
        penalty.harden()                        # the hard stage

    Args:
        model: its Conv1d to Conv3d, ConvTranspose1d to 3d and Linear weights are quantized.
        levels: ``ternary``, s * (-1, 0, 1), or ``uniform4``, s * (-3, -1, 1, 3).
        steps: length of the soft stage. The paper's: 3 % of the iterations before it.
        strength: lambda at its end. Beside plain gradient descent keep
            strength * learning rate below 1; Adam takes any.
        ramp: how lambda grows: ``exponential``, from `FIRST_SHARE` * strength, or ``linear``.
        scale: one for every ``layer`` (as we read the paper), or one for every ``output``.
        skip: names of modules (as in ``model.named_modules()``) that are left float; a name
            stands for everything below it.
        refit: steps between two fits of the scales.

    Raises:
        OptionError: an unknown name, a number out of range, no weight left.
        WeightError: a weight that is all zero or not finite.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        steps: int,
        levels: LevelName = "ternary",
        strength: float = 100.0,
        ramp: Ramp = "exponential",
        scale: ScaleOf = "layer",
        skip: Collection[str] = (),
        refit: int = 10,
    ) -> None:
        _check("levels", levels, get_args(LevelName))
        _check("ramp", ramp, get_args(Ramp))
        _check("scale", scale, get_args(ScaleOf))
        for name, value in (("steps", steps), ("refit", refit)):
            if value < 1:
                raise OptionError(f"{name} out of range", expected="1 or more", got=value)
        if not 0 < strength < float("inf"):
            raise OptionError("strength out of range", expected="above 0", got=strength)
        self._model, self._levels, self._scale_of = model, LEVELS[levels], scale
        self._steps, self._strength, self._ramp, self._refit = steps, strength, ramp, refit
        self._done, self.hard, self._trains_scales = 0, False, False
        self._parts = self._find(skip)

    def __call__(self) -> Tensor:
        """lambda(t) / 2 * sum ||w - q(w)||^2, differentiable; 0 after the hard stage."""
        weights = [part.weight for part in self._parts]
        if self.hard:
            return torch.zeros((), device=weights[0].device)
        scales = [part.scale for part in self._parts]
        penalty: Tensor = Distance.apply(  # type: ignore[no-untyped-call]
            self.strength, scales, self._levels, *weights
        )
        return penalty

    @property
    def strength(self) -> float:
        """lambda(t) of the step that comes."""
        share = min(1.0, self._done / self._steps)
        if self._ramp == "linear":
            return self._strength * share
        return float(self._strength * FIRST_SHARE ** (1 - share))

    def step(self) -> None:
        """Go one step on; call it after every step of the optimizer."""
        self._done += 1
        if not self.hard and self._done % self._refit == 0:
            self._fit()

    @torch.no_grad()
    def distance(self) -> float:
        """sum ||w - q(w)||^2 / sum ||w||^2 over all quantized weights: 0 on the grid."""
        weights, scales = self._weights(), [part.scale for part in self._parts]
        pairs = zip(weights, nearest(weights, scales, self._levels), scales, strict=True)
        lost = sum(float((w - q * s).square().sum()) for w, q, s in pairs)
        return lost / sum(float(weight.square().sum()) for weight in weights)

    @torch.no_grad()
    def harden(self, train_scales: bool = False) -> None:
        """Set every weight on its grid and hold it there.

        ``train_scales``: the weight becomes exp(log_scale) * levels, a parametrization with
        the scale as its parameter, until `bake`. Otherwise the module stays as it is but for
        the values of its weights and their ``requires_grad``.
        """
        if self.hard:
            raise OptionError("harden: the weights are on their grid already")
        for _ in range(HARD_ROUNDS):
            self._fit()
        for part in self._parts:
            (found,) = nearest([part.weight], [part.scale], self._levels)
            part.weight.copy_(found * part.scale)
        self._hold(train_scales)

    def _hold(self, train_scales: bool) -> None:
        """Freeze the weights; with ``train_scales`` put their parametrizations in place."""
        for part in self._parts:
            part.weight.requires_grad_(False)
            part.weight.grad = None
            if train_scales:
                (found,) = nearest([part.weight], [part.scale], self._levels)
                grid = GridWeight(found, part.scale)
                parametrize.register_parametrization(part.module, "weight", grid, unsafe=True)
        self.hard, self._trains_scales = True, train_scales

    def bake(self) -> None:
        """Make parametrized weights (``train_scales``) plain tensors on their grids again."""
        for part in self._parts:
            if parametrize.is_parametrized(part.module, "weight"):
                parametrize.remove_parametrizations(part.module, "weight")
                part.module.weight.requires_grad_(False)

    def tunable_parameters(self) -> list[nn.Parameter]:
        """The parameters that may be trained after the hard stage, no weight of any layer among
        them.

        They are scales where these are parameters, biases, and the factors and offsets of
        normalizations.
        """
        scales = {
            id(module.log_scale) for module in self._model.modules() if type(module) is GridWeight
        }
        return [
            parameter
            for parameter in self._model.parameters()
            if parameter.requires_grad and (parameter.ndim <= 1 or id(parameter) in scales)
        ]

    def memory(self) -> dict[str, float]:
        """The memory of the quantized weights.

        ``count``, ``float_bytes``; ``bytes``: codes of two bits, and a float16 an output, as a file
        stores scales; ``reduction``: of the codes alone, 1 - 2 / 32, the paper's 93.75 %.
        """
        count = sum(part.weight.numel() for part in self._parts)
        outputs = sum(_outputs(part) for part in self._parts)
        return {
            "count": count,
            "float_bytes": count * FLOAT_BITS / 8,
            "bytes": count * BITS / 8 + 2 * outputs,
            "reduction": 1 - BITS / FLOAT_BITS,
        }

    def state_dict(self) -> dict[str, Any]:
        """The state of the soft stage for a checkpoint, beside model and optimizer."""
        return {
            "steps": self._done,
            "hard": self.hard,
            "train_scales": self._trains_scales,
            "scales": {part.name: part.scale.clone() for part in self._parts},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken. The model's own state is loaded after this, which
        makes the parametrizations that its names tell of."""
        names = [part.name for part in self._parts]
        if list(state["scales"]) != names:
            raise OptionError("state of another model", expected=names, got=list(state["scales"]))
        self._done = int(state["steps"])
        self._parts = [
            replace(part, scale=state["scales"][part.name].to(part.weight)) for part in self._parts
        ]
        if state["hard"] and not self.hard:
            self._hold(bool(state["train_scales"]))

    @torch.no_grad()
    def _fit(self) -> None:
        self._parts = [
            replace(part, scale=refit(part.weight, part.scale, part.axes, self._levels))
            for part in self._parts
        ]

    def _weights(self) -> list[Tensor]:
        return [part.weight.detach() for part in self._parts]

    @torch.no_grad()
    def _find(self, skip: Collection[str]) -> list[_Part]:
        modules = dict(self._model.named_modules())
        if unknown := sorted(set(skip) - set(modules)):
            raise OptionError("skip: no such module", got=", ".join(unknown))
        parts: dict[int, _Part] = {}
        for name, module in modules.items():
            skipped = any(name == each or name.startswith(f"{each}.") for each in skip)
            if skipped or not isinstance(module, (*CONVS, *TRANSPOSED, nn.Linear)):
                continue
            weight = module.weight
            _check_weight(name, weight)
            axes = tuple(a for a in range(weight.ndim) if a not in self._output_axes(name, module))
            scale = start_scale(weight.detach(), axes, self._levels)
            parts.setdefault(id(weight), _Part(name, module, weight, axes, scale))
        if not parts:
            raise OptionError("nothing to quantize", expected="a conv or linear layer not skipped")
        return list(parts.values())

    def _output_axes(self, name: str, module: nn.Module) -> tuple[int, ...]:
        """The axes of a weight along which its scale changes."""
        if self._scale_of == "layer":
            return ()
        if not isinstance(module, TRANSPOSED):
            return (0,)
        if module.groups != 1:
            raise OptionError(
                "scale: a transposed convolution with groups takes one scale", where=name
            )
        return (1,)


def _check(what: str, got: str, allowed: tuple[str, ...]) -> None:
    if got not in allowed:
        raise OptionError(f"unknown {what}", expected=" or ".join(allowed), got=got)


def _check_weight(name: str, weight: Tensor) -> None:
    if not bool(weight.isfinite().all()):
        raise WeightError("weights are not finite", where=name, expected="finite numbers")
    if not bool(weight.any()):
        raise WeightError("all weights are zero", where=name)


def _outputs(part: _Part) -> int:
    """Outputs of the layer: Linear [O, I], Conv [O, I, ...], ConvTranspose [I, O / groups, ...]."""
    if isinstance(part.module, TRANSPOSED):
        return int(part.weight.shape[1] * part.module.groups)
    return int(part.weight.shape[0])
