"""The preprocessing that options ask for, over the one that a compressed file records."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from subbyte.cli.console import ERRORS
from subbyte.cli.options import Numbers, numbers_of
from subbyte.data.preprocessing import (
    PRESETS,
    Color,
    ImageOptions,
    Layout,
    Preprocessing,
    Preset,
    Resize,
)
from subbyte.errors import OptionError
from subbyte.runtime.metadata import recorded_preprocessing

PREPROCESSING = "Preprocessing: (x / scale - mean) / std"
IMAGES = "Folders of images"


class ImageSize(tuple[int, int]):
    """Height and width given as ``224`` or ``480x640``."""


def parse_image_size(text: str | ImageSize) -> ImageSize:
    """Read ``224`` or ``480x640``, height first."""
    if isinstance(text, ImageSize):
        return text
    if re.fullmatch(r"[1-9]\d{0,4}(x[1-9]\d{0,4})?", text) is None:
        raise OptionError(
            "cannot read --image-size", expected="224 or 480x640 (height x width)", got=text
        )
    sides = [int(side) for side in text.split("x")]
    return ImageSize((sides[0], sides[-1]))


@dataclass(frozen=True)
class PreprocessingOptions:
    """The options of a command; None for each one that was not given."""

    preset: Annotated[
        Preset | None,
        typer.Option(
            "--preset",
            help="Scale, mean and std by name, of bytes 0 - 255. imagenet: as torchvision, and "
            "images are cropped as there. minus-one-to-one: x / 127.5 - 1. zero-to-one: x / 255.",
            rich_help_panel=PREPROCESSING,
            show_default=False,
        ),
    ] = None
    scale: Annotated[
        float | None,
        typer.Option(
            "--input-scale",
            help="Divide samples by this; 255 brings image bytes to 0 - 1.",
            rich_help_panel=PREPROCESSING,
            show_default="1",
        ),
    ] = None
    mean: Annotated[
        Numbers | None,
        typer.Option(
            metavar="a,b,c",
            parser=numbers_of("--mean"),
            help="Subtract this: one number, or one per channel.",
            rich_help_panel=PREPROCESSING,
            show_default=False,
        ),
    ] = None
    std: Annotated[
        Numbers | None,
        typer.Option(
            metavar="a,b,c",
            parser=numbers_of("--std"),
            help="Then divide by this: one number, or one per channel.",
            rich_help_panel=PREPROCESSING,
            show_default=False,
        ),
    ] = None
    layout: Annotated[
        Layout | None,
        typer.Option(
            "--layout",
            help="Where stored samples have their channels: nchw first (N, C, H, W), "
            "nhwc last (N, H, W, C).",
            rich_help_panel=PREPROCESSING,
            show_default="as the network",
        ),
    ] = None
    resize: Annotated[
        Resize | None,
        typer.Option(
            "--resize",
            help="How images get the network's size. crop: the shorter side, then the middle. "
            "stretch: both sides. pad: the longer side, with black around.",
            rich_help_panel=IMAGES,
            show_default="crop",
        ),
    ] = None
    crop: Annotated[
        float | None,
        typer.Option(
            metavar="F",
            help="Keep this part of the sides of the resized image, from its middle.",
            rich_help_panel=IMAGES,
            show_default="1; 0.875, which is 224 of 256, with --preset imagenet",
        ),
    ] = None
    color: Annotated[
        Color | None,
        typer.Option(
            "--color",
            help="The order of the network's channels, or gray.",
            rich_help_panel=IMAGES,
            show_default="rgb; gray for one channel",
        ),
    ] = None
    image_size: Annotated[
        ImageSize | None,
        typer.Option(
            "--image-size",
            metavar="HxW",
            parser=parse_image_size,
            help="The size of images where the network leaves it free: 224 or 480x640, "
            "height first.",
            rich_help_panel=IMAGES,
            show_default=False,
        ),
    ] = None

    @property
    def given(self) -> dict[str, Any]:
        """The options that were given, by name."""
        return {name: value for name, value in self.__dict__.items() if value is not None}

    def over(self, recorded: Preprocessing | None = None) -> Preprocessing | None:
        """``recorded``, overridden by these options; None where neither says anything.

        Raises:
            OptionError: options that exclude each other, values out of range.
        """
        if not self.given:
            return recorded
        steps = recorded or Preprocessing()
        if self.preset is not None:
            for name in ("scale", "mean", "std"):
                if name in self.given:
                    option = "input-scale" if name == "scale" else name
                    raise OptionError(f"--preset and --{option} exclude each other")
            values = PRESETS[self.preset]
            crop = (values.images or ImageOptions()).crop
            steps = replace(steps, scale=values.scale, mean=values.mean, std=values.std)
            if values.images is not None:
                steps = replace(steps, images=replace(steps.images or ImageOptions(), crop=crop))
        given = self.given
        said: dict[str, Any] = {n: given[n] for n in ("scale", "layout") if n in given}
        said |= {n: tuple(given[n]) for n in ("mean", "std") if n in given}
        return replace(steps, **said, images=self._images(steps.images))

    def for_file(self, path: Path) -> Preprocessing | None:
        """`over` the preprocessing that the file at ``path`` records; a note where they differ."""
        recorded = recorded_preprocessing(path)
        steps = self.over(recorded)
        if recorded is not None and steps is not None:
            changes = _changes(recorded, steps)
            if changes:
                note = f"note: {', '.join(changes)}: not as {path} was compressed"
                ERRORS.print(note, soft_wrap=True, markup=False, highlight=False)
        return steps

    def _images(self, known: ImageOptions | None) -> ImageOptions | None:
        names = ("resize", "crop", "color")
        said = {name: self.given[name] for name in names if name in self.given}
        if self.image_size is not None:
            said["size"] = tuple(self.image_size)
        if self.resize == "pad":
            # The crop of a preset or of a record has no place there.
            said.setdefault("crop", 1.0)
        return replace(known or ImageOptions(), **said) if said else known


def _changes(recorded: Preprocessing, steps: Preprocessing) -> list[str]:
    """``scale 1 instead of 255`` for each value that differs; a layout says nothing of values."""
    sides = []
    for each in (steps, recorded):
        values = asdict(each)
        images = values.pop("images") or asdict(ImageOptions())
        del values["layout"]
        sides.append({**values, **{f"image {name}": value for name, value in images.items()}})
    now, before = sides
    return [
        f"{name} {_shown(now[name])} instead of {_shown(before[name])}"
        for name in now
        if now[name] != before[name] and not (now[name] is None and name.startswith("image"))
    ]


def _shown(value: Any) -> str:
    if isinstance(value, tuple | list):
        return ",".join(f"{number:g}" for number in value) or "none"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
