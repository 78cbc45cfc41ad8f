"""Options of the commands that code weights: samples, methods, budgets."""

from __future__ import annotations

import importlib.util
import pkgutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from subbyte import budgets
from subbyte.cli.console import ERRORS, stage_progress
from subbyte.cli.options import INPUTS, InputOptions
from subbyte.cli.preprocessing import PreprocessingOptions
from subbyte.data import Samples, as_samples

if TYPE_CHECKING:
    from subbyte.methods import MethodChoice

DATA = "Calibration"
CODING = "Coding"
BUDGET = "Budget (one at most; else --bits 2, or as one method or a plan says)"
RUN = "Run"


class Names(tuple[str, ...]):
    """Names given as ``a,b``."""


class ByteCount(int):
    """Bytes given as ``2MB``."""


class Milliseconds(float):
    """A time given as ``3ms``."""


class Points(float):
    """Percentage points given as ``0.5``."""


def parse_names(text: str | Names) -> Names:
    """Read ``a,b``."""
    if isinstance(text, Names):
        return text
    return Names(name.strip() for name in text.split(",") if name.strip())


def method_names() -> list[str]:
    """The names of the methods, taken from their folders: help texts import no method."""
    spec = importlib.util.find_spec("subbyte")
    places = spec.submodule_search_locations if spec else None
    folders = [f"{place}/methods" for place in places or ()]
    return [found.name for found in pkgutil.iter_modules(folders) if found.ispkg]


def parse_size(text: str | ByteCount) -> ByteCount:
    """Read ``2MB``."""
    return text if isinstance(text, ByteCount) else ByteCount(budgets.parse_size(text))


def parse_latency(text: str | Milliseconds) -> Milliseconds:
    """Read ``3ms``."""
    return text if isinstance(text, Milliseconds) else Milliseconds(budgets.parse_latency(text))


def parse_drop(text: str | Points) -> Points:
    """Read ``0.5``."""
    return text if isinstance(text, Points) else Points(budgets.parse_drop(text))


@dataclass(frozen=True, kw_only=True)
class CalibrationOptions:
    """The samples, their preprocessing, and the inputs that are no samples."""

    calib: Annotated[
        str,
        typer.Option(
            metavar="FOLDER|FILE.npz[:array]|FILE.npy|module:function",
            help="A few hundred samples of the network's future inputs; no labels: a folder of "
            "images, arrays, or a Python function that returns or yields batches. For a network "
            "with several inputs: a file with an array for each, of the same name.",
            rich_help_panel=DATA,
        ),
    ]
    samples: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Use N samples, drawn at random by --seed; all if not given.",
            rich_help_panel=DATA,
            show_default=False,
        ),
    ] = None
    preprocessing: PreprocessingOptions
    inputs: InputOptions
    fold_inputs: Annotated[
        bool,
        typer.Option(
            "--fold-inputs",
            help="Make the inputs of --set-input constants: OUT.onnx does not take them any more.",
            rich_help_panel=INPUTS,
        ),
    ] = False

    @property
    def arrays(self) -> list[str]:
        """The options that may name files to read."""
        return [self.calib, *(self.inputs.set_input or [])]

    def read(self, source: Path, seed: int) -> Samples:
        """The samples for the network ``source``; a note where there are fewer than were wished.

        Raises:
            SubbyteError: as `as_samples`.
        """
        from subbyte.graph.load.model_file import read_input_specs

        steps, axes = self.preprocessing.over(), self.inputs.axes
        with stage_progress() as progress:
            data = as_samples(
                *(self.calib, read_input_specs(source), steps),
                option="--calib",
                set_inputs=self.inputs.set_input,
                batch_axes=axes,
                fold_inputs=self.fold_inputs,
                count=self.samples,
                seed=seed,
                progress=progress,
            )
        if self.samples is not None and self.samples > len(data):
            note = f"note: --samples {self.samples}, but {self.calib} has {len(data)}: using all"
            ERRORS.print(note, soft_wrap=True)
        return data


