"""How a written network compares with the float one, as the commands say it."""

from __future__ import annotations

from subbyte.cli.console import ERRORS, OUT, Column, print_table
from subbyte.cli.spelling import as_typed
from subbyte.compression.proof.generalization import Generalization
from subbyte.compression.proof.record import Proof

MOST_ROWS = 20
MOST_LAYERS = 5


def print_proof(proof: Proof) -> None:
    """The divergence of every output on every engine; then, on stderr, notes and warnings."""
    print_table(proof.basis(), _columns(proof), _rows(proof))
    more = len(proof.outputs) - MOST_ROWS
    if more > 0:
        OUT.print(f"and {more} outputs more: --json has them all", soft_wrap=True)
    print_warnings(proof)


def print_generalization(found: Generalization) -> None:
    """The divergence on calibration and on held-back samples: of the network, and of the layers in
    which it grows most."""
    layers = sorted(found.layers.items(), key=lambda item: item[1].calibration - item[1].held)
    gaps = {"whole network": found.network, **dict(layers[:MOST_LAYERS])}
    print_table(
        "divergence from the float network, float activations: are more samples needed?",
        {"": "text", "calibration samples": "number", "held-back samples": "number"},
        [[name, f"{gap.calibration:.2g}", f"{gap.held:.2g}"] for name, gap in gaps.items()],
    )
    more = found.network.with_twice_the_samples
    OUT.print(f"with twice the samples about {more:.2g} on held-back ones", soft_wrap=True)


def print_warnings(proof: Proof, subject: str | None = None) -> None:
    """On stderr, a line each; ``subject``: the file they are about."""
    before = "" if subject is None else f"{subject}: "
    lines = [f"warning: {before}{as_typed(text)}" for text in proof.warnings()]
    for engine, reason in proof.skipped.items():
        lines.append(f"note: {before}engine {engine} was not tried: {reason}")
    if proof.float_engine_reason is not None:
        lines.append(
            f"note: {before}the float outputs come from subbyte's own module, because ONNX "
            f"Runtime does not run the network: {proof.float_engine_reason}"
        )
    for line in lines:
        ERRORS.print(line, soft_wrap=True, markup=False, highlight=False)


def _columns(proof: Proof) -> dict[str, Column]:
    columns: dict[str, Column] = {"output": "text"}
    return columns | dict.fromkeys(proof.engines, "number")


def _rows(proof: Proof) -> list[list[str]]:
    rows = []
    for name, engines in list(proof.outputs.items())[:MOST_ROWS]:
        found = (engines[engine] for engine in proof.engines)
        rows.append([name, *("not compared" if d is None else str(d) for d in found)])
    return rows
