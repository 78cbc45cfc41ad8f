"""CBDNet at the paper's bits: weights only, no samples for the weights, no training.

python -m benchmarks.papers.cbdnet                       all networks
python -m benchmarks.papers.cbdnet resnet20 resnet32     some of them
python -m benchmarks.papers.cbdnet vgg --work FOLDER     the VGG is trained first, and kept there

For each network the paper's procedure with the planes J and the bottleneck that come
closest to the bits the paper reports for its kind of network, from below and by the paper's
own count over the layers so coded (where none does, with those that take least); and beside
it our procedure within the same bits, all that is stored counted. Layers that are kept at 8
bits whatever the method are no part of the paper's count. Activations are float, as the method
codes weights alone; what 8-bit activations make of the same weights is measured beside.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.networks.__main__ import DATA
from benchmarks.networks.catalog import METRICS, NETWORKS, NetworkRow
from benchmarks.networks.datasets import Split, halves
from benchmarks.networks.detection import error_of_change
from benchmarks.networks.measure import detections, metric
from benchmarks.networks.record import preprocessing_options, run
from benchmarks.papers import vgg
from subbyte.compression.planning.candidates import keeps_eight_bits
from subbyte.compression.planning.plan_file import planned_layers
from subbyte.errors import OptionError
from subbyte.graph.load.network import read_network
from subbyte.graph.network import Layer
from subbyte.graph.query import known
from subbyte.graph.weight_layout import canonical
from subbyte.methods.composite.accounting import account
from subbyte.methods.composite.encode import encode_paper
from subbyte.methods.composite.form import CompositeOptions
from subbyte.report.system import system

RESULT = Path(__file__).parents[1] / "results" / "papers" / "cbdnet.json"


@dataclass(frozen=True)
class Row:
    """A network, and the paper's bits for ``like``, its own network nearest in kind."""

    network: str
    bits: float
    like: str


ROWS = (
    Row("resnet20", 5.25, "ResNet-18"),
    Row("resnet32", 5.25, "ResNet-18"),
    Row("vgg", 5.47, "VGG-16"),
    Row("densenet40", 5.72, "DenseNet-121"),
    Row("yolo_nano_coco", 4.38, "SSD300"),
    Row("yolo_nano_voc", 4.38, "SSD300"),
    Row("espnet", 5.18, "SegNet"),
)
SETTINGS = [
    CompositeOptions(planes, "paper", bottleneck=bottleneck)
    for planes in (4, 5, 6)
    for bottleneck in (0.1, 0.2, 0.3, 0.5)
]


def count_bits(layers: list[Layer], options: CompositeOptions) -> float | None:
    """The paper's bits a weight over ``layers``; None where a layer is too small for them."""
    total = 0.0
    for layer in layers:
        weight = np.asarray(known(layer.node.inputs[1]), np.float64)
        try:
            coded = encode_paper(canonical(layer, weight), layer.shape, options)
        except OptionError:
            return None
        total += account(coded).paper_bits * layer.shape.count
    return total / sum(layer.shape.count for layer in layers)


def choose(layers: list[Layer], bits: float) -> tuple[CompositeOptions, float]:
    """The setting nearest to ``bits`` from below, or the least there is; and its bits."""
    counted = [(count_bits(layers, options), options) for options in SETTINGS]
    found = [(taken, options) for taken, options in counted if taken is not None]
    below = [item for item in found if item[0] <= bits]
    pick = max(below, key=lambda item: item[0]) if below else min(found, key=lambda item: item[0])
    return pick[1], pick[0]