@dataclass(frozen=True)
class MethodOptions:
    """The methods to choose from, and their own options."""

    method: Annotated[
        Names | None,
        typer.Option(
            "--method",
            metavar="NAME,NAME",
            parser=parse_names,
            help=f"How weights are coded: {', '.join(method_names())}; `subbyte methods` explains. "
            "With a budget several, to choose from layer by layer, as in product,scalar.",
            rich_help_panel=CODING,
            show_default="product",
        ),
    ] = None
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="An option of the method, as in group=8 or group=8,gain=3 (repeat as needed); "
            "with several methods of all that have it, or of one, as in product.gain=3. `subbyte "
            "methods` lists them.",
            rich_help_panel=CODING,
            show_default=False,
        ),
    ] = None

    def read(self) -> tuple[MethodChoice, ...] | None:
        """The methods with their options; None where nothing is said of either."""
        from subbyte.compression.config import DEFAULT_METHOD
        from subbyte.methods import read_choices

        if self.method is None and not self.settings:
            return None
        names = (DEFAULT_METHOD,) if self.method is None else self.method
        return read_choices(names, self.settings or ())


@dataclass(frozen=True)
class BudgetOptions:
    """The budget, and how a plan is found within it; fields as of `CompressOptions`."""

    bits: Annotated[
        float | None,
        typer.Option(
            metavar="B",
            help="At most B bits per weight in all layers and large constants together, codebooks, "
            "scales and signs included. 8: 8-bit codes in every layer, scales on top.",
            rich_help_panel=BUDGET,
            show_default=False,
        ),
    ] = None
    size: Annotated[
        ByteCount | None,
        typer.Option(
            metavar="2MB",
            parser=parse_size,
            help="A file of at most this size (B, kB, MB, KiB, MiB).",
            rich_help_panel=BUDGET,
            show_default=False,
        ),
    ] = None
    latency: Annotated[
        Milliseconds | None,
        typer.Option(
            metavar="3ms",
            parser=parse_latency,
            help="At most this long a sample (us, ms, s), on the native kernels of this machine, "
            "one thread; see `subbyte calibrate-cpu`.",
            rich_help_panel=BUDGET,
            show_default=False,
        ),
    ] = None
    max_drop: Annotated[
        Points | None,
        typer.Option(
            "--max-drop",
            metavar="0.5",
            parser=parse_drop,
            help="The fewest bits that lose at most so many percentage points of accuracy, as far "
            "as held-back samples without labels can tell. For classifiers.",
            rich_help_panel=BUDGET,
            show_default=False,
        ),
    ] = None
    timings: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json",
            help="Kernel timings for --latency.",
            rich_help_panel=BUDGET,
            show_default="written by `subbyte calibrate-cpu`",
        ),
    ] = None
    trials: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="With --bits, --size or --latency: carry out the plan and up to N - 1 others (2: "
            "one format for all layers) on a part of the samples, and keep a plan that is clearly "
            "better on the rest.",
            rich_help_panel=BUDGET,
        ),
    ] = 0


@dataclass(frozen=True)
class RunOptions:
    """How to compute; fields as of `CompressOptions`."""

    seed: Annotated[
        int,
        typer.Option(
            metavar="N", help="Same seed, same bytes on the same machine.", rich_help_panel=RUN
        ),
    ] = 0
    device: Annotated[
        str,
        typer.Option(
            metavar="D", help="Where to compute: cpu, cuda, cuda:1 ...", rich_help_panel=RUN
        ),
    ] = "cpu"


Activations = Annotated[
    Literal["int8", "float"],
    typer.Option(help="What layers hand to each other.", rich_help_panel=CODING),
]
TuneSteps = Annotated[
    int,
    typer.Option(
        metavar="STEPS",
        help="Then train codebooks, scales and biases to follow the float network.",
        rich_help_panel=CODING,
    ),
]
