"""A compressed file as a module: trained in any loop, and written back."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from subbyte.compression.encoding.distill import BIAS_RATE
from subbyte.errors import OptionError, WeightError
from subbyte.files import check_writable, write_atomic
from subbyte.graph.compressed.trainable import CodedNetwork, read_coded, write_coded
from subbyte.graph.load.network import load_model
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.network import Network
from subbyte.methods import trainable


class Student(nn.Module):
    """A compressed file as a module that computes the same, its 8-bit activations included.

    The parameters are the coded weights' own (codebooks in units of their own rms, logarithms of
    scales, latent ternary factors; `methods.training`) and the biases of coded layers. All other
    numbers of the file are held, the scales of activations among them. Roundings pass gradients
    straight through; where an activation saturates the gradient is zero.
    """

    def __init__(self, source: CodedNetwork) -> None:
        super().__init__()
        self._source = source
        self.input_names = source.inputs
        self._trained = [trainable(stored.coded) for stored in source.weights]
        self.weights = nn.ModuleList(self._trained)
        self.biases = nn.ParameterList(
            nn.Parameter(torch.from_numpy(stored.bias.copy())) for stored in source.biases
        )
        self.graph = GraphModule(source.network).requires_grad_(False)

    def forward(self, *inputs: Tensor) -> Any:
        """The file's output for its inputs, or a tuple of its outputs."""
        if len(inputs) != len(self.input_names):
            raise OptionError(
                "wrong number of inputs", expected=self.input_names, got=f"{len(inputs)} tensors"
            )
        return self.graph(*inputs, *(weight() for weight in self.weights), *self.biases)

    @property
    def network(self) -> Network:
        """The graph that is run: its inputs are the file's inputs, then weights and biases."""
        return self._source.network

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups for an optimizer (Adam), with the rates of ``subbyte compress --tune``."""
        rates: dict[float, list[nn.Parameter]] = {BIAS_RATE: list(self.biases)}
        for weight in self._trained:
            for name, parameter in weight.named_parameters():
                rates.setdefault(weight.rates[name], []).append(parameter)
        return [{"params": found, "lr": rate} for rate, found in rates.items() if found]

    def fingerprint(self) -> str:
        """SHA-256 of the file that was read."""
        return hashlib.sha256(self._source.model.SerializeToString(deterministic=True)).hexdigest()

    @torch.no_grad()
    def export(self) -> onnx.ModelProto:
        """The file with the trained parameters.

        Raises:
            WeightError: training has left NaN or Inf.
        """
        for name, value in self.named_parameters():
            if not bool(value.isfinite().all()):
                raise WeightError("training diverged", where=name, expected="finite numbers")
        weights = [weight.coded() for weight in self._trained]
        biases = [bias.detach().cpu().numpy().copy() for bias in self.biases]
        return write_coded(self._source, weights, biases)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `export` to ``path``, whole or not at all."""
        target = check_writable(path)
        write_atomic(target, self.export().SerializeToString(deterministic=True))


def load(source: str | os.PathLike[str] | onnx.ModelProto) -> Student:
    """The module of a file that ``subbyte compress`` wrote, not inlined.

    Raises:
        ModelFileError: unreadable, no subbyte layers, inlined, another format version.
        UnsupportedOperatorError: an operator that the graph reader does not cover.
    """
    if isinstance(source, onnx.ModelProto):
        return Student(read_coded(source, "model"))
    return Student(read_coded(load_model(Path(source)), str(source)))
