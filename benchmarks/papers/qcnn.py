"""Q-CNN on MNIST: 784-1000-10 and 784-1000-1000-1000-10, d/K = 4/32.

python -m benchmarks.papers.qcnn                              both
python -m benchmarks.papers.qcnn 784-1000-10 --work FOLDER    one; the float network kept there

Trains both networks (images jittered, dropout), codes all layers but the last by the paper's
procedure, without and with error correction, and by ours with the same groups and words, and
counts the test errors. The last layer is float in the paper and has 8 bits here. As in the
paper activations are float, and 25,000 training images calibrate; what 8-bit activations make
of the same weights is measured beside.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.networks.__main__ import DATA
from subbyte import compress, load
from subbyte.compression.config import CompressOptions
from subbyte.compression.planning.plan_file import planned_layers, write_plan
from subbyte.graph.load.network import read_network
from subbyte.graph.load.torch_export import export_module
from subbyte.methods.product.form import PROCEDURES, Procedure, ProductOptions
from subbyte.methods.scalar.form import ScalarOptions
from subbyte.report.inspection import inspect
from subbyte.report.system import system

RESULT = Path(__file__).parents[1] / "results" / "papers" / "qcnn.json"
GROUP, WORDS = 4, 32
CALIBRATION = 25_000
BATCH = 256
EPOCHS = {"784-1000-10": 12, "784-1000-1000-1000-10": 6}
RATE = 2e-3
SHIFT = 2

Images = NDArray[np.float32]
Labels = NDArray[np.int64]


def widths(name: str) -> list[int]:
    """``784-1000-10`` as numbers."""
    return [int(width) for width in name.split("-")]


def paper_rate(name: str, group: int = GROUP, words: int = WORDS) -> float:
    """How many times fewer bits, as the paper counts: float codebooks, the last layer float.

    32 K Cs + M Ct log2 K bits a layer with M = Cs / d, against 32 Cs Ct; no biases.
    """
    sizes = list(pairwise(widths(name)))
    bits = [
        32 * words * inputs + inputs // group * outputs * (words.bit_length() - 1)
        for inputs, outputs in sizes[:-1]
    ]
    before = sum(32 * inputs * outputs for inputs, outputs in sizes)
    return before / (sum(bits) + 32 * sizes[-1][0] * sizes[-1][1])


def network(name: str) -> nn.Sequential:
    """Linear layers with ReLU between them, dropout in training."""
    layers: list[nn.Module] = [nn.Dropout(0.1)]
    for inputs, outputs in pairwise(widths(name)):
        layers += [nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(0.3)]
    return nn.Sequential(*layers[:-2])


def jitter(images: Tensor, rng: torch.Generator) -> Tensor:
    """Every image [N, 784] moved by up to `SHIFT` pixels both ways."""
    padded = nn.functional.pad(images.reshape(-1, 28, 28), [SHIFT] * 4)
    moves = torch.randint(0, 2 * SHIFT + 1, (2, len(images)), generator=rng)
    places = torch.arange(28)
    rows, columns = (move[:, None] + places for move in moves)
    index = torch.arange(len(images))[:, None, None]
    return padded[index, rows[:, :, None], columns[:, None, :]].flatten(1)


def train(name: str, images: Images, labels: Labels) -> nn.Sequential:
    """Adam with one cycle of the rate, on jittered images."""
    torch.manual_seed(0)
    rng = torch.Generator().manual_seed(0)
    model = network(name)
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    steps = EPOCHS[name] * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    for epoch in range(EPOCHS[name]):
        order = torch.randperm(len(x), generator=rng)
        for step in range(len(x) // BATCH):
            batch = order[step * BATCH : (step + 1) * BATCH]
            loss = nn.functional.cross_entropy(model(jitter(x[batch], rng)), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"{name}: epoch {epoch + 1} of {EPOCHS[name]}, loss {loss:.3f}", flush=True)
    return model.eval()


def plan(path: Path, procedure: Procedure) -> str:
    """All layers of the network coded by ``procedure`` but the last, which keeps 8 bits."""
    layers = planned_layers(read_network(path))
    product = ProductOptions(GROUP, WORDS, procedure=procedure)
    options = {layer.weight: product for layer in layers[:-1]}
    return write_plan({**options, layers[-1].weight: ScalarOptions(8)}, layers)


def error(path: Path, images: Images, labels: Labels) -> float:
    """Test errors in percent, in plain onnxruntime."""
    model = load(path, engine="portable")
    scores = [np.asarray(model.run(images[at : at + 1000])) for at in range(0, len(images), 1000)]
    return 100 * float(np.mean(np.concatenate(scores).argmax(1) != labels))


def coded(
    source: Path, procedure: Procedure, calibration: Images, test: tuple[Images, Labels]
) -> dict[str, Any]:
    """One way of coding: errors with float and with 8-bit activations, and what is stored."""
    errors: dict[str, float] = {}
    kinds: tuple[Literal["float", "int8"], ...] = ("float", "int8")
    with tempfile.TemporaryDirectory() as scratch:
        target, plan_file = Path(scratch) / "small.onnx", Path(scratch) / "plan.toml"
        plan_file.write_text(plan(source, procedure))
        for activations in kinds:
            # The second time all weights are found in the work folder.
            options = CompressOptions(
                plan=plan_file, activations=activations, work=Path(scratch) / "work"
            )
            compress(source, target, calibration, options)
            errors[activations] = error(target, *test)
        bits = inspect(target).bits_per_weight
    return {
        "procedure": procedure,
        "error": errors["float"],
        "error_int8": errors["int8"],
        "bits_per_weight": bits,
        "stored_rate": 32 / bits,
    }


def measure(name: str, data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Train one network, unless ``folder`` has it, and code it in all ways."""
    source = folder / f"{name}.onnx"
    if not source.exists():
        model = train(name, data["x_train"], data["y_train"])
        onnx.save(export_module(model, torch.zeros(2, 784)), source)
    test = data["x_test"], data["y_test"]
    order = np.random.default_rng(0).permutation(len(data["x_train"]))[:CALIBRATION]
    rows = [coded(source, each, data["x_train"][np.sort(order)], test) for each in PROCEDURES]
    for row in rows:
        print(f"{name}: {row}", flush=True)
    return {
        "network": name,
        "group": GROUP,
        "words": WORDS,
        "epochs": EPOCHS[name],
        "float_error": error(source, *test),
        "paper_rate": paper_rate(name),
        "rows": rows,
    }


