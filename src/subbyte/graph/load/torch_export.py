"""A PyTorch module as an ONNX model, with a free batch dimension."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import onnx
import torch
from torch import nn

from subbyte.errors import OptionError, UnsupportedOperatorError, reason
from subbyte.graph.functions.residual_binary import add_residual_binary_functions
from subbyte.nn import binary_layers

Tensors = tuple[torch.Tensor, ...]
Names = tuple[str, ...] | None


def export_module(module: nn.Module, example_inputs: Any) -> onnx.ModelProto:
    """Export ``module`` in evaluation mode.

    ``example_inputs``: a tensor, a tuple of them, or a mapping from the names of `forward`'s
    arguments to them. The first dimension of every input is taken for the batch.

    A module that torch.compile or DataParallel wrapped is exported without the wrapping. Of a
    module in half precision, in bfloat16 or on another device a float32 copy on the CPU is
    exported: the module itself stays as it is. The modes of the module and of its parts are put
    back afterwards. A layer of `subbyte.nn` becomes one node (see
    `subbyte.graph.functions.residual_binary`), and the model carries its function.

    Raises:
        OptionError: a TorchScript module; inputs that are no tensors, or that the module does not
            run on; binary layers whose weights are not binarized yet.
        UnsupportedOperatorError: a module that torch.onnx.export cannot export.
    """
    module = _plain(module)
    if isinstance(module, torch.jit.ScriptModule):
        raise OptionError(
            "a TorchScript module cannot be exported",
            expected="the Python module that it was made of, or an ONNX file of it by "
            "torch.onnx.export(..., dynamo=False)",
            got=type(module).__name__,
        )
    inputs, names = _as_tuple(example_inputs)
    if not all(layer.binarize_weights for layer in binary_layers(module)):
        raise OptionError(
            "binary layers to export",
            expected="binarize_weights=True",
            got="binarize_weights=False",
        )
    inputs = tuple(_ready(x) for x in inputs)
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        _try(module, inputs, names)
        model = _export(module, inputs, names)
        add_residual_binary_functions(model)
        return model
    except torch.onnx.OnnxExporterError as error:
        raise UnsupportedOperatorError(
            "torch.onnx.export cannot export the module", got=_reason(error)
        ) from error
    finally:
        for part, training in modes.items():
            part.training = training


def _plain(module: nn.Module) -> nn.Module:
    """The module itself, without the wrapping of torch.compile and DataParallel.

    It is a copy where the module is not of float32 on the CPU.

    Raises:
        OptionError: a module without data.
    """
    wrappers = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while True:
        if isinstance(module, wrappers):
            module = module.module
        elif isinstance(inner := getattr(module, "_orig_mod", None), nn.Module):
            module = inner
        else:
            break
    tensors = [*module.parameters(), *module.buffers()]
    if any(tensor.is_meta for tensor in tensors):
        raise OptionError(
            "the module has no weights",
            expected="a module whose weights are loaded",
            got="tensors on the meta device",
        )
    floats = (x for x in tensors if x.is_floating_point())
    foreign = any(x.device.type != "cpu" for x in tensors)
    if foreign or any(x.dtype != torch.float32 for x in floats):
        return copy.deepcopy(module).cpu().float()
    return module


def _ready(x: torch.Tensor) -> torch.Tensor:
    """An input on the CPU, of float32 where it is of floats, and of two samples at least: one
    would let the exporter take the batch for a constant 1."""
    x = x.detach().cpu()
    x = x.float() if x.is_floating_point() else x
    return torch.cat([x, x]) if len(x) == 1 else x


@torch.no_grad()
def _try(module: nn.Module, inputs: Tensors, names: Names) -> None:
    """Run the module once: the exporter's errors about inputs are unclear."""
    try:
        module(*inputs) if names is None else module(**dict(zip(names, inputs, strict=True)))
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise OptionError(
            "the module does not run on example_inputs",
            got=f"{type(error).__name__}: {_reason(error)}",
        ) from error


def _reason(error: BaseException) -> str:
    """The first cause of ``error``."""
    while error.__cause__ is not None:
        error = error.__cause__
    return reason(error)


def _as_tuple(example_inputs: Any) -> tuple[Tensors, Names]:
    """The tensors, and their names where they were given by name."""
    names: Names = None
    found = (example_inputs,) if isinstance(example_inputs, torch.Tensor) else example_inputs
    if isinstance(found, Mapping):
        names, found = tuple(map(str, found)), tuple(found.values())
    tensors = isinstance(found, Sequence) and all(isinstance(x, torch.Tensor) for x in found)
    if tensors and len(found) > 0 and all(x.ndim > 0 and len(x) > 0 for x in found):
        return tuple(found), names
    raise OptionError(
        "example_inputs of a PyTorch module",
        expected="a tensor, a sequence of tensors, or a mapping from arguments of forward to "
        "tensors, batch first",
        hint="as in torch.zeros(1, 3, 224, 224)" if example_inputs is None else None,
        got=[list(x.shape) for x in found] if tensors else _kinds(example_inputs, found),
    )


def _kinds(given: Any, entries: Any) -> str:
    """``int``, or ``dict of Tensor, int``."""
    kind = type(given).__name__
    if not isinstance(given, (Mapping, list, tuple)):
        return kind
    return f"{kind} of {', '.join(type(entry).__name__ for entry in entries)}"


def _export(module: nn.Module, inputs: Tensors, names: Names) -> onnx.ModelProto:
    batch = torch.export.Dim("N")
    shapes: Any = tuple({0: batch} for _ in inputs)
    arguments, keywords = inputs, None
    if names is not None:
        shapes = dict(zip(names, shapes, strict=True))
        arguments, keywords = (), dict(zip(names, inputs, strict=True))
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            arguments,
            kwargs=keywords,
            dynamo=True,
            dynamic_shapes=shapes,
            verbose=False,
            opset_version=20,
        )
    if program is None:
        raise UnsupportedOperatorError("torch.onnx.export gave no model")
    return program.model_proto
