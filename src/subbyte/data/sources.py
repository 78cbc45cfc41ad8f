"""Where samples come from: files of arrays, folders of images, functions, iterables, arrays."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import ArrayLike

from subbyte.data.arrays import describe, read_array, read_headers, split_reference, to_array
from subbyte.data.batches import Named, call, collect, find_function, is_batches
from subbyte.data.fitting import Part, fit_arrays
from subbyte.data.given import SetInputs, given_parts
from subbyte.data.image_folder import ImageFolder, open_folder
from subbyte.data.images import read_images, resolved
from subbyte.data.preprocessing import (
    PRESETS,
    ImageOptions,
    Preprocessing,
    Preset,
    as_preprocessing,
)
from subbyte.data.samples import Samples, check_count, check_seed
from subbyte.data.specs import InputSpec, set_axes
from subbyte.errors import CalibrationError, OptionError
from subbyte.progress import Progress, silent

Data = (
    str
    | os.PathLike[str]
    | ArrayLike
    | Mapping[str, ArrayLike]
    | ImageFolder
    | Iterable[Any]
    | Callable[[], Any]
)
BatchAxes = Mapping[str, int | None]
Source = Data | Samples
_SOURCES = "an array, FILE.npz:array, FILE.npy, a folder of images, an iterable or a function"


def as_samples(
    source: Source,
    inputs: Sequence[InputSpec],
    preprocessing: Preprocessing | Preset | None = None,
    *,
    option: str = "calibration data",
    set_inputs: SetInputs | None = None,
    batch_axes: BatchAxes | None = None,
    fold_inputs: bool = False,
    count: int | None = None,
    seed: int | None = None,
    recorded: Preprocessing | None = None,
    progress: Progress = silent,
) -> Samples:
    """Turn a user's data into `Samples` that fit the model's ``inputs``.

    ``source`` is one of these:

    - ``FILE.npz[:array]`` or ``FILE.npy``, an array [N, ...] (for a model with one input), a
      mapping from the model's input names to arrays. An ``.npz`` whose arrays bear the names of
      the model's inputs feeds them all.
    - A folder of images (`open_folder`, `ImageOptions`) or an `ImageFolder`, for one input
      [N, C, H, W] or [N, H, W, C]. The images come in a random order.
    - An iterable of batches or samples, such as a DataLoader, or a data set (`collect`).
    - A function without arguments that returns or yields any of these, or its name,
      ``module:function`` or ``FILE.py:function``.
    - `Samples`.

    Samples without a channel axis, [N, H, W], are taken by an input with one channel.

    An array has its samples where the model's input has its batch; [N, 1, ...] is taken
    too, one array a call. Beside others an array without the batch axis, or of one
    sample, is the same for all samples.

    Args:
        preprocessing: `Preprocessing`, or the name of a preset; None: ``recorded``.
        set_inputs: values of inputs that are the same for all samples, by name, or texts
            ``NAME=16000``, ``NAME=1,2,3``, ``NAME=FILE.npy``, ``NAME=FILE.npz:array``.
            They are not preprocessed.
        batch_axes: by input name the axis of the batch, None for an input without one,
            where shapes do not tell.
        fold_inputs: the inputs of ``set_inputs`` become constants of the network that is
            compressed: the file does not have them any more.
        count: how many samples to use; None: all. Of an iterable no more than these are read, of
            a folder no more are decoded.
        seed: draws the ``count`` samples, and gives images their order. None: the first samples
            of arrays; images as of seed 0.
        recorded: the preprocessing that the model's file records.
        progress: called while images are read.

    Raises:
        CalibrationError: unreadable file, no or unknown array name, wrong shape or
            dtype, no samples, different numbers of samples, NaN or Inf, integers that the
            model's dtype cannot hold.
            Also an image that cannot be read, images for a float input without a word on its
            values, a function that fails.
        OptionError: scaling asked for a model with several float inputs; an input, an axis
            or a value that there is not; options of images for arrays; `Samples` with options
            that they have already.
    """
    if isinstance(source, Samples):
        _check_alone(
            preprocessing=preprocessing,
            set_inputs=set_inputs,
            batch_axes=batch_axes,
            fold_inputs=fold_inputs,
        )
        return _some(source, Wanted(count, seed))
    if source is None:
        raise CalibrationError("no samples", where=option, expected=_SOURCES, got="None")
    check_count(count)
    check_seed(seed or 0)
    if fold_inputs and not set_inputs:
        raise OptionError("no input to fold", expected="`set_inputs={'NAME': VALUE}`")
    steps = as_preprocessing(preprocessing) or recorded or Preprocessing()
    specs = set_axes(inputs, batch_axes)
    given = given_parts(set_inputs, specs)
    free = [spec for spec in specs if spec.name not in given]
    if not free:
        raise CalibrationError("no samples", where=option, expected="an input that is not set")
    wanted = Wanted(count, seed)
    found = find_arrays(source, free, steps, option, wanted, progress)
    if found.folder is None:
        _check_no_images(steps, recorded, option)
    fitting = found.steps if found.folder is None else replace(found.steps, layout=None)
    fit = fit_arrays(found.named, free, fitting, tuple(batch_axes or ()))
    parts = {part.spec.name: part for part in fit}
    floats = [name for name, p in parts.items() if p.spec.dtype.kind == "f" and not p.fixed]
    if steps.scales and len(floats) > 1:
        raise OptionError(
            "scale, mean and std need a model with one float input",
            expected="preprocessed arrays",
            got=f"inputs {', '.join(floats)}",
        )
    _check_range(found.steps, [parts[name] for name in floats], option)
    if not fold_inputs:
        parts |= given
    samples = Samples(
        [parts[spec.name] for spec in specs if spec.name in parts],
        found.steps,
        folded=tuple(given.values()) if fold_inputs else (),
        folder=found.folder,
    )
    return samples.first(count) if found.drawn else _some(samples, wanted)


def _check_alone(**given: object) -> None:
    """Raise `OptionError` for options beside `Samples`, which were made with their own."""
    for name, value in given.items():
        if value:
            raise OptionError(
                f"Samples have their {name} already", expected=f"`{name}` where they are made"
            )


def _check_no_images(steps: Preprocessing, recorded: Preprocessing | None, where: str) -> None:
    """Raise `OptionError` for options of images that are to hold for arrays; the options of a
    preset, or of a file, say nothing of arrays."""
    known = [None, ImageOptions(), *(preset.images for preset in PRESETS.values())]
    if steps.images not in (*known, recorded and recorded.images):
        raise OptionError(
            "arrays are neither resized nor cropped",
            where=where,
            expected="a folder of images; or arrays of the model's size, and neither `resize`, "
            "`crop`, `color` nor `images.size`",
        )


def _check_range(steps: Preprocessing, parts: Sequence[Part], where: str) -> None:
    """Raise for values that a preset for bytes would scale again, and where nothing is scaled."""
    if steps.scales and not parts:
        raise OptionError(
            "preprocessing is for float inputs, and the model takes integers as they are",
            where=where,
            expected="no preset, scale, mean or std",
        )
    for part in parts if steps.preset is not None else ():
        some = part.array[:64]
        if some.dtype.kind != "f" or not some.any():
            continue
        least, most = float(some.min()), float(some.max())
        if least < 0 or most <= 1:
            raise CalibrationError(
                f"samples are no bytes, and preset {steps.preset} is for bytes 0 to 255",
                where=where,
                expected="bytes, or `mean` and `std` of the values as they are, without `scale`",
                got=f"values {least:.3g} to {most:.3g}",
            )


def _some(samples: Samples, wanted: Wanted) -> Samples:
    if wanted.seed is None:
        return samples.first(wanted.count)
    return samples.take(wanted.count, wanted.seed)


@dataclass(frozen=True)
class Wanted:
    """Which samples of a source: ``count`` of them (None: all), drawn at random by ``seed``
    (None: the first ones) where the source has an order of its own."""

    count: int | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Found:
    """One (description, array) per input, the preprocessing for it, the folder of images that
    it came from. ``drawn``: no samples remain to be left out."""

    named: Named
    steps: Preprocessing
    folder: ImageFolder | None = None
    drawn: bool = False


def find_arrays(
    source: Data,
    inputs: Sequence[InputSpec],
    steps: Preprocessing,
    option: str,
    wanted: Wanted,
    progress: Progress,
) -> Found:
    """The arrays of ``source`` for ``inputs``; ``option`` is the errors' name of the source.

    Raises:
        CalibrationError: as `as_samples`.
    """
    if isinstance(source, str | os.PathLike) and not os.path.exists(source):
        name = os.fspath(source)
        function = find_function(name)
        if function is not None:
            source, option = function, name
    if callable(source) and not is_batches(source):
        source = call(source, option)
    if isinstance(source, str | os.PathLike) and os.path.isdir(source):
        source = open_folder(source).draw(wanted.count, wanted.seed or 0)
    if isinstance(source, ImageFolder):
        source = source.select(range(min(len(source), wanted.count or len(source))))
        return _of_images(source, inputs, steps, progress)
    if is_batches(source):
        part = None if isinstance(source, list | tuple) else wanted.count
        named = collect(source, inputs, option, part, wanted.seed)
        return Found(named, steps, drawn=part is not None)
    return Found(_named_arrays(source, inputs, option), steps)


def _of_images(
    folder: ImageFolder, inputs: Sequence[InputSpec], steps: Preprocessing, progress: Progress
) -> Found:
    where = os.fspath(folder.root)
    if len(inputs) != 1:
        raise CalibrationError(
            "images are samples of one input",
            where=where,
            expected="`set_inputs={'NAME': VALUE}` for the other inputs, or FILE.npz",
            got=", ".join(spec.name for spec in inputs),
        )
    if steps.layout is not None:
        raise OptionError(
            "layout is for arrays: images go where the model has its channels",
            where=where,
            expected="no `layout`",
            got=steps.layout,
        )
    spec = inputs[0]
    if spec.dtype.kind == "f" and not steps.says_values:
        raise CalibrationError(
            "pixels are bytes 0 to 255, and nothing says which values the model takes",
            where=where,
            expected="`preprocessing` imagenet, zero-to-one or minus-one-to-one; `scale`, `mean` "
            "and `std`; or `scale=1` if the model takes 0 to 255",
        )
    options = resolved(steps.images or ImageOptions(), spec, where)
    pixels = read_images(folder, spec, options, progress)
    return Found([(where, pixels)], steps.with_images(options), folder, drawn=True)


def _named_arrays(source: Any, inputs: Sequence[InputSpec], option: str) -> Named:
    """One (description, array) per model input, in the model's order."""
    names = [spec.name for spec in inputs]
    if isinstance(source, str | os.PathLike):
        path, name = split_reference(source)
        headers = read_headers(path)
        if name is None and set(names) <= set(headers):
            return [(f"{path}:{each}", read_array(path, each)) for each in names]
        if len(names) == 1:
            return [(os.fspath(source), read_array(path, name))]
        available = name or describe(headers)
    elif isinstance(source, Mapping):
        if set(names) <= set(source):
            return [
                (f"{option}, {each}", to_array(source[each], f"{option}, {each}")) for each in names
            ]
        available = ", ".join(source)
    else:
        if len(names) == 1:
            return [(option, to_array(source, option))]
        available = "one array"
    raise CalibrationError(
        "every input of the model needs an array of the same name, or a value by `set_inputs`",
        where=option,
        expected=", ".join(names),
        got=available,
    )
