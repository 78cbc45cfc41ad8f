"""Encoding a target, with and without outputs counting alike."""

import numpy as np
import torch

from subbyte.compression.calibration.moments import Target
from subbyte.compression.encoding.layer import encode_weight
from subbyte.methods import decode_weight
from subbyte.methods.product.form import ProductOptions
from tests.compression.nets import normal, one_layer

OUTPUTS, INPUTS = 24, 32


def problem() -> tuple[object, Target]:
    """A linear map in which half of the outputs are a hundred times quieter."""
    weight = normal(0, OUTPUTS, INPUTS, 1, 1)
    weight[::2] *= 0.01
    mixing = torch.from_numpy(normal(1, INPUTS, INPUTS)) / 6 + torch.eye(INPUTS)
    layer = one_layer("Conv", weight, 2, INPUTS).layers[0]
    return layer, Target(torch.from_numpy(weight[:, None, :, 0, 0]), (mixing @ mixing.T)[None])


def output_errors(target: Target, decoded: np.ndarray) -> torch.Tensor:
    """Relative error of each output [O]."""
    h = target.moments[0]
    wanted = target.weight[:, 0]
    error = wanted - torch.from_numpy(decoded[:, 0])
    return ((error @ h) * error).sum(1) / ((wanted @ h) * wanted).sum(1)


def test_balanced_outputs_share_the_error() -> None:
    layer, target = problem()
    options = ProductOptions(4)
    found = {
        balanced: output_errors(
            target,
            decode_weight(encode_weight(layer, target, options, 0, balanced)[0]),  # type: ignore[arg-type]
        )
        for balanced in (False, True)
    }
    assert found[True][::2].mean() < 0.8 * found[False][::2].mean()
    assert found[True].mean() < found[False].mean()
