"""The whole way on scikit-learn's digits: train, export, compress at three sizes, compare.

    python -m examples.digits [FOLDER]          files go to FOLDER, out/demo by default

Everything after the export happens through the command line, as a user would type it; the
commands are printed. Calibration uses training images without their labels.
"""

from __future__ import annotations

import json
import logging
import shlex
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

BITS = (3.0, 1.5, 0.75)
WIDTH = 32
EPOCHS = 25
BATCH = 64
# Pixels of the digits are 0 to 16.
PIXEL_SCALE = 16

OUT = Console(highlight=False, soft_wrap=True)
Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
Row = dict[str, Any]


def main() -> None:
    """Run the demo."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out/demo")
    folder.mkdir(parents=True, exist_ok=True)
    train_x, test_x, train_y, test_y = digits()
    network = train(train_x, train_y)
    export(network, folder / "digits.onnx")
    np.savez(folder / "calibration.npz", images=train_x)
    np.savez(folder / "test.npz", images=test_x, labels=test_y)
    sizes = {f"digits-{bits:g}.onnx": bits for bits in BITS}
    for name, bits in sizes.items():
        compress(folder, name, bits)
    rows = [measure(folder, name) for name in ("digits.onnx", *sizes)]
    add_latency(folder, rows)
    OUT.print(as_table(rows))
    draw(rows, folder / "tradeoff.png")
    OUT.print(f"The trade-off as a picture: {folder / 'tradeoff.png'}")


def digits() -> tuple[Images, Images, Labels, Labels]:
    """Images [N, 1, 8, 8] and labels [N]: 1,437 to train with, 360 to test with."""
    data = load_digits()
    images = data.images.astype(np.uint8)[:, np.newaxis]
    labels = data.target.astype(np.int64)
    parts = train_test_split(images, labels, test_size=360, random_state=0, stratify=labels)
    return tuple(parts)


def block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """3x3 convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def train(images: Images, labels: Labels, width: int = WIDTH, epochs: int = EPOCHS) -> nn.Module:
    """A small convolutional network for the digits, about 93,000 weights at a width of 32."""
    torch.manual_seed(0)
    twice = 2 * width
    network = nn.Sequential(
        *(block(1, width), block(width, twice), block(twice, twice, stride=2)),
        *(block(twice, twice), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(twice, 10)),
    )
    x, y = torch.from_numpy(images / np.float32(PIXEL_SCALE)), torch.from_numpy(labels)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.01)
    steps = epochs * (len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=steps)
    with OUT.status("training on 1,437 images"):
        for _ in range(epochs):
            for batch in torch.randperm(len(x))[: steps // epochs * BATCH].split(BATCH):
                loss = nn.functional.cross_entropy(network(shifted(x[batch])), y[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
    return network.eval()


def shifted(images: Tensor) -> Tensor:
    """The images moved by up to one pixel in each direction, all of a batch alike."""
    down, right = torch.randint(-1, 2, (2,)).tolist()
    return torch.roll(images, (down, right), dims=(2, 3))


def export(network: nn.Module, path: Path) -> None:
    """Write the network as ONNX, with a free batch size."""
    example = torch.zeros(2, 1, 8, 8)
    # The exporter's remarks on packages that this network does not need.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with OUT.status("exporting to ONNX"), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.onnx.export(
            network,
            (example,),
            path,
            input_names=["image"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("N")},),
            external_data=False,
            verbose=False,
        )


def compress(folder: Path, name: str, bits: float) -> None:
    """Compress the exported network to at most ``bits`` bits per weight."""
    subbyte(
        folder,
        *("compress", "digits.onnx", "-o", name, "--calib", "calibration.npz:images"),
        *("--input-scale", str(PIXEL_SCALE), "--bits", f"{bits:g}"),
    )


def measure(folder: Path, name: str) -> Row:
    """Size, accuracy, and agreement with the float network."""
    size = subbyte(folder, "inspect", name)
    quality = subbyte(
        folder,
        *("eval", name, "--data", "test.npz:images", "--labels", "test.npz:labels"),
        *("--input-scale", str(PIXEL_SCALE), "--float-network", "digits.onnx"),
    )
    return {"name": name} | size | quality


def add_latency(folder: Path, rows: list[Row]) -> None:
    """Time all networks in turn, and put the median into each row; of compressed ones the
    native kernels', which come first."""
    result = subbyte(folder, "bench", *(row["name"] for row in rows), "--threads", "1")
    for timing in reversed(result["models"]):
        row = next(row for row in rows if row["name"] == timing["model"])
        row["median_ms"] = timing["median_ms"]


def subbyte(folder: Path, *arguments: str) -> dict[str, Any]:
    """Run one command in ``folder`` and return its JSON report.

    Raises:
        SystemExit: the command failed; it has said why.
    """
    OUT.print(f"[bold]$ subbyte {shlex.join(arguments)}[/bold]")
    report = folder / "report.json"
    program = Path(sys.executable).with_name("subbyte")
    done = subprocess.run(
        [program, *arguments, "--json", report.name],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(done.returncode)
    result: dict[str, Any] = json.loads(report.read_text())
    return result


def as_table(rows: list[Row]) -> Table:
    """One row per network."""
    table = Table(title="scikit-learn's digits, 360 test images", title_justify="left")
    table.add_column("network", no_wrap=True)
    units = (
        "bits per\nweight",
        "file\nkB",
        "accuracy\n%",
        "agreement\n%",
        "KL\nnats",
        "latency\nms",
    )
    for heading in units:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row["name"].removesuffix(".onnx"),
            f"{row['bits_per_weight']:.2f}",
            f"{row['file_bytes'] / 1000:.1f}",
            f"{row['top1']:.1f}",
            f"{row['agreement']:.1f}",
            f"{row['kl']:.4f}",
            f"{row['median_ms']:.3f}",
        )
    return table


def draw(rows: list[Row], path: Path) -> None:
    """Two panels: accuracy and agreement against file size, KL against bits per weight."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    size = [row["file_bytes"] / 1000 for row in rows]
    for key, label, style in (("top1", "accuracy", "o-"), ("agreement", "agreement", "s--")):
        left.plot(size, [row[key] for row in rows], style, label=f"{label}, percent")
    left.set_xscale("log")
    left.set_xticks(size, [f"{kilobytes:.0f}" for kilobytes in size])
    left.minorticks_off()
    left.set_xlabel("file size, kB")
    left.legend()
    small = rows[1:]
    bits = [row["bits_per_weight"] for row in small]
    right.semilogy(bits, [row["kl"] for row in small], "o-")
    right.set_xlabel("bits per weight")
    right.set_ylabel("KL from the float network, nats")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.suptitle("Digits: what each size keeps, on 360 test images")
    figure.savefig(path, dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    main()
