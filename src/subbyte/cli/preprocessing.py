"""The preprocessing that options ask for, over the one that a compressed file records."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from subbyte.cli.console import ERRORS
from subbyte.cli.options import ImageSize, Numbers
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


@dataclass(frozen=True)
class PreprocessingOptions:
    """The options of a command; None for each one that was not given."""

    preset: Preset | None = None
    scale: float | None = None
    mean: Numbers | None = None
    std: Numbers | None = None
    layout: Layout | None = None
    resize: Resize | None = None
    crop: float | None = None
    color: Color | None = None
    image_size: ImageSize | None = None

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