def read_mnist(path: Path) -> dict[str, Any]:
    """Images as float32 [N, 784] from 0 to 1, labels int64."""
    with np.load(path) as z:
        found: dict[str, Any] = {}
        for part in ("train", "test"):
            images = z[f"x_{part}"].reshape(-1, 784)
            found[f"x_{part}"] = (images / 255).astype(np.float32)
            found[f"y_{part}"] = z[f"y_{part}"].astype(np.int64)
    return found


def main() -> int:
    """Train, measure, and write what was measured beside what the result holds already."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.papers.qcnn",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("networks", nargs="*", metavar="NAME", help=f"of: {', '.join(EPOCHS)}")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="keep float networks here")
    given = parser.parse_args()
    if unknown := set(given.networks) - set(EPOCHS):
        parser.error(f"no such network: {', '.join(sorted(unknown))}")
    if not DATA.is_dir():
        print(f"no data folder at {DATA}: set SUBBYTE_DATA", file=sys.stderr)
        return 2
    data = read_mnist(DATA / "mnist" / "mnist.npz")
    with tempfile.TemporaryDirectory() as scratch:
        for name in given.networks or EPOCHS:
            found = measure(name, data, given.work or Path(scratch))
            write(found | {"calibration": CALIBRATION, "system": system()})
    return 0


def write(found: dict[str, Any]) -> None:
    """Put one network's result in its place."""
    held = json.loads(RESULT.read_text())["networks"] if RESULT.exists() else []
    rows = {each["network"]: each for each in held} | {found["network"]: found}
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    networks = [rows[name] for name in EPOCHS if name in rows]
    RESULT.write_text(json.dumps({"networks": networks}, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
