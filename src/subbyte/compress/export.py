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

from subbyte.errors import OptionError, UnsupportedOperatorError


def export_module(module: nn.Module, example_inputs: Any) -> onnx.ModelProto:
    """Export ``module`` in evaluation mode; ``example_inputs``: a tensor or a tuple of them.

    The first dimension of every input is taken for the batch. The module's mode is put
    back afterwards.
    """
    inputs = _as_tuple(example_inputs)
    # One sample would let the exporter take the batch for a constant 1.
    inputs = tuple(torch.cat([x, x]) if len(x) == 1 else x for x in inputs)
    training = module.training
    module.eval()
    try:
        program = _export(module, inputs)
    except torch.onnx.OnnxExporterError as error:
        raise UnsupportedOperatorError(
            "torch.onnx.export cannot export the module", got=str(error).splitlines()[0]
        ) from error
    finally:
        module.train(training)
    return program


def _as_tuple(example_inputs: Any) -> tuple[torch.Tensor, ...]:
    if isinstance(example_inputs, torch.Tensor):
        return (example_inputs,)
    if isinstance(example_inputs, Sequence) and all(
        isinstance(x, torch.Tensor) and x.ndim > 0 for x in example_inputs
    ):
        return tuple(example_inputs)
    raise OptionError(
        "example_inputs of a PyTorch module",
        expected="a tensor or a sequence of tensors, batch first",
        got=type(example_inputs).__name__,
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
