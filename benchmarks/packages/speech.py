"""Speech: the spoken digits of the data folder, as voice detectors and wake words hear them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.packages.inputs import Array, Inputs, Task, alternate, decisions_alike, labels_alike
from subbyte.runtime import Model, load

RATE = 16_000
DIGITS = "spoken digits (8 kHz, brought to 16 kHz, one after another)"
_MEL_FRAMES, _MEL_STEP = 76, 8


def streams(data: Path, count: int, length: int, rate: int = RATE, seed: int = 0) -> Array:
    """Recordings strung together, ``length`` samples each, int16 values as float32."""
    with np.load(data / "fsdd" / "fsdd.npz") as z:
        audio, ends = z["audio"].astype(np.float32), z["off"]
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        parts: list[Array] = []
        while sum(map(len, parts)) < length * 8000 // rate + 2:
            place = int(rng.integers(len(ends) - 1))
            parts += [audio[ends[place] : ends[place + 1]], np.zeros(rng.integers(4000), "f")]
        whole = np.concatenate(parts)
        at = np.arange(length) * (8000 / rate)
        found.append(np.interp(at, np.arange(len(whole)), whole).astype(np.float32))
    return np.stack(found)


def waveforms(data: Path, source: Path) -> Inputs:
    """The melspectrogram of openWakeWord: one second each."""
    fit, test = alternate(streams(data, 192, RATE), load(source, engine="portable").inputs[0].name)
    return Inputs(f"{DIGITS}, one second each", fit, test)


def embeddings(data: Path, source: Path) -> Inputs:
    """Windows of 76 frames of the melspectrogram."""
    frames = _mels(data, source.with_name("melspectrogram.onnx"), 96)
    windows = _windows(frames, 1, every=5)[:256]
    name = load(source, engine="portable").inputs[0].name
    fit, test = alternate(windows[:, 0], name)
    return Inputs(f"melspectrograms of {DIGITS}", fit, test)


def wake_word(data: Path, source: Path) -> Inputs:
    """Consecutive embeddings, as many as the network wants."""
    spec = load(source, engine="portable").inputs[0]
    length = int(spec.shape[1] or 0)
    frames = _mels(data, source.with_name("melspectrogram.onnx"), 96)
    embed = load(source.with_name("embedding_model.onnx"), engine="portable")
    windows = _windows(frames, length, every=length)
    flat = windows.reshape(-1, *windows.shape[2:])
    parts = [_array(embed, flat[at : at + 64]) for at in range(0, len(flat), 64)]
    found = np.concatenate(parts).reshape(len(windows), length, -1)
    fit, test = alternate(found, spec.name)
    task = labels_alike() if load(source).outputs[0].shape[-1] != 1 else decisions_alike(0.5)
    return Inputs(f"embeddings of {DIGITS}", fit, test, task)


def _array(model: Model, *arrays: Array) -> Array:
    found = model.run(*arrays)
    return found[0] if isinstance(found, tuple) else found


@cache
def _mels(data: Path, source: Path, count: int) -> list[Array]:
    """[frames, 32] of each stream, scaled as openWakeWord does."""
    model = load(source, engine="portable")
    audio = streams(data, count, 56_000, seed=1)
    return [_array(model, clip[None]).reshape(-1, 32) / 10 + 2 for clip in audio]


def _windows(frames: list[Array], length: int, every: int) -> Array:
    """[count, length, 76, 32, 1]: ``length`` windows, each 8 frames after the one before."""
    found = []
    for mel in frames:
        last = len(mel) - _MEL_FRAMES - (length - 1) * _MEL_STEP
        for start in range(0, last + 1, every * _MEL_STEP):
            places = [start + k * _MEL_STEP for k in range(length)]
            found.append(np.stack([mel[p : p + _MEL_FRAMES, :, None] for p in places]))
    return np.stack(found)


def voice(data: Path, source: Path) -> Inputs:
    """A voice detector: chunks of sound with the state that the chunks before them left."""
    model = load(source, engine="portable", threads=1)
    names = model.input_names
    rate = {"sr": np.array(RATE, np.int64)} if "sr" in names else {}
    chunk = model.inputs[0].shape[1]
    length = chunk if isinstance(chunk, int) else 576 if "state" in names else 512
    states = {s.name: s.shape for s in model.inputs if s.name not in (names[0], "sr")}
    zeros = {
        name: np.zeros([d if isinstance(d, int) else 1 for d in shape], np.float32)
        for name, shape in states.items()
    }
    found: dict[str, list[Array]] = {name: [] for name in (names[0], *zeros)}
    for clip in streams(data, 32, RATE * 2, seed=2) / 32768:
        state = zeros
        for step, at in enumerate(range(0, len(clip) - length, 512)):
            feeds = {names[0]: clip[None, at : at + length], **state}
            if step % 7 == 6:
                for name, array in feeds.items():
                    found[name].append(array[0] if name == names[0] else array[:, 0])
            new = model.run(feeds | rate)
            state = dict(zip(zeros, new[1:], strict=True))
    arrays = {name: np.stack(parts) for name, parts in found.items()}
    axes: Mapping[str, int] = dict.fromkeys(zeros, 1)
    fit, test = alternate(arrays)
    about = f"{DIGITS}, chunks of {length} with the state of the float network"
    return Inputs(about, fit, test, decisions_alike(0.5), axes, rate)


def voice_sequence(data: Path, source: Path) -> Inputs:
    """The voice detector that takes a whole sequence of chunks as its first axis."""
    clips = streams(data, 64, 512 * 32 + 64, seed=3) / 32768
    chunks = np.stack([[c[k * 512 : k * 512 + 576] for k in range(32)] for c in clips])
    state = np.zeros((1, 1, 128), np.float32)
    fit, test = alternate(chunks.reshape(-1, 576), "input")
    about = f"{DIGITS}, each chunk a sequence of its own"
    return Inputs(about, fit, test, decisions_alike(0.5), fixed={"h": state, "c": state})


def pitch_frames(data: Path, source: Path) -> Inputs:
    """Frames of 1,024 samples, mean 0 and standard deviation 1, with some sound in them."""
    frames = streams(data, 64, 1024 * 24, seed=4).reshape(-1, 1024) / 32768
    frames = frames[frames.std(1) > 0.01][:512]
    frames = frames - frames.mean(1, keepdims=True)
    frames /= frames.std(1, ddof=1, keepdims=True)
    fit, test = alternate(frames.astype(np.float32), "frames")
    return Inputs(f"frames of {DIGITS}", fit, test, Task("same pitch within 20 cents, %", _pitch))


def _pitch(outputs: object, reference: object) -> float:
    ours, theirs = (np.array([s[0].argmax() for s in side]) for side in (outputs, reference))  # type: ignore[attr-defined]
    return 100 * float(np.mean(np.abs(ours - theirs) <= 1))  # a bin is 20 cents


def notes(data: Path, source: Path) -> Inputs:
    """Synthetic music for basic-pitch: two seconds of plucked notes, up to four at a time."""
    rng = np.random.default_rng(5)
    length, rate = 43_844, 22_050
    found = np.zeros((48, length), np.float32)
    for clip in found:
        for _ in range(rng.integers(6, 14)):
            start, midi = int(rng.integers(0, length - 4000)), rng.integers(40, 84)
            t = np.arange(length - start) / rate
            tone = 440 * 2 ** ((midi - 69) / 12)
            wave = sum(np.sin(2 * np.pi * tone * k * t) / k**1.5 for k in range(1, 7))
            clip[start:] += (rng.uniform(0.05, 0.2) * np.exp(-3 * t) * wave).astype(np.float32)
    found += 0.001 * rng.standard_normal(found.shape).astype(np.float32)
    fit, test = alternate(found[..., None], load(source, engine="portable").inputs[0].name)
    task = Task("same notes (overlap of what is above 0.5), %", _notes)
    return Inputs("synthetic: notes of six harmonics that fade", fit, test, task)


def _notes(outputs: object, reference: object) -> float:
    both = either = 0
    for ours, theirs in zip(outputs, reference, strict=True):  # type: ignore[call-overload]
        a, b = ours[1] > 0.5, theirs[1] > 0.5
        both, either = both + int((a & b).sum()), either + int((a | b).sum())
    return 100 * both / max(either, 1)
