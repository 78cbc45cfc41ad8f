"""Images of the data folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.networks import datasets
from benchmarks.packages.inputs import Inputs, top1


def imagenet(data: Path, source: Path) -> Inputs:
    """250 images to calibrate and 250 others with labels, (x - 127) / 128."""
    split = datasets.imagenet(data, datasets.halves)
    fit, test = (
        {"images": ((np.moveaxis(images, -1, 1).astype(np.float32) - 127) / 128)}
        for images in (split.calibration, split.test)
    )
    return Inputs("ImageNet images of the data folder", fit, test, top1(split.targets))
