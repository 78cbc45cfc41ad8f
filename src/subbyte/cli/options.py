"""Options that several commands share, and how their values are read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from subbyte.data import Layout, Preprocessing
from subbyte.data.specs import check_once
from subbyte.errors import OptionError
from subbyte.runtime import Engine

DATA = "Data"
INPUTS = "Inputs that are no samples"
Said = TypeVar("Said")
PREPROCESSING = "Preprocessing: (x / scale - mean) / std, channels first"


class Numbers(tuple[float, ...]):
    """Numbers given as ``a,b,c``."""


class InputShape(tuple[str, tuple[int, ...]]):
    """An input's shape given as ``NAME=1x3x224x224``."""


class BatchAxis(tuple[str, int | None]):
    """Where an input has its batch, given as ``NAME=1``."""


def parse_numbers(text: str | Numbers) -> Numbers:
    """Read ``a,b,c``."""
    if isinstance(text, Numbers):
        return text
    try:
        return Numbers(float(part) for part in text.split(",")) if text else Numbers()
    except ValueError:
        raise typer.BadParameter(
            f"expected numbers as in 0.485,0.456,0.406, got {text!r}"
        ) from None


def parse_shape(text: str | InputShape) -> InputShape:
    """Read ``NAME=1x3x224x224``."""
    if isinstance(text, InputShape):
        return text
    name, _, sizes = text.rpartition("=")
    if not name or re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", sizes) is None:
        raise typer.BadParameter(f"expected NAME=1x3x224x224, got {text!r}")
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
Scale = Annotated[
    float,
    typer.Option(
        help="Divide samples by this; 255 brings image bytes to 0 - 1.",
        rich_help_panel=PREPROCESSING,
    ),
]
Mean = Annotated[
    Numbers | None,
    typer.Option(
        metavar="a,b,c",
        parser=parse_numbers,
        help="Subtract this: one number, or one per channel.",
        rich_help_panel=PREPROCESSING,
        show_default=False,
    ),
]
Std = Annotated[
    Numbers | None,
    typer.Option(
        metavar="a,b,c",
        parser=parse_numbers,
        help="Then divide by this: one number, or one per channel.",
        rich_help_panel=PREPROCESSING,
        show_default=False,
    ),
]
LayoutOption = Annotated[
    Layout,
    typer.Option(
        "--layout",
        help="Where stored samples have their channels: nchw first (N, C, H, W), "
        "nhwc last (N, H, W, C).",
        rich_help_panel=PREPROCESSING,
    ),
]

DataFile = Annotated[
    Path, typer.Option(metavar="FILE.npz", help="File with the samples.", rich_help_panel=DATA)
]
InputArray = Annotated[
    str | None,
    typer.Option(
        metavar="ARRAY",
        help="Array of samples in FILE.npz. May be left out if the arrays are named like "
        "the model's inputs, or if there is only one.",
        rich_help_panel=DATA,
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(metavar="N", help="Use the first N samples only.", rich_help_panel=DATA),
]


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
FoldInputs = Annotated[
    bool,
    typer.Option(
        "--fold-inputs",
        help="Make the inputs of --set-input constants: OUT.onnx does not take them any more.",
        rich_help_panel=INPUTS,
    ),
]
BatchAxisOption = Annotated[
    list[BatchAxis] | None,
    typer.Option(
        "--batch-axis",
        metavar="NAME=K",
        parser=parse_axis,
        help="The axis on which an input has its batch, where its shape does not tell: 0 is the "
        "first; none: it has no batch (repeat for several inputs).",
        rich_help_panel=INPUTS,
        show_default=False,
    ),
]


def preprocessing(
    scale: float, mean: Numbers | None, std: Numbers | None, layout: Layout
) -> Preprocessing:
    """The four options as one object."""
    return Preprocessing(scale, tuple(mean or ()), tuple(std or ()), layout)


def member(data: Path, name: str | None) -> str:
    """``FILE.npz:array``, or the file alone where no array is named."""
    return str(data) if name is None else f"{data}:{name}"