def measure(row: Row, folder: Path, work: Path | None = None) -> dict[str, Any]:
    """The float metric, and both procedures; ``work`` keeps what is trained."""
    network = vgg.network_row(work or folder) if row.network == "vgg" else NETWORKS[row.network]
    split = network.load(DATA, halves)
    np.savez(folder / "calibration.npz", inputs=split.calibration)
    layers = planned_layers(read_network(DATA / network.model))
    coded = [x for x in layers if isinstance(x, Layer) and not keeps_eight_bits(x)]
    options, counted = choose(coded, row.bits)
    paper = ["--set", f"procedure=paper,planes={options.planes}"]
    paper += ["--set", f"bottleneck={options.bottleneck:g}"]
    return {
        "network": row.network,
        "like": row.like,
        "paper_bits": row.bits,
        "metric": METRICS[network.task],
        "float": metric(network, DATA / network.model, split),
        "paper": {"counted_bits": counted} | compressed(network, split, paper, folder),
        "corrected": compressed(network, split, ["--bits", f"{row.bits:g}"], folder),
    }


def compressed(
    network: NetworkRow, split: Split, options: list[str], folder: Path
) -> dict[str, Any]:
    """One way of coding, through the command line, with float and with 8-bit activations."""
    target, report = folder / f"{network.name}.onnx", folder / "inspect.json"
    samples = network.samples or len(split.calibration)
    work = folder / "-".join(["work", *options]).replace("--", "")
    command = [
        *("subbyte", "compress", str(DATA / network.model), "-o", str(target)),
        *("--calib", f"{folder / 'calibration.npz'}:inputs", "--samples", str(samples)),
        *preprocessing_options(network.preprocessing),
        *("--method", "composite", *options, "--work", str(work)),
    ]
    metrics: dict[str, float] = {}
    error = None
    for activations in ("float", "int8"):
        # The second time all weights are found in the work folder.
        run([*command, "--activations", activations])
        metrics[activations] = metric(network, target, split)
        if network.task == "detection" and activations == "float":
            error = change_error(network, target, split)
    run(["subbyte", "inspect", str(target), "--json", str(report)])
    found = json.loads(report.read_text())
    return {
        "options": options,
        "samples": samples,
        "bits_per_weight": found["bits_per_weight"],
        "file_bytes": found["file_bytes"],
        "planes": found["planes"] and found["planes"]["total"],
        "metric": metrics["float"],
        "change_error": error,
        "metric_int8": metrics["int8"],
    }


def change_error(network: NetworkRow, target: Path, split: Split) -> float:
    """Standard error of a detector's change from float."""
    before, after = (detections(network, path, split) for path in (DATA / network.model, target))
    return error_of_change(before, after, split.targets)


def main() -> int:
    """Measure, and write what was measured into the result, beside what it already holds."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.papers.cbdnet",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [row.network for row in ROWS]
    parser.add_argument("networks", nargs="*", metavar="NAME", help=f"out of: {', '.join(names)}")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="keep the trained VGG here")
    given = parser.parse_args()
    wanted = given.networks or names
    if unknown := set(wanted) - set(names):
        parser.error(f"no such network: {', '.join(sorted(unknown))}")
    if not DATA.is_dir():
        print(f"no data folder at {DATA}: set SUBBYTE_DATA", file=sys.stderr)
        return 2
    for row in (row for row in ROWS if row.network in wanted):
        with tempfile.TemporaryDirectory() as scratch:
            record(measure(row, Path(scratch), given.work) | {"system": system()}, names)
    return 0


def record(found: dict[str, Any], names: list[str]) -> None:
    """Put one network's result in its place."""
    held = json.loads(RESULT.read_text())["networks"] if RESULT.exists() else []
    rows = {row["network"]: row for row in held} | {found["network"]: found}
    ordered = [rows[name] for name in names if name in rows]
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps({"networks": ordered}, indent=2) + "\n")
    print(
        f"{found['network']}: {found['metric']} {found['float']:.2f} -> paper "
        f"{found['paper']['metric']:.2f} at {found['paper']['counted_bits']:.2f} counted, "
        f"{found['paper']['bits_per_weight']:.2f} stored; corrected "
        f"{found['corrected']['metric']:.2f} at {found['corrected']['bits_per_weight']:.2f} stored"
    )


if __name__ == "__main__":
    sys.exit(main())
