from __future__ import annotations

import pickle
import resource
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from subbyte.data import ImageOptions, InputSpec, Preprocessing, as_samples, open_folder
from subbyte.data.images import read_image, read_images, resolved
from subbyte.errors import CalibrationError, MissingDependencyError, OptionError
from subbyte.progress import silent

FLOAT = np.dtype("float32")
NCHW = InputSpec("x", ("N", 3, 8, 12), FLOAT)
NHWC = InputSpec("x", (None, 8, 12, 3), FLOAT)
GRAY = InputSpec("x", (1, 1, 8, 12), FLOAT)
FREE = InputSpec("x", ("N", 3, "h", "w"), FLOAT)


def noise(height: int = 16, width: int = 24, channels: int = 3, seed: int = 0) -> Any:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, pixels: Any, **options: Any) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


def read(path: Path, spec: InputSpec = NCHW, **options: Any) -> Any:
    """The image at ``path`` as `as_samples` hands it out, batch left out."""
    samples = as_samples(
        path.parent, [spec], Preprocessing(scale=1, images=ImageOptions(**options))
    )
    assert samples.folder is not None
    assert samples.folder.chosen == [path.name]
    return next(samples.batches(1))["x"][0]


def test_an_image_of_the_models_size_stays_as_it_is(tmp_path: Path) -> None:
    pixels = noise(8, 12)
    path = save(tmp_path / "a.png", pixels)
    np.testing.assert_array_equal(read(path), pixels.transpose(2, 0, 1))
    np.testing.assert_array_equal(read(path, NHWC), pixels)
    np.testing.assert_array_equal(read(path, color="bgr"), pixels[:, :, ::-1].transpose(2, 0, 1))
    gray = np.asarray(Image.fromarray(pixels).convert("L"))
    np.testing.assert_array_equal(read(path, GRAY), gray[None])
    np.testing.assert_array_equal(read(path, color="gray"), np.stack([gray] * 3))


def test_integer_inputs_take_the_bytes(tmp_path: Path) -> None:
    pixels = noise(8, 12)
    save(tmp_path / "a.png", pixels)
    samples = as_samples(tmp_path, [InputSpec("x", ("N", 8, 12, 3), np.dtype("uint8"))])
    np.testing.assert_array_equal(next(samples.batches(1))["x"][0], pixels)


def torchvision(image: Image.Image, resize: int, crop: int) -> Any:
    """Resize(resize) and CenterCrop(crop) of torchvision.transforms, written out."""
    short, long = sorted(image.size)
    other = int(resize * long / short)
    size = (resize, other) if image.width <= image.height else (other, resize)
    resized = image.resize(size, Image.Resampling.BILINEAR)
    left, top = round((size[0] - crop) / 2.0), round((size[1] - crop) / 2.0)
    return np.asarray(resized.crop((left, top, left + crop, top + crop)))


@pytest.mark.parametrize("size", [(50, 37), (37, 50), (41, 41), (300, 32), (20, 21)])
def test_imagenets_preset_crops_as_torchvision(tmp_path: Path, size: tuple[int, int]) -> None:
    pixels = noise(*size)
    path = save(tmp_path / "a.png", pixels)
    got = read_image(path, ImageOptions((28, 28), crop=0.875, color="rgb"))
    np.testing.assert_array_equal(got, torchvision(Image.fromarray(pixels), 32, 28))


@pytest.mark.parametrize("resize", ["crop", "stretch"])
def test_images_of_the_models_size_are_not_cropped(tmp_path: Path, resize: Any) -> None:
    pixels = noise(8, 12)
    path = save(tmp_path / "a.png", pixels)
    np.testing.assert_array_equal(read(path, NHWC, crop=0.5, resize=resize), pixels)
    path = save(tmp_path / "a.png", noise(9, 12))
    assert not np.array_equal(read(path, NHWC, crop=0.5, resize=resize), noise(9, 12)[:8])


