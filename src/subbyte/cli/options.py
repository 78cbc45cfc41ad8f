"""Options that several commands share, and how their values are read."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from subbyte.data.specs import check_once
from subbyte.errors import OptionError
from subbyte.runtime import Engine

DATA = "Data"
INPUTS = "Inputs that are no samples"
Said = TypeVar("Said")


class Numbers(tuple[float, ...]):
    """Numbers given as ``a,b,c``."""


class InputShape(tuple[str, tuple[int, ...]]):
    """An input's shape given as ``NAME=1x3x224x224``."""


class BatchAxis(tuple[str, int | None]):
    """Where an input has its batch, given as ``NAME=1``."""


def numbers_of(
    option: str, example: str = "0.485,0.456,0.406"
) -> Callable[[str | Numbers], Numbers]:
    """The parser of ``option``, whose value is ``a,b,c``."""

    def parse(text: str | Numbers) -> Numbers:
        if isinstance(text, Numbers):
            return text
        try:
            return Numbers(float(part) for part in text.split(",")) if text else Numbers()
        except ValueError:
            raise OptionError(
                f"cannot read {option}", expected=f"numbers such as {example}", got=text
            ) from None

    return parse


def parse_shape(text: str | InputShape) -> InputShape:
    """Read ``NAME=1x3x224x224``."""
    if isinstance(text, InputShape):
        return text
    name, _, sizes = text.rpartition("=")
    if not name or re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", sizes) is None:
        raise OptionError("cannot read --shape", expected="NAME=1x3x224x224", got=text)
    return InputShape((name, tuple(int(size) for size in sizes.split("x"))))


def parse_axis(text: str | BatchAxis) -> BatchAxis:
    """Read ``NAME=1`` or ``NAME=none``."""
    if isinstance(text, BatchAxis):
        return text
    name, _, axis = text.rpartition("=")
    if not name or re.fullmatch(r"\d{1,3}|none", axis) is None:
        raise OptionError(
            "cannot read --batch-axis", expected="NAME=0, NAME=1 ... or NAME=none", got=text
        )
    return BatchAxis((name, None if axis == "none" else int(axis)))


def by_input(pairs: Sequence[tuple[str, Said]] | None, option: str) -> dict[str, Said]:
    """The values of an option by input; `OptionError` for an input that is named twice."""
    check_once([name for name, _ in pairs or ()], option)
    return dict(pairs or ())


JsonFile = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Also write the result to FILE as JSON."),
]
EngineOption = Annotated[
    Engine | None,
    typer.Option(
        help="native: subbyte's own kernels. portable: ONNX Runtime alone.",
        show_default="native where the package has the library",
    ),
]
SAMPLES = "FOLDER|FILE.npz:array"
DataSource = Annotated[
    str,
    typer.Option(
        metavar=SAMPLES,
        help="The samples, as of --calib. The array may be left out where it is the only one, or "
        "arrays are named like the model's inputs.",
        rich_help_panel=DATA,
    ),
]
LABELS = "FILE.npz:array|folders|FILE.txt"
LabelSource = Annotated[
    str | None,
    typer.Option(
        metavar=LABELS,
        help="The classes: an array of class indices; of a folder of images folders, if each class "
        "has one, or a file of names (of classes or images) and indices.",
        rich_help_panel=DATA,
        show_default=False,
    ),
]
SampleCount = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Use N of the samples, drawn at random, the same ones every time.",
        rich_help_panel=DATA,
        show_default="all",
    ),
]
BatchSize = Annotated[int, typer.Option(metavar="N", help="Samples a run.")]
SetInput = Annotated[
    list[str] | None,
    typer.Option(
        "--set-input",
        metavar="NAME=VALUE",
        help="The value of an input that is the same for all samples: a number, numbers as in "
        "1,2,3, FILE.npy or FILE.npz:array (repeat for several inputs).",
        rich_help_panel=INPUTS,
        show_default=False,
    ),
]


@dataclass(frozen=True)
class InputOptions:
    """How the inputs are fed that are no samples, and where inputs have their batch."""

    set_input: SetInput = None
    batch_axis: Annotated[
        list[BatchAxis] | None,
        typer.Option(
            "--batch-axis",
            metavar="NAME=K",
            parser=parse_axis,
            help="The axis on which an input has its batch, where its shape does not tell: 0 is "
            "the first; none: it has no batch (repeat for several inputs).",
            rich_help_panel=INPUTS,
            show_default=False,
        ),
    ] = None

    @property
    def axes(self) -> dict[str, int | None]:
        """The batch axes by input.

        Raises:
            OptionError: an input that is named twice.
        """
        return by_input(self.batch_axis, "--batch-axis")
