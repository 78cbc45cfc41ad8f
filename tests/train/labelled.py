"""Images with labels, and a network to be tuned on them."""

from __future__ import annotations

import torch
from torch import nn

from tests import tiny
from tests.compression.nets import classifier, smooth_images

IMAGES = smooth_images(80, size=tiny.SIZE)
MODEL = classifier(IMAGES)
X = torch.from_numpy(IMAGES)
Y = (X.mean((1, 2, 3)) > 0).long() + 2 * (X[:, 0].mean((1, 2)) > 0).long()
cross_entropy = nn.functional.cross_entropy