@pytest.mark.parametrize("size", [(1, 30_000), (30_000, 1), (40, 40)])
def test_banners_and_tiny_crops_need_no_memory(tmp_path: Path, size: tuple[int, int]) -> None:
    """The whole would be 200 million pixels and more."""
    path = save(tmp_path / "a.png", np.full((*size, 3), 7, np.uint8))
    crop = 1.0 if 1 in size else 0.0005
    got = read_image(path, ImageOptions((8, 8), crop=crop, color="rgb"))
    np.testing.assert_array_equal(got, np.full((8, 8, 3), 7, np.uint8))


def test_stretch_and_pad(tmp_path: Path) -> None:
    pixels = noise(16, 16)
    image = Image.fromarray(pixels)
    path = save(tmp_path / "a.png", pixels)
    got = read(path, resize="stretch")
    expected = np.asarray(image.resize((12, 8), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(got, expected.transpose(2, 0, 1))
    padded = read(path, NHWC, resize="pad")
    inner = np.asarray(image.resize((8, 8), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(padded[:, 2:10], inner)
    assert not padded[:, :2].any()
    assert not padded[:, 10:].any()


def test_large_jpegs_are_decoded_smaller_and_look_the_same(tmp_path: Path) -> None:
    smooth = np.linspace(0, 255, 640 * 960).reshape(640, 960)
    pixels = np.stack([smooth, smooth.T[:640, :640].repeat(2, 1)[:, :960], 255 - smooth], 2)
    image = Image.fromarray(pixels.astype(np.uint8))
    image.save(tmp_path / "a.jpg", quality=95)
    with Image.open(tmp_path / "a.jpg") as opened:
        expected = np.asarray(opened.resize((12, 8), Image.Resampling.BILINEAR), np.int64)
    got = read_image(tmp_path / "a.jpg", ImageOptions((8, 12), color="rgb"))
    assert np.abs(got - expected).max() <= 3


def test_rotated_photos_stand_upright(tmp_path: Path) -> None:
    pixels = noise(12, 8)
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as opened:
        upright = np.asarray(ImageOps.exif_transpose(opened))
    assert upright.shape == (8, 12, 3)
    np.testing.assert_array_equal(read(tmp_path / "a.png", NHWC), upright)


def test_transparency_is_dropped(tmp_path: Path) -> None:
    pixels = noise(8, 12, 4)
    got = read(save(tmp_path / "a.png", pixels), NHWC)
    np.testing.assert_array_equal(got, pixels[:, :, :3])


def test_palettes_with_transparency(tmp_path: Path) -> None:
    image = Image.fromarray(noise(8, 12)).convert("P", palette=Image.Palette.ADAPTIVE)
    image.save(tmp_path / "a.png", transparency=bytes(range(256)))
    np.testing.assert_array_equal(read(tmp_path / "a.png", NHWC), np.asarray(image.convert("RGB")))


def test_other_modes(tmp_path: Path) -> None:
    pixels = noise(8, 12, 1)
    path = save(tmp_path / "a.png", pixels)
    np.testing.assert_array_equal(read(path), np.stack([pixels] * 3))
    path.unlink()
    deep = pixels.astype(np.uint16) * 256 + 77
    path = save(tmp_path / "b.png", deep)
    np.testing.assert_array_equal(read(path, GRAY), pixels[None])
    path.unlink()
    path = save(tmp_path / "c.png", pixels > 127)
    np.testing.assert_array_equal(read(path, GRAY), 255.0 * (pixels[None] > 127))
    path.unlink()
    cmyk = Image.fromarray(noise(8, 12)).convert("CMYK")
    cmyk.save(tmp_path / "d.tif")
    np.testing.assert_array_equal(read(tmp_path / "d.tif", NHWC), np.asarray(cmyk.convert("RGB")))


def test_the_first_frame_counts(tmp_path: Path) -> None:
    frames = [Image.fromarray(noise(8, 12, 1, seed)) for seed in (0, 1)]
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(read(tmp_path / "a.tif", GRAY)[0], np.asarray(frames[0]))


def test_mixed_sizes_make_one_array_of_bytes(tmp_path: Path) -> None:
    for number, size in enumerate([(8, 12), (100, 30), (7, 7), (9, 300)]):
        save(tmp_path / f"{number}.png", noise(*size))
    steps = []
    folder = open_folder(tmp_path)
    pixels = read_images(
        folder,
        NHWC,
        ImageOptions((8, 12), color="rgb"),
        lambda stage, done, total, _: steps.append((stage, done, total)),
    )
    assert pixels.dtype == np.uint8
    assert pixels.shape == (4, 8, 12, 3)
    assert steps == [("Images", done, 4) for done in range(5)]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.jpg", b"", "cannot identify image file"),
        ("a.png", b"no image", "cannot identify image file"),
        ("a.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "cannot identify image file"),
        ("cut.png", None, "truncated|unrecognized data stream|broken"),
        ("cut.jpg", None, "truncated"),
    ],
)
def test_broken_images_are_named(
    tmp_path: Path, name: str, content: bytes | None, reason: str
) -> None:
    path = tmp_path / name
    if content is None:
        save(path, noise(200, 200))
        path.write_bytes(path.read_bytes()[:3000])
    else:
        path.write_bytes(content)
    with pytest.raises(CalibrationError, match=rf"cannot read the image \[.*{name}\]: .*{reason}"):
        read_image(path, ImageOptions((8, 12), color="rgb"))


def test_pixels_without_a_range_are_named(tmp_path: Path) -> None:
    save(tmp_path / "a.tif", noise(8, 12, 1).astype(np.float32))
    with pytest.raises(CalibrationError, match="mode F"):
        read_image(tmp_path / "a.tif", ImageOptions((8, 12), color="rgb"))


def test_values_have_to_be_spoken_of(tmp_path: Path) -> None:
    save(tmp_path / "a.png", noise())
    with pytest.raises(CalibrationError, match=r"bytes 0 to.*`preprocessing` imagenet.*`scale=1`"):
        as_samples(tmp_path, [NCHW])
    with pytest.raises(CalibrationError, match="bytes 0 to 255"):
        as_samples(tmp_path, [NCHW], Preprocessing(images=ImageOptions(resize="pad")))
    preset = next(as_samples(tmp_path, [NCHW], "minus-one-to-one").batches(1))["x"]
    raw = next(as_samples(tmp_path, [NCHW], Preprocessing(scale=1)).batches(1))["x"]
    np.testing.assert_allclose(preset, raw / 127.5 - 1, atol=1e-6)


def test_presets_follow_the_channels_of_the_model(tmp_path: Path) -> None:
    save(tmp_path / "a.png", noise(8, 12))
    first = next(as_samples(tmp_path, [NCHW], "imagenet").batches(1))["x"]
    last = next(as_samples(tmp_path, [NHWC], "imagenet").batches(1))["x"]
    np.testing.assert_array_equal(first.transpose(0, 2, 3, 1), last)


def test_free_sizes_need_a_size(tmp_path: Path) -> None:
    save(tmp_path / "a.png", noise())
    with pytest.raises(OptionError, match=r"does not say the size.*`images.size=\(224, 224\)`"):
        as_samples(tmp_path, [FREE], "zero-to-one")
    steps = Preprocessing(255, images=ImageOptions(size=(5, 7)))
    assert next(as_samples(tmp_path, [FREE], steps).batches(1))["x"].shape == (1, 3, 5, 7)
    with pytest.raises(OptionError, match=r"image size does not fit .* got 5x7"):
        as_samples(tmp_path, [NCHW], steps)


@pytest.mark.parametrize(
    "spec",
    [
        InputSpec("x", ("N", 12), FLOAT),
        InputSpec("x", ("N", 5, 8, 12), FLOAT),
        InputSpec("x", ("N", 4, 8, 12), FLOAT),
        InputSpec("x", (3, 8, 12, "N"), FLOAT, 3),
    ],
)
def test_inputs_that_take_no_images(tmp_path: Path, spec: InputSpec) -> None:
    save(tmp_path / "a.png", noise())
    with pytest.raises(CalibrationError, match="images do not fit the model's input 'x'"):
        as_samples(tmp_path, [spec], "zero-to-one")


def test_models_with_two_inputs(tmp_path: Path) -> None:
    save(tmp_path / "a.png", noise())
    specs = [NCHW, InputSpec("y", ("N", 2), FLOAT)]
    with pytest.raises(CalibrationError, match=r"images are samples of one input.*`set_inputs="):
        as_samples(tmp_path, specs, "zero-to-one")
    samples = as_samples(tmp_path, specs, Preprocessing(1), set_inputs={"y": [1, 2]})
    assert set(next(samples.batches(1))) == {"x", "y"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resize": "squash"}, "unknown `resize`"),
        ({"color": "hsv"}, "unknown `color`"),
        ({"crop": 0.0}, "crop out of range"),
        ({"crop": 1.5}, "crop out of range"),
        ({"resize": "pad", "crop": 0.5}, "crop and resize pad exclude each other"),
        ({"size": (0, 3)}, "image size out of range"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        ImageOptions(**options)


def test_one_channel_is_gray() -> None:
    assert resolved(ImageOptions(), GRAY, "photos").color == "gray"
    with pytest.raises(OptionError, match="one channel: expected gray, got bgr"):
        resolved(ImageOptions(color="bgr"), GRAY, "photos")


def test_only_the_chosen_images_are_decoded(tmp_path: Path) -> None:
    for number in range(8):
        save(tmp_path / f"{number}.png", noise(8, 12, seed=number))
    first = open_folder(tmp_path).draw(3, 0).chosen
    for name in open_folder(tmp_path).names:
        if name not in first:
            (tmp_path / name).write_bytes(b"broken")
    samples = as_samples(tmp_path, [NCHW], "zero-to-one", count=3)
    assert samples.folder is not None
    assert samples.folder.chosen == first
    assert samples.title(1) == f"image {first[1]}"
    assert samples.select([2]).compact().title(0) == f"image {first[2]}"
    some = open_folder(tmp_path).select([int(name[0]) for name in first])
    assert len(as_samples(some, [NCHW], "zero-to-one")) == 3
    with pytest.raises(CalibrationError, match="cannot read the image"):
        as_samples(tmp_path, [NCHW], "zero-to-one")


def test_without_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "a.png", noise())
    monkeypatch.delitem(sys.modules, "PIL.Image")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingDependencyError, match=r"needs the package PIL: .*subbyte\[images\]"):
        as_samples(tmp_path, [NCHW], "zero-to-one")


def test_many_large_images_do_not_lie_in_memory_at_once(tmp_path: Path) -> None:
    save(tmp_path / "0.png", np.zeros((1000, 2000, 3), np.uint8))
    for number in range(1, 25):
        (tmp_path / f"{number}.png").symlink_to(tmp_path / "0.png")
    folder, options = open_folder(tmp_path), ImageOptions((8, 12), color="rgb")
    read_image(tmp_path / "0.png", options)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    read_images(folder, NCHW, options, silent)
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert grown < 8 * 1000 * 2000 * 3  # 25 are 150 MB


def test_samples_go_to_other_processes(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / f"{number}.png", noise(8, 12, seed=number))
    samples = as_samples(tmp_path, [NCHW], "zero-to-one")
    copied = pickle.loads(pickle.dumps(samples))
    assert copied.fingerprint() == samples.fingerprint()
    assert copied.title(1) == samples.title(1)


@pytest.mark.parametrize("images", [ImageOptions(resize="pad"), ImageOptions(size=(8, 8))])
def test_arrays_are_not_resized(images: ImageOptions) -> None:
    arrays, steps = np.zeros((4, 3, 8, 12), np.float32), Preprocessing(images=images)
    message = (
        r"arrays are neither resized.*a folder of images; or arrays of .*`resize`.*images.size"
    )
    with pytest.raises(OptionError, match=message):
        as_samples(arrays, [NCHW], steps)
    # The options of a preset or of a file say how images were read, if there are any.
    assert len(as_samples(arrays, [NCHW], recorded=steps)) == 4
    assert len(as_samples(arrays, [NCHW], replace(steps, scale=2.0), recorded=steps)) == 4
    assert len(as_samples(arrays + 9, [NCHW], "imagenet")) == 4
