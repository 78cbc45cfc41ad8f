"""Images of a folder as one array of pixels, read one at a time."""

from __future__ import annotations

import importlib
import os
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from subbyte.data.image_folder import ImageFolder
from subbyte.data.preprocessing import Color, ImageOptions
from subbyte.data.specs import InputSpec, channel_axis
from subbyte.errors import CalibrationError, OptionError, reason
from subbyte.extras import images_extra
from subbyte.progress import Progress

if TYPE_CHECKING:
    from PIL.Image import Image

Pixels = NDArray[np.uint8]
MOST_WHOLE = 16
"""An image that would be so many times as large as the part that is kept is not resized whole."""
_FORMATS = "an image that Pillow reads (JPEG, PNG, WebP, TIFF ...): convert it, or take it away"


def resolved(options: ImageOptions, spec: InputSpec, where: str) -> ImageOptions:
    """``options`` with the size and the color that the input ``spec`` asks for.

    Raises:
        CalibrationError: an input that takes no images.
        OptionError: a size that the input does not have or does not say, a color that does not
            fit its channels.
    """
    axis = channel_axis(spec)
    if len(spec.shape) != 4 or spec.axis != 0 or spec.shape[axis] not in (1, 3):
        raise CalibrationError(
            f"images do not fit the model's input {spec.name!r}",
            where=where,
            expected="arrays in FILE.npz, or an input [N, C, H, W] or [N, H, W, C] with 1 or 3 "
            "channels",
            got=spec,
        )
    one = spec.shape[axis] == 1
    if one and options.color not in (None, "gray"):
        raise OptionError(
            "color does not fit the model's one channel", expected="gray", got=options.color
        )
    color: Color = options.color or ("gray" if one else "rgb")
    return replace(options, size=_size(options, spec, axis), color=color)


def _size(options: ImageOptions, spec: InputSpec, axis: int) -> tuple[int, int]:
    own = [size for place, size in enumerate(spec.shape) if place not in (0, axis)]
    if options.size is None:
        if not all(isinstance(size, int) for size in own):
            raise OptionError(
                f"the model's input {spec.name!r} does not say the size of images",
                expected="an image size, as in `images.size=(224, 224)` or "
                "`images.size=(480, 640)`",
                got=spec,
            )
        return int(own[0] or 0), int(own[1] or 0)
    pairs = zip(own, options.size, strict=True)
    if not all(not isinstance(want, int) or want == got for want, got in pairs):
        raise OptionError(
            f"image size does not fit the model's input {spec.name!r}",
            expected=spec,
            got="x".join(map(str, options.size)),
        )
    return options.size


def read_images(
    folder: ImageFolder, spec: InputSpec, options: ImageOptions, progress: Progress
) -> Pixels:
    """Pixels of ``folder`` for the input ``spec``: bytes [N, C, H, W] or [N, H, W, C].

    ``options`` are `resolved`. Alpha channels are dropped; 16 bits a channel become their upper
    8; of several frames or pages the first counts; CMYK and palettes become RGB. The array lies
    in a nameless file in the folder for temporary files, so that its pages can leave the
    memory, and one image is decoded at a time.

    Raises:
        CalibrationError: an image that cannot be read, no room for the pixels.
        MissingDependencyError: no Pillow.
    """
    with images_extra("samples from images"):
        importlib.import_module("PIL.Image")
    axis = channel_axis(spec)
    channels = int(spec.shape[axis] or 0)
    height, width = options.size or (0, 0)
    shape = (channels, height, width) if axis == 1 else (height, width, channels)
    result = _room((len(folder), *shape))
    for place, name in enumerate(folder.chosen):
        progress("Images", place, len(folder), name)
        pixels = read_image(folder.root / name, options)
        result[place] = pixels.transpose(2, 0, 1) if axis == 1 else pixels
    progress("Images", len(folder), len(folder), "")
    return result


