"""A PyTorch module as an ONNX model, with a free batch dimension."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Sequence
from typing import Any

import onnx
import torch
from torch import nn

from subbyte.compress.residual_binary import add_residual_binary_functions
from subbyte.errors import OptionError, UnsupportedOperatorError, reason
from subbyte.nn import binary_layers


def export_module(module: nn.Module, example_inputs: Any) -> onnx.ModelProto:
    """Export ``module`` in evaluation mode; ``example_inputs``: a tensor or a tuple of them.

    The first dimension of every input is taken for the batch. The modes of the module and
    of its parts are put back afterwards. A layer of `subbyte.nn` becomes one node (see
    `subbyte.compress.residual_binary`), and the model carries its function.

    Raises:
        OptionError: inputs that are no tensors, or that the module does not run on; binary
            layers whose weights are not binarized yet.
        UnsupportedOperatorError: a module that torch.onnx.export cannot export.
    """
    inputs = _as_tuple(example_inputs)
    if not all(layer.binarize_weights for layer in binary_layers(module)):
        raise OptionError(
            "binary layers to export",
            expected="binarize_weights=True",
            got="binarize_weights=False",
        )
    # One sample would let the exporter take the batch for a constant 1.
    inputs = tuple(torch.cat([x, x]) if len(x) == 1 else x for x in inputs)
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        _try(module, inputs)
        model = _export(module, inputs)
        add_residual_binary_functions(model)
        return model
    except torch.onnx.OnnxExporterError as error:
        raise UnsupportedOperatorError(
            "torch.onnx.export cannot export the module", got=_reason(error)
        ) from error
    finally:
        for part, training in modes.items():
            part.training = training


@torch.no_grad()
def _try(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    """Run the module once: the exporter does not say well what is wrong with its inputs."""
    try:
        module(*inputs)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise OptionError(
            "the module does not run on example_inputs",
            got=f"{type(error).__name__}: {_reason(error)}",
        ) from error


def _reason(error: BaseException) -> str:
    """What was at the bottom of ``error``."""
    while error.__cause__ is not None:
        error = error.__cause__
    return reason(error)


def _as_tuple(example_inputs: Any) -> tuple[torch.Tensor, ...]:
    found = (example_inputs,) if isinstance(example_inputs, torch.Tensor) else example_inputs
    tensors = isinstance(found, Sequence) and all(isinstance(x, torch.Tensor) for x in found)
    if tensors and len(found) > 0 and all(x.ndim > 0 and len(x) > 0 for x in found):
        return tuple(found)
    raise OptionError(
        "example_inputs of a PyTorch module",
        expected="a tensor or a sequence of tensors, batch first",
        got=[list(x.shape) for x in found] if tensors else type(found).__name__,
    )


def _export(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> onnx.ModelProto:
    batch = torch.export.Dim("N")
    shapes = tuple({0: batch} for _ in inputs)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module, inputs, dynamo=True, dynamic_shapes=shapes, verbose=False, opset_version=20
        )
    if program is None:
        raise UnsupportedOperatorError("torch.onnx.export gave no model")
    return program.model_proto
