"""Soft/hard quantization at 2 bits: MNIST and CIFAR-10, ternary and four levels.

python -m benchmarks.papers.soft_hard                       both data sets
python -m benchmarks.papers.soft_hard mnist --work FOLDER   one; the float networks kept there

For each data set a small network is trained in float; then, from it, for each grid: the soft
stage (3 % of the iterations, as in the paper), the hard stage, and 1 % of the iterations
in which only scales, biases and normalizations learn. The first layer, 0.2 % of the weights,
takes 8 bits, all others 2. The result is written as a file by `subbyte.compress` (procedure
exact) and measured there too. CIFAR-10 is trained and tested in its JPEG form: the exact
images are too few to train with.

What the penalty adds to a step is measured in pairs, a step with it and one without it in
turn, in processor time of one thread.
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

import subbyte
from benchmarks.networks.__main__ import DATA
from subbyte.methods import Scalar
from subbyte.report.system import system
from subbyte.train.soft_hard import LevelName, SoftHard

RESULT = Path(__file__).parents[1] / "results" / "papers" / "soft_hard.json"

GRIDS: tuple[LevelName, ...] = ("ternary", "uniform4")
BATCH = 128
FLOAT_RATE = 4e-3
SOFT_SHARE, TUNE_SHARE = 0.03, 0.01
SOFT_RATE, TUNE_RATE = 3e-3, 1e-3
PAIRS = 40
FIRST = ("0",)
CALIBRATION = 500


@dataclass(frozen=True)
class Images:
    """Training and test images float32 [N, C, H, W] in 0 .. 1, labels int64 [N]."""

    x: Tensor
    y: Tensor
    test_x: Tensor
    test_y: Tensor


def mnist() -> Images:
    """60,000 and 10,000 digits."""
    with np.load(DATA / "mnist" / "mnist.npz") as file:
        return _images(*(file[name] for name in ("x_train", "y_train", "x_test", "y_test")))


def cifar10() -> Images:
    """50,000 and 10,000 images, from their JPEG form."""
    with np.load(DATA / "cifar10" / "cifar10_jpeg.npz") as file:
        arrays = [
            array
            for part in ("train", "test")
            for array in (_decode(file[f"{part}_jpeg"], file[f"{part}_off"]), file[f"y_{part}"])
        ]
    return _images(*arrays)


def _decode(data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[np.uint8]:
    raw = data.tobytes()
    files = (raw[a:b] for a, b in pairwise(offsets))
    return np.stack([np.asarray(Image.open(io.BytesIO(file))) for file in files])


def _images(x: NDArray[Any], y: NDArray[Any], test_x: NDArray[Any], test_y: NDArray[Any]) -> Images:
    def prepare(images: NDArray[Any]) -> Tensor:
        images = images[..., None] if images.ndim == 3 else images
        return torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(255).contiguous()

    labels = [torch.from_numpy(part.astype(np.int64)) for part in (y, test_y)]
    return Images(prepare(x), labels[0], prepare(test_x), labels[1])


def _conv(
    inputs: int, outputs: int, size: int, stride: int = 1, padding: int = 0
) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, outputs, size, stride, padding, bias=False)
    return [conv, nn.BatchNorm2d(outputs), nn.ReLU()]


def _head(inputs: int) -> list[nn.Module]:
    hidden = [nn.Linear(inputs, 128, bias=False), nn.BatchNorm1d(128), nn.ReLU()]
    return [nn.Flatten(), *hidden, nn.Linear(128, 10)]


def digit_cnn() -> nn.Sequential:
    """Two convolutions and two linear layers, 422,000 weights."""
    return nn.Sequential(*_conv(1, 32, 5, 2, 2), *_conv(32, 64, 3, 2, 1), *_head(64 * 49))


def image_cnn() -> nn.Sequential:
    """Three convolutions and two linear layers, 357,000 weights."""
    convs = [*_conv(3, 32, 3, 2, 1), *_conv(32, 64, 3, 2, 1), *_conv(64, 128, 3, 2, 1)]
    return nn.Sequential(*convs, *_head(128 * 16))


@dataclass(frozen=True)
class Row:
    """A data set, its network and how long it is trained; ``mirror``: images are mirrored."""

    name: str
    load: Any
    network: Any
    epochs: int
    mirror: bool


ROWS = (
    Row("mnist", mnist, digit_cnn, 8, False),
    Row("cifar10", cifar10, image_cnn, 10, True),
)


def batches(data: Images, mirror: bool, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffled batches without end."""
    rng = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(len(data.x), generator=rng)
        for index in order[: len(order) // BATCH * BATCH].split(BATCH):
            x = data.x[index]
            if mirror:
                turned = torch.rand(len(x), generator=rng) < 0.5
                x = torch.where(turned[:, None, None, None], x.flip(3), x)
            yield x, data.y[index]


@torch.no_grad()
def accuracy(network: nn.Module, data: Images) -> float:
    """Percent of the test images whose best score is that of their label."""
    network.eval()
    hits = [
        int((network(x).argmax(1) == y).sum())
        for x, y in zip(data.test_x.split(500), data.test_y.split(500), strict=True)
    ]
    network.train()
    return 100 * sum(hits) / len(data.test_y)


def step(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: tuple[Tensor, Tensor],
    penalty: SoftHard | None,
) -> None:
    """One step of training, with the penalty of the soft stage or without."""
    loss = nn.functional.cross_entropy(network(batch[0]), batch[1])
    if penalty is not None:
        loss = loss + penalty()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if penalty is not None:
        penalty.step()


def train_float(row: Row, data: Images) -> tuple[nn.Module, float]:
    """The float network and the processor seconds it took."""
    torch.manual_seed(0)
    network = row.network()
    total = iterations(row, data)
    optimizer = torch.optim.Adam(network.parameters(), FLOAT_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, FLOAT_RATE, total_steps=total)
    started = time.process_time()
    for _, batch in zip(range(total), batches(data, row.mirror, seed=0), strict=False):
        step(network, optimizer, batch, None)
        schedule.step()
    return network, time.process_time() - started


def iterations(row: Row, data: Images) -> int:
    """Steps of the ordinary training."""
    return row.epochs * (len(data.x) // BATCH)


def quantize(
    row: Row, data: Images, network: nn.Module, levels: LevelName, soft_share: float = SOFT_SHARE
) -> dict[str, Any]:
    """The three stages from a copy of the float network, and the file."""
    network = copy.deepcopy(network)
    soft, tune = (round(share * iterations(row, data)) for share in (soft_share, TUNE_SHARE))
    penalty = SoftHard(network, steps=soft, levels=levels, skip=FIRST)
    stream = batches(data, row.mirror, seed=1)
    started = time.process_time()
    _stage(network, list(network.parameters()), stream, soft, SOFT_RATE, penalty)
    seconds = time.process_time() - started
    found: dict[str, Any] = {"levels": levels, "soft_iterations": soft, "tune_iterations": tune}
    found["soft"], distance = accuracy(network, data), penalty.distance()
    penalty.harden(train_scales=True)
    found["hard"] = accuracy(network, data)
    started = time.process_time()
    _stage(network, penalty.tunable_parameters(), stream, tune, TUNE_RATE, None)
    seconds += time.process_time() - started
    found["tuned"] = accuracy(network, data)
    penalty.bake()
    found |= {"distance": distance, "seconds": seconds, "memory": penalty.memory()}
    return found | {"file": as_file(network, data)}


def _stage(
    network: nn.Module,
    parameters: list[nn.Parameter],
    stream: Iterator[tuple[Tensor, Tensor]],
    steps: int,
    rate: float,
    penalty: SoftHard | None,
) -> None:
    """Adam, its rate falling linearly to zero."""
    optimizer = torch.optim.Adam(parameters, rate)
    for number in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - number / steps)
        step(network, optimizer, next(stream), penalty)


def as_file(network: nn.Module, data: Images) -> dict[str, Any]:
    """Accuracy and size of the file with these weights and 8-bit activations."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hard.onnx"
        subbyte.compress(
            network.eval(),
            path,
            data.x[:CALIBRATION].numpy(),
            method=Scalar(exact=True),
            example_inputs=data.x[:2],
        )
        scores = subbyte.evaluate(path, data.test_x.numpy(), data.test_y.numpy())
        found = subbyte.inspect(path)
    return {
        "accuracy": scores.top1,
        "bits_per_weight": found.bits_per_weight,
        "file_bytes": found.file_bytes,
    }


def overhead(row: Row, data: Images, network: nn.Module, count: int = PAIRS) -> dict[str, Any]:
    """Processor time of a step with the penalty over that of one without, less one: of ``count``
    pairs of steps."""
    network = copy.deepcopy(network)
    penalty = SoftHard(network, steps=count)
    optimizer = torch.optim.Adam(network.parameters(), 1e-5)
    stream = batches(data, row.mirror, seed=2)
    pairs = []
    for _ in range(count):
        batch, times = next(stream), []
        for each in (None, penalty):
            started = time.process_time()
            step(network, optimizer, batch, each)
            times.append(time.process_time() - started)
        pairs.append(times)
    ratios = sorted(soft / plain - 1 for plain, soft in pairs[2:])
    quarters = statistics.quantiles(ratios, n=4)
    return {
        "step_ms": 1e3 * statistics.median(plain for plain, _ in pairs),
        "penalty_share": statistics.median(ratios),
        "quartiles": [quarters[0], quarters[2]],
    }


def measure(
    row: Row, work: Path | None, soft_share: float = SOFT_SHARE, pairs: int = PAIRS
) -> dict[str, Any]:
    """All figures of one data set; ``soft_share``: of the ordinary training's steps in the soft
    stage, ``pairs``: of steps that are timed."""
    data = row.load()
    held = work / f"soft_hard_{row.name}.pt" if work else None
    if held is not None and held.exists():
        state = torch.load(held, weights_only=True)
        network, seconds = row.network(), state["seconds"]
        network.load_state_dict(state["network"])
    else:
        network, seconds = train_float(row, data)
        if held is not None:
            torch.save({"network": network.state_dict(), "seconds": seconds}, held)
    return {
        "data": row.name,
        "weights": sum(p.numel() for p in network.parameters() if p.ndim > 1),
        "iterations": iterations(row, data),
        "seconds": seconds,
        "float": accuracy(network, data),
        "grids": [quantize(row, data, network, levels, soft_share) for levels in GRIDS],
        "overhead": overhead(row, data, network, pairs),
    }


def main() -> int:
    """Measure, and write what was measured into the result, beside what it already holds."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.papers.soft_hard",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [row.name for row in ROWS]
    parser.add_argument("data", nargs="*", metavar="NAME", help=f"out of: {', '.join(names)}")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="keep float networks here")
    given = parser.parse_args()
    if unknown := set(given.data) - set(names):
        parser.error(f"no such data set: {', '.join(sorted(unknown))}")
    if not DATA.is_dir():
        print(f"no data folder at {DATA}: set SUBBYTE_DATA", file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    for row in (row for row in ROWS if row.name in (given.data or names)):
        record(measure(row, given.work) | {"system": system()}, names)
    return 0


def record(found: dict[str, Any], names: list[str], path: Path = RESULT) -> None:
    """Put one data set's result in its place at ``path``."""
    held = json.loads(path.read_text())["data"] if path.exists() else []
    rows = {row["data"]: row for row in held} | {found["data"]: found}
    ordered = [rows[name] for name in names if name in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"data": ordered}, indent=2) + "\n")
    for grid in found["grids"]:
        print(
            f"{found['data']}, {grid['levels']}: float {found['float']:.2f}, soft "
            f"{grid['soft']:.2f}, hard {grid['hard']:.2f}, tuned {grid['tuned']:.2f}, file "
            f"{grid['file']['accuracy']:.2f} at {grid['file']['bits_per_weight']:.3f} bits; "
            f"{100 * grid['seconds'] / found['seconds']:.1f} % more training, penalty "
            f"{100 * found['overhead']['penalty_share']:.1f} % of a step"
        )


if __name__ == "__main__":
    sys.exit(main())
