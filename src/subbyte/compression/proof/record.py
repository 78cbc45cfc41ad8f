"""The proof of a written network: that both engines run it, and how far it is from float."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from subbyte.runtime import Engine

LARGE_KL = 0.2
LARGE_ERROR = 0.1
LARGE_ERROR_OF_SCORES = 0.25
LARGE_DIFFERENCE = 0.1
USELESS_ERROR = 1.0
WORSE = 1.1
# Below it, one engine is not called worse than the other: both are as good as float.
NOTHING = 1e-4

FLOAT = "the float network"


@dataclass(frozen=True)
class Divergence:
    """How far one output is from the float network's.

    ``error``: squared error over the float output's variance.
    ``kl``, for class scores [N, C]: the mean over samples of KL(softmax(float) || softmax(this)) in
    nats.
    ``agreement``, for class scores: the percent of samples with the same best class; for integers
    and truth values: the percent of entries that are the same.
    ``broken``: the percent of entries that are NaN or Inf, but finite in float, where float itself
    has some that are not.
    """

    error: float
    kl: float | None = None
    agreement: float | None = None
    broken: float = 0.0

    @property
    def discrete(self) -> bool:
        """Whether the output is of integers or truth values."""
        return self.kl is None and self.agreement is not None

    @property
    def harm(self) -> float:
        """The KL divergence of class scores, the share of integers that differ, the relative
        error of everything else."""
        if self.kl is None and self.agreement is not None:
            return 1 - self.agreement / 100
        return self.error if self.kl is None else self.kl

    @property
    def large(self) -> bool:
        """Whether whoever uses the network will notice."""
        if self.broken:
            return True
        if self.discrete:
            return not self.harm <= LARGE_DIFFERENCE
        if self.kl is None:
            return not self.error <= LARGE_ERROR
        return not (self.kl <= LARGE_KL and self.error <= LARGE_ERROR_OF_SCORES)

    @property
    def useless(self) -> bool:
        """Whether the float output's mean would do as well."""
        return not self.discrete and not self.error < USELESS_ERROR

    def __str__(self) -> str:
        if self.discrete:
            said = f"{self.agreement:.1f} % the same"
        elif self.kl is None:
            said = f"error {self.error:.2g} of the variance"
        else:
            said = f"KL {self.kl:.2g} nats, {self.agreement:.1f} % same class"
        return said + (f", {self.broken:.2g} % NaN or Inf" if self.broken else "")


@dataclass(frozen=True)
class Proof:
    """A network was opened and run on every engine of ``engines``, and compared with float.

    Attributes:
        samples: how many were run: once alone the first of them, the others in batches.
        batches: the sizes of the batches.
        held_back: whether the network was made without these samples.
        float_engine: the engine of the float outputs: ``onnxruntime``, or ``module``, ours.
        float_engine_reason: why ONNX Runtime did not, though there is a file that it could.
        engines: the engines that the network was run on.
        compared_with: the network that it is compared with, in words.
        skipped: engines that are not to be had here, with the reason.
        outputs: of every output, by name, its divergence on each engine. None where an engine gave
            another shape, as an output may whose shape depends on values.
    """

    samples: int
    batches: tuple[int, ...]
    held_back: bool
    float_engine: str
    engines: tuple[Engine, ...]
    outputs: Mapping[str, Mapping[Engine, Divergence | None]]
    skipped: Mapping[str, str] = field(default_factory=dict)
    float_engine_reason: str | None = None
    compared_with: str = FLOAT

    @property
    def worst(self) -> Divergence | None:
        """The divergence of the output and engine that have the most."""
        found = [d for engines in self.outputs.values() for d in engines.values() if d is not None]
        return max(found, key=lambda d: (d.large, d.harm), default=None)

    def warnings(self) -> list[str]:
        """In words: outputs that are far from float, and outputs on which native does worse."""
        return [*self._far(), *self._worse()]

    def _far(self) -> Iterator[str]:
        for name, engines in self.outputs.items():
            far = {engine: d for engine, d in engines.items() if d is not None and d.large}
            if not far:
                continue
            engine, most = max(far.items(), key=lambda item: item[1].harm)
            yield (
                f"output {name} is far from {self.compared_with}'s ({most}"
                + ("" if len(far) == len(engines) else f", {engine} only")
                + (", no better than a constant" if most.useless else "")
                + "): try more bits, more samples, `tune`, `activations=float`"
            )

    def _worse(self) -> Iterator[str]:
        for name, engines in self.outputs.items():
            native, portable = engines.get("native"), engines.get("portable")
            if native is None or portable is None or native.harm <= NOTHING:
                continue
            if native.harm > WORSE * portable.harm:
                times = native.harm / portable.harm if portable.harm else math.inf
                yield (
                    f"output {name} is {times:.3g} times as far from {self.compared_with} on the "
                    f"native kernels ({native}) as in ONNX Runtime alone ({portable}): load it "
                    "with engine portable where that matters"
                )

    def document(self) -> dict[str, Any]:
        """The proof as JSON: the attributes, ``outputs`` a list of objects with ``name`` and
        engines."""
        rows = [
            {"name": name} | {engine: _document(d) for engine, d in engines.items()}
            for name, engines in self.outputs.items()
        ]
        return {
            "samples": self.samples,
            "batches": list(self.batches),
            "held_back": self.held_back,
            "float_engine": self.float_engine,
            "float_engine_reason": self.float_engine_reason,
            "engines": list(self.engines),
            "skipped": dict(self.skipped),
            "outputs": rows,
            "warnings": self.warnings(),
        }

    def basis(self) -> str:
        """In words: the measurement and its samples."""
        count = f"{self.samples} sample" + ("" if self.samples == 1 else "s")
        if self.held_back:
            return (
                f"divergence from {self.compared_with}, on {count} held back, not used to make it"
            )
        return (
            f"divergence from {self.compared_with}, on the {count} that it was made with (with 16 "
            "samples and more, some are held back for it)"
        )


def _document(divergence: Divergence | None) -> dict[str, float] | None:
    if divergence is None:
        return None
    found = {name: getattr(divergence, name) for name in ("error", "kl", "agreement")}
    found["broken"] = divergence.broken or None
    return {name: value for name, value in found.items() if value is not None}
