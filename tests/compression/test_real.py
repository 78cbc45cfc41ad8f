"""A real network and real images: the size that was asked for, and what it costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime

import subbyte
from subbyte.report import inspect
from tests.compression.nets import DATA, needs_data

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def log_softmax(scores: np.ndarray) -> np.ndarray:
    shifted = scores - scores.max(1, keepdims=True)
    result: np.ndarray = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return result


@needs_data
def test_resnet20_at_two_bits(tmp_path: Path) -> None:
    source, target = DATA / "cifar10_resnet" / "resnet20.onnx", tmp_path / "small.onnx"
    images = DATA / "cifar10" / "cifar10_lossless.npz"
    steps = subbyte.Preprocessing(255, MEAN, STD, "nhwc")
    subbyte.compress(
        source, target, f"{images}:x_train", preprocessing=steps, bits=2.0, samples=500
    )
    result = inspect(target)
    assert 1.9 < result.bits_per_weight <= 2.0
    assert result.weight_count > 268_000
    assert target.stat().st_size < 0.12 * source.stat().st_size
    onnx.checker.check_model(onnx.load(target), full_check=True)

    with np.load(images) as file:
        first = file["idx_test"] < 1000
        x, labels = file["x_test"][first], file["y_test"][first]
    x = ((x / 255 - MEAN) / STD).transpose(0, 3, 1, 2).astype(np.float32)
    scores = []
    for path in (source, target):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        parts = [session.run(None, {name: x[i : i + 100]})[0] for i in range(0, 1000, 100)]
        scores.append(log_softmax(np.concatenate(parts)))
    wanted, got = scores
    accuracies = [(part.argmax(1) == labels).mean() for part in scores]
    assert accuracies[0] == 0.915
    assert (np.exp(wanted) * (wanted - got)).sum(1).mean() <= 0.075
    assert accuracies[1] > accuracies[0] - 0.02
