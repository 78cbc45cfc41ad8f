"""Options that several commands share, and how their values are read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from subbyte.data.preprocessing import Color, Layout, Preset, Resize
from subbyte.data.specs import check_once
from subbyte.errors import OptionError
from subbyte.runtime import Engine

DATA = "Data"
INPUTS = "Inputs that are no samples"
Said = TypeVar("Said")
PREPROCESSING = "Preprocessing: (x / scale - mean) / std"
IMAGES = "Folders of images"


class Numbers(tuple[float, ...]):
    """Numbers given as ``a,b,c``."""


class InputShape(tuple[str, tuple[int, ...]]):
    """An input's shape given as ``NAME=1x3x224x224``."""


class BatchAxis(tuple[str, int | None]):
    """Where an input has its batch, given as ``NAME=1``."""


class ImageSize(tuple[int, int]):
    """Height and width given as ``224`` or ``480x640``."""


def parse_image_size(text: str | ImageSize) -> ImageSize:
    """Read ``224`` or ``480x640``, height first."""
    if isinstance(text, ImageSize):
        return text
    if re.fullmatch(r"[1-9]\d{0,4}(x[1-9]\d{0,4})?", text) is None:
        raise typer.BadParameter(f"expected 224 or 480x640 (height x width), got {text!r}")
    sides = [int(side) for side in text.split("x")]
    return ImageSize((sides[0], sides[-1]))


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
PresetOption = Annotated[
    Preset | None,
    typer.Option(
        "--preset",
        help="Scale, mean and std by name, of bytes 0 - 255. imagenet: as torchvision, and images "
        "are cropped as there. minus-one-to-one: x / 127.5 - 1. zero-to-one: x / 255.",
        rich_help_panel=PREPROCESSING,
        show_default=False,
    ),
]
Scale = Annotated[
    float | None,
    typer.Option(
        "--input-scale",
        help="Divide samples by this; 255 brings image bytes to 0 - 1.",
        rich_help_panel=PREPROCESSING,
        show_default="1",
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
    Layout | None,
    typer.Option(
        "--layout",
        help="Where stored samples have their channels: nchw first (N, C, H, W), "
        "nhwc last (N, H, W, C).",
        rich_help_panel=PREPROCESSING,
        show_default="as the network",
    ),
]
ResizeOption = Annotated[
    Resize | None,
    typer.Option(
        "--resize",
        help="How images get the network's size. crop: the shorter side, then the middle. "
        "stretch: both sides. pad: the longer side, with black around.",
        rich_help_panel=IMAGES,
        show_default="crop",
    ),
]
Crop = Annotated[
    float | None,
    typer.Option(
        metavar="F",
        help="Keep this part of the sides of the resized image, from its middle.",
        rich_help_panel=IMAGES,
        show_default="1; 0.875, which is 224 of 256, with --preset imagenet",
    ),
]
ColorOption = Annotated[
    Color | None,
    typer.Option(
        "--color",
        help="The order of the network's channels, or gray.",
        rich_help_panel=IMAGES,
        show_default="rgb; gray for one channel",
    ),
]
ImageSizeOption = Annotated[
    ImageSize | None,
    typer.Option(
        "--image-size",
        metavar="HxW",
        parser=parse_image_size,
        help="The size of images where the network leaves it free: 224 or 480x640, height first.",
        rich_help_panel=IMAGES,
        show_default=False,
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