def read_image(path: Path, options: ImageOptions) -> Pixels:
    """Pixels [H, W, 3], or [H, W, 1] of color "gray", of one image; ``options`` have a size.

    Raises:
        CalibrationError: a file that is no image, is damaged, or has pixels without a range.
    """
    from PIL import Image, ImageOps

    height, width = options.size or (0, 0)
    # The size before the middle is cut out, as torchvision rounds it.
    whole = (int(width / options.crop + 1e-6), int(height / options.crop + 1e-6))
    try:
        with warnings.catch_warnings():
            # Large photos are no attack; Pillow still refuses twice its limit.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as opened:
                # A JPEG is decoded at a fraction of its size, if twice the pixels are left.
                opened.draft(None, (2 * max(whole), 2 * max(whole)))
                image = _plain(ImageOps.exif_transpose(opened), options.color == "gray")
    except Exception as error:  # decoders raise whatever they like for damaged files
        raise CalibrationError(
            "cannot read the image", where=os.fspath(path), expected=_FORMATS, got=reason(error)
        ) from error
    pixels = np.asarray(_fitted(image, whole, (width, height), options.resize))
    if options.color == "gray":
        return pixels[:, :, np.newaxis]
    return pixels[:, :, ::-1] if options.color == "bgr" else pixels


def _plain(image: Image, gray: bool) -> Image:
    """``image`` in 8 bits, as gray or RGB."""
    from PIL import Image

    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise ValueError(f"pixels of 32 bits (mode {image.mode}), whose range is not known")
    if image.mode in ("P", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("L" if gray else "RGB")


def _fitted(image: Image, whole: tuple[int, int], size: tuple[int, int], resize: str) -> Image:
    """``image`` resized to about ``whole`` and cut to ``size``; both (width, height).

    An image of that size stays as it is: it was cut out before (or a network for 32 x 32 pixels,
    trained without any crop, borrows ImageNet's mean and deviation).
    """
    from PIL import Image

    bilinear = Image.Resampling.BILINEAR
    if image.size == size:
        return image
    if resize == "pad":
        scale = min(size[0] / image.width, size[1] / image.height)
        inner = [max(1, round(side * scale)) for side in image.size]
        fitted = Image.new(image.mode, size)
        place = ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2)
        fitted.paste(image.resize((inner[0], inner[1]), bilinear), place)
        return fitted
    if resize == "crop":
        whole = _covering((image.width, image.height), whole)
    left, top = (round((large - small) / 2) for large, small in zip(whole, size, strict=True))
    if whole[0] * whole[1] <= MOST_WHOLE * size[0] * size[1]:
        return image.resize(whole, bilinear).crop((left, top, left + size[0], top + size[1]))
    # A banner, or a crop of a few pixels: only the part that stays is made.
    across, down = image.width / whole[0], image.height / whole[1]
    box = (left * across, top * down, (left + size[0]) * across, (top + size[1]) * down)
    return image.resize(size, bilinear, box=box)


def _covering(own: tuple[int, int], whole: tuple[int, int]) -> tuple[int, int]:
    """The smallest size of the proportions of ``own`` that covers ``whole``."""
    width, height = own
    if whole[1] * width >= whole[0] * height:
        return max(whole[0], whole[1] * width // height), whole[1]
    return whole[0], max(whole[1], whole[0] * height // width)


def _room(shape: tuple[int, ...]) -> Pixels:
    """An array of bytes in a file that has no name and goes with the array."""
    size = int(np.prod(shape, dtype=np.int64))
    try:
        with tempfile.TemporaryFile() as file:
            # All of it now: a disk that is full later would end the process with a signal.
            os.posix_fallocate(file.fileno(), 0, size)
            array: NDArray[Any] = np.memmap(file, np.uint8, "r+", shape=shape)
            return np.asarray(array)
    except OSError as error:
        raise CalibrationError(
            "no room for the pixels of the images",
            where=tempfile.gettempdir(),
            expected=f"{size} bytes; TMPDIR names another folder, or use fewer samples",
            got=error.strerror or str(error),
        ) from error
