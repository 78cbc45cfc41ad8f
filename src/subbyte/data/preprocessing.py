"""Preprocessing: from stored samples and pictures to the values that a model takes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import CalibrationError, OptionError
from subbyte.option_types import check_fields, check_type

Layout = Literal["nchw", "nhwc"]
Preset = Literal["imagenet", "minus-one-to-one", "zero-to-one"]
Resize = Literal["crop", "stretch", "pad"]
Color = Literal["rgb", "bgr", "gray"]

METADATA_KEY = "subbyte.preprocessing"
"""Entry of a compressed file's metadata that holds `Preprocessing.record`."""

_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, OptionError)


@dataclass(frozen=True)
class ImageOptions:
    """How a picture becomes pixels [height, width, channels] of the model's size.

    A picture is turned upright (EXIF), resized with antialiased bilinear interpolation, and its
    middle is cut out. A picture that has the model's size already is neither resized nor cut.

    - ``size``: (height, width); None: the size that the model's input has.
    - ``resize`` "crop": the picture keeps its proportions and covers size / crop, as with
      torchvision's ``Resize`` of the shorter side. "stretch": both sides become size / crop.
      "pad": the whole picture keeps its proportions and lies on black.
    - ``crop``: the part of the resized picture's sides that ``CenterCrop`` keeps, 0.875 for 224
      of 256.
    - ``color``: order of the channels; "gray" is ITU-R 601 luma, repeated where the model has
      three channels. None: RGB, or gray where the model has one channel.

    Raises:
        OptionError: an unknown word, a size or a crop out of range.
    """

    size: Annotated[tuple[int, int] | None, "(height, width)"] = None
    resize: Resize = "crop"
    crop: float = 1.0
    color: Color | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.size is not None:
            object.__setattr__(self, "size", tuple(self.size))
        if not 0 < self.crop <= 1:
            raise OptionError("crop out of range", expected="above 0, at most 1", got=self.crop)
        if self.resize == "pad" and self.crop != 1:
            raise OptionError("crop and resize pad exclude each other", got=f"crop {self.crop}")
        if self.size is not None and min(self.size) < 1:
            raise OptionError("image size out of range", expected="height, width", got=self.size)


@dataclass(frozen=True)
class Preprocessing:
    """x -> (x / scale - mean) / std, per channel, in the channel order of the model, float32.

    ``scale`` None says nothing of the values: they stay as they are. ``mean`` and ``std`` hold
    one number per channel, or one for all of them; empty means 0 and 1. ``layout`` says where
    stored samples have their channels, "nchw" first or "nhwc" last; None: where the model has
    them. ``images``: how pictures become pixels; None: `ImageOptions`' defaults.

    Raises:
        OptionError: scale or a std that is zero or not finite, an unknown layout.
    """

    scale: float | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    layout: Layout | None = None
    images: ImageOptions | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("mean", "std"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        scale = () if self.scale is None else (self.scale,)
        for name, values in (("scale", scale), ("mean", self.mean), ("std", self.std)):
            for value in values:
                if not math.isfinite(value) or (value == 0 and name != "mean"):
                    expected = "finite numbers" + ("" if name == "mean" else ", not zero")
                    raise OptionError(f"{name} out of range", expected=expected, got=value)

    @property
    def preset(self) -> str | None:
        """The name of the preset with these values; None if there is none."""
        own = (self.scale, self.mean, self.std)
        found = ((n, (p.scale, p.mean, p.std)) for n, p in PRESETS.items())
        return next((name for name, values in found if values == own), None)

    @property
    def scales(self) -> bool:
        """Whether values change (a layout alone changes none)."""
        return self.scale not in (None, 1) or bool(self.mean) or bool(self.std)

    @property
    def says_values(self) -> bool:
        """Whether anything is said of the values, be it that they stay as they are."""
        return self.scale is not None or self.scales

    def check(self, channels: int, where: str) -> None:
        """Raise `CalibrationError` unless mean and std fit ``channels``."""
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (0, 1, channels):
                raise CalibrationError(
                    f"{name} has the wrong length",
                    where=where,
                    expected=f"1 or {channels} numbers (one per channel)",
                    got=len(values),
                )

    def apply(self, batch: NDArray[Any], channel_axis: int = 1) -> NDArray[np.float32]:
        """Values of ``batch`` [N, ...], whose channels are on ``channel_axis``, as float32."""
        result = batch.astype(np.float32)
        per_channel = [1] * batch.ndim
        if batch.ndim > channel_axis:
            per_channel[channel_axis] = -1
        if self.scale not in (None, 1):
            result /= np.float32(self.scale)
        if self.mean:
            result -= np.asarray(self.mean, np.float32).reshape(per_channel)
        if self.std:
            result /= np.asarray(self.std, np.float32).reshape(per_channel)
        return result

    def record(self) -> str | None:
        """This preprocessing as JSON, for a file's metadata; None where it says nothing."""
        if self == Preprocessing():
            return None
        plain = replace(self, mean=tuple(map(float, self.mean)), std=tuple(map(float, self.std)))
        said = {name: value for name, value in asdict(plain).items() if value not in (None, ())}
        if self.scale is not None:
            said["scale"] = float(self.scale)
        if self.preset is not None:
            said = {"preset": self.preset, **said}
        return json.dumps(said)

    @staticmethod
    def of_record(text: str, where: str) -> Preprocessing:
        """The preprocessing that `record` wrote.

        Raises:
            OptionError: a text that it did not write.
        """
        try:
            said: dict[str, Any] = json.loads(text)
            said.pop("preset", None)
            images = said.pop("images", None)
            if images is not None:
                images = ImageOptions(**{**images, "size": _pair(images.get("size"))})
            mean, std = (tuple(map(float, said.pop(name, ()))) for name in ("mean", "std"))
            return Preprocessing(mean=mean, std=std, images=images, **said)
        except _UNREADABLE as error:
            raise OptionError(
                "the preprocessing in the file's metadata cannot be read",
                where=where,
                expected="a record that subbyte wrote",
                got=f"{METADATA_KEY} = {text[:200]}",
            ) from error

    def with_images(self, images: ImageOptions) -> Preprocessing:
        """The same values, with pictures read in this way."""
        return replace(self, images=images)


PRESETS: Mapping[str, Preprocessing] = {
    # torchvision's ImageClassification transform, of bytes: Resize(256), CenterCrop(224).
    "imagenet": Preprocessing(
        255.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), images=ImageOptions(crop=0.875)
    ),
    "minus-one-to-one": Preprocessing(127.5, (1.0,)),
    "zero-to-one": Preprocessing(255.0),
}
"""Preprocessing of bytes 0 - 255 by name."""


def as_preprocessing(given: Preprocessing | Preset | None) -> Preprocessing | None:
    """``given``, or the preset of that name; `OptionError` for an unknown name."""
    if isinstance(given, str):
        if given not in PRESETS:
            raise OptionError("unknown preset", expected=" or ".join(PRESETS), got=given)
        return PRESETS[given]
    check_type("preprocessing", given, Preprocessing | Preset | None)
    return given


def _pair(size: Any) -> tuple[int, int] | None:
    if size is None:
        return None
    height, width = size
    return int(height), int(width)
