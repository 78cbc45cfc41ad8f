"""Nodes that ONNX Runtime runs inside a torch module, as no kernel of ours does.

These are operators that the table has no row for, operators of other domains, nodes with graphs of
their own, and forms that a row does not cover. No gradient flows through them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper
from torch import Tensor

from subbyte.errors import UnsupportedOperatorError, reason
from subbyte.runtime.ort import ERRORS, open_session, ort

WAY_OUT = "an export with operators that it knows, or the network cut before the node"
_IR_VERSION = 10
# A run may raise these too: the Python binding itself refuses a tensor.
_FAILURES: tuple[type[Exception], ...] = (*ERRORS, RuntimeError, ValueError)
Signature = tuple[tuple[str, int], ...]


@dataclass
class ForeignKernel:
    """Runs ``nodes`` in ONNX Runtime.

    It takes one tensor (or None) per entry of ``inputs``, and gives a tuple with one tensor per
    entry of ``outputs``. Nothing is run where there are no outputs.

    The element types are taken from the tensors that it is called with; a session is made for each
    combination at the first call. ``constants`` are built in, and their arguments None. Other
    arguments are moved to the CPU, the outputs to the device of an argument that is elsewhere.
    ``label`` names the nodes in errors.

    Raises:
        UnsupportedOperatorError: ONNX Runtime refuses the nodes.
        RuntimeError: it fails on these tensors, as a torch operator would.
    """

    nodes: Sequence[onnx.NodeProto]
    inputs: Sequence[str]
    outputs: Sequence[str]
    imports: Mapping[str, int]
    constants: Mapping[str, NDArray[Any]]
    label: str
    _sessions: dict[Signature, Any] = field(default_factory=dict, repr=False)

    def __call__(self, *arguments: Tensor | None) -> tuple[Tensor, ...]:
        """The outputs for ``arguments``."""
        if not self.outputs:
            return ()
        given = {
            name: value
            for name, value in zip(self.inputs, arguments, strict=True)
            if value is not None and name not in self.constants
        }
        elsewhere = [value.device for value in given.values() if value.device.type != "cpu"]
        arrays = {name: value.detach().cpu().numpy() for name, value in given.items()}
        device = elsewhere[0] if elsewhere else torch.device("cpu")
        return tuple(self._tensor(made).to(device) for made in self._run(arrays))

    def __getstate__(self) -> dict[str, Any]:
        """Sessions are neither copied nor sent to other processes: they are made again."""
        return {**self.__dict__, "_sessions": {}}

    def _tensor(self, made: object) -> Tensor:
        array = np.asarray(made)
        if isinstance(made, list) or array.dtype.kind not in "biuf":
            self._refuse("a value that is no tensor of numbers")
        return torch.from_numpy(array)

    def _refuse(self, got: str) -> NoReturn:
        raise UnsupportedOperatorError(
            "ONNX Runtime cannot run an operator of the network",
            where=self.label,
            expected=WAY_OUT,
            got=got,
        )

    def _run(self, arrays: Mapping[str, NDArray[Any]]) -> list[Any]:
        kinds = [
            (name, helper.np_dtype_to_tensor_dtype(array.dtype)) for name, array in arrays.items()
        ]
        signature = tuple(kinds)
        if signature not in self._sessions:
            self._sessions[signature] = self._open(signature)
        try:
            return list(self._sessions[signature].run(list(self.outputs), dict(arrays)))
        except _FAILURES as error:
            raise RuntimeError(f"{self.label}: {reason(error)}") from error

    def _open(self, signature: Signature) -> Any:
        graph = helper.make_graph(
            list(self.nodes),
            "foreign",
            [helper.make_tensor_value_info(name, kind, None) for name, kind in signature],
            [onnx.ValueInfoProto(name=name) for name in self.outputs],
            [onnx.numpy_helper.from_array(array, name) for name, array in self.constants.items()],
        )
        imports = [helper.make_opsetid(domain, version) for domain, version in self.imports.items()]
        least = helper.find_min_ir_version_for([entry for entry in imports if not entry.domain])
        version = max(_IR_VERSION, least)
        model = helper.make_model(graph, opset_imports=imports, ir_version=version)
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            return open_session(model.SerializeToString(), options)
        except ERRORS as error:
            self._refuse(reason(error))
