"""The VGG is trained once, and its file is a network like the catalog's."""

from pathlib import Path

import torch

from benchmarks.papers import vgg
from benchmarks.papers.soft_hard import Images
from subbyte import load
from subbyte.compression.planning.plan_file import planned_layers
from subbyte.graph.load.network import read_network
from tests.compression.nets import smooth_images


def images() -> Images:
    x = torch.from_numpy(smooth_images(256, size=32))
    y = (x.mean((1, 2, 3)) > 0).long()
    return Images(x, y, x[:8], y[:8])


def never() -> Images:
    raise AssertionError("trained again")


def test_it_is_trained_once(tmp_path: Path) -> None:
    path = vgg.trained(tmp_path, images, epochs=1)
    row = vgg.network_row(tmp_path)
    shapes = [layer.shape for layer in planned_layers(read_network(row.model))]
    assert [(shape.taps, shape.inputs, shape.outputs) for shape in shapes] == [
        *((9, 3, 24), (9, 24, 24), (9, 24, 48), (9, 48, 48), (9, 48, 96), (9, 96, 96)),
        *((1, 96 * 16, 256), (1, 256, 10)),
    ]
    assert load(row.model, engine="portable").run(images().test_x.numpy()).shape == (8, 10)
    assert vgg.trained(tmp_path, never) == path
