"""Writing a graph in which one value may exist in several layouts.

A layout is how a value is stored: uint8 or float, and its axes in ONNX's own order or with the
channels last. Nodes ask for the layout they need. A missing layout is made once, from the nearest
one there is: so quantization comes to stand at island borders and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import ArrayLike, NDArray
from onnx import helper

from subbyte.graph import query
from subbyte.graph.functions.body import DOMAIN, TO_NCHW, TO_NHWC
from subbyte.graph.quant_params import QuantParams

Kind = Literal["uint8", "float"]
Layout = Literal["plain", "last"]
ValueLayout = tuple[Kind, Layout]

PLAIN: ValueLayout = ("float", "plain")

_SMALL = 1024
# A constant of so many floats is shown to people by its name.
LEAST_NAMED = 1024
# The names that writing makes: of values, and of packed arrays.
_MADE = re.compile(r"v\d+$|w\d+\.")


class Emitter:
    """Nodes, initializers and functions of the file being written."""

    def __init__(
        self,
        graph: ir.Graph,
        params: Mapping[str, QuantParams],
        absorbed: Mapping[str, str],
        opset: int,
    ) -> None:
        self.opset = opset
        self.params = params
        self.absorbed = absorbed
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self.functions: dict[str, onnx.FunctionProto] = {}
        self._reserved = {value.name or "" for value in [*graph.inputs, *graph.outputs]}
        self._outputs = {self.stored(v.name or ""): v.name or "" for v in graph.outputs}
        self._forms: dict[str, dict[ValueLayout, str]] = {}
        self._arrays: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._operands: dict[tuple[str, Layout], str] = {}
        # Of constants that nodes make: what adds these nodes and gives the value's name.
        self.made: Mapping[str, Callable[[], str]] = {}
        self._count = 0
        for value in graph.inputs:
            self._forms[value.name or ""] = {PLAIN: value.name or ""}

    # names ---------------------------------------------------------------------------

    def stored(self, name: str) -> str:
        """The value that stands for ``name``: an absorbed clamp's is its input's."""
        while name in self.absorbed:
            name = self.absorbed[name]
        return name

    def fresh(self) -> str:
        """A short name that nothing else has."""
        while True:
            self._count += 1
            name = f"v{self._count}"
            if name not in self._reserved:
                return name

    def define(self, value: ir.Value | None, form: ValueLayout = PLAIN) -> str:
        """A name for the output ``value`` in ``form``; '' for an output left out."""
        if value is None or not value.name:
            return ""
        return self._define(self.stored(value.name), form)

    def _define(self, name: str, form: ValueLayout) -> str:
        known = self._forms.setdefault(name, {})
        known[form] = self._outputs.get(name, "") if form == PLAIN else ""
        known[form] = known[form] or self.fresh()
        return known[form]

    # constants -----------------------------------------------------------------------

    def array(self, array: NDArray[Any], name: str = "") -> str:
        """An initializer; of small ones without a name, equal ones are stored once."""
        array = np.asarray(array)
        if name or array.nbytes > _SMALL:
            return self._store(array, name or self.fresh())
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._arrays:
            self._arrays[key] = self._store(array, self.fresh())
        return self._arrays[key]

    def _store(self, array: NDArray[Any], name: str) -> str:
        self.initializers[name] = onnx.numpy_helper.from_array(array.copy(order="C"), name)
        return name

    def operand(self, value: ir.Value | None, layout: Layout = "plain") -> str:
        """A constant of the network, as it broadcasts against a value in ``layout``."""
        if _name(value) in self.made:
            return self.made[_name(value)]()
        key = (_name(value), layout)
        if key not in self._operands:
            array = _arranged(query.known(value), layout)
            self._operands[key] = self.array(array, self._shown_name(value, array))
        return self._operands[key]

    def _shown_name(self, value: ir.Value | None, array: NDArray[Any]) -> str:
        """The name that a large constant of weights keeps, so that people know it again; '' for
        another constant, or where the name may be one that is made here."""
        name, kind = _name(value), array.dtype
        weights = kind.kind == "f" or (kind.kind in "iu" and kind.itemsize <= 2)
        if not weights or array.size < LEAST_NAMED:
            return ""
        return "" if name in self._reserved or _MADE.match(name) else self._reserve(name)

    def _reserve(self, name: str) -> str:
        self._reserved.add(name)
        return name

    def ints(self, values: ArrayLike) -> str:
        """An int64 initializer."""
        return self.array(np.asarray(values, np.int64))

    # nodes ---------------------------------------------------------------------------

    def node(
        self,
        op_type: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        domain: str = "",
        **attributes: Any,
    ) -> onnx.NodeProto:
        """Add a node."""
        made = helper.make_node(op_type, list(inputs), list(outputs), domain=domain, **attributes)
        self.nodes.append(made)
        return made

    def call(
        self,
        function: onnx.FunctionProto,
        inputs: Sequence[str],
        outputs: Sequence[str],
        **attributes: Any,
    ) -> onnx.NodeProto:
        """Call a function of domain ``subbyte``, which the file then carries."""
        self.functions.setdefault(function.name, function)
        return self.node(function.name, inputs, outputs, DOMAIN, **attributes)

    # values --------------------------------------------------------------------------

    def quantization(self, value: ir.Value | None) -> list[str]:
        """The initializers that hold a value's scale and zero point."""
        return self._quantization(self.stored(_name(value)))

    def is_carried(self, value: ir.Value | None) -> bool:
        """Whether a value has parameters to be carried with."""
        return self.stored(_name(value)) in self.params

    def params_of(self, value: ir.Value | None) -> QuantParams:
        """The parameters with which a value is carried."""
        return self.params[self.stored(_name(value))]

    def _quantization(self, name: str) -> list[str]:
        params = self.params[name]
        scale = self.array(np.asarray(params.scale, np.float32))
        return [scale, self.array(np.asarray(params.zero_point, np.uint8))]

    def has(self, value: ir.Value | None, form: ValueLayout) -> bool:
        """Whether a value exists in ``form`` already."""
        return form in self._forms.get(self.stored(_name(value)), {})

    def layout(self, *values: ir.Value | None) -> Layout:
        """Channels last if a feature map among ``values`` exists only so, else plain."""
        for value in values:
            forms = self._forms.get(self.stored(_name(value)), {})
            if query.rank(value) == 4 and forms and all(form[1] == "last" for form in forms):
                return "last"
        return "plain"

    def quantized(self, value: ir.Value | None, form: ValueLayout) -> list[str]:
        """The names of ``value`` in ``form``, and of its scale and zero point."""
        return [self.get(value, form), *self.quantization(value)]

    def get(self, value: ir.Value | None, form: ValueLayout = PLAIN) -> str:
        """The name of ``value`` in ``form``, made now if need be; '' for a missing input."""
        if value is None:
            return ""
        if query.is_constant(value):
            return self.operand(value, form[1])
        return self._get(self.stored(_name(value)), form, _pointwise_map(value))

    def _get(self, name: str, form: ValueLayout, single: bool) -> str:
        known = self._forms[name]
        if form in known:
            return known[form]
        kind, layout = form
        other: Layout = "plain" if layout == "last" else "last"
        if ("uint8", layout) in known or ("float", layout) in known:
            self._convert_kind(name, form)
        elif kind == "uint8" or ("uint8", other) in known:
            # Move bytes rather than floats: transpose what is quantized already.
            self._get(name, ("uint8", other), single)
            self._move(name, ("uint8", layout), single)
            if kind == "float":
                self._convert_kind(name, form)
        else:
            self._move(name, form, single)
        return known[form]

    def _convert_kind(self, name: str, form: ValueLayout) -> None:
        kind, layout = form
        quantize = kind == "uint8"
        source = self._forms[name]["float" if quantize else "uint8", layout]
        op_type = "QuantizeLinear" if quantize else "DequantizeLinear"
        self.node(op_type, [source, *self._quantization(name)], [self._define(name, form)])

    def _move(self, name: str, form: ValueLayout, single: bool) -> None:
        kind, layout = form
        source = self._forms[name][kind, "plain" if layout == "last" else "last"]
        output = [self._define(name, form)]
        if single:
            # One pixel: both layouts hold the same bytes.
            shape = [0, 1, 1, -1] if layout == "last" else [0, -1, 1, 1]
            self.node("Reshape", [source, self.ints(shape)], output)
        else:
            perm = TO_NHWC if layout == "last" else TO_NCHW
            self.node("Transpose", [source], output, perm=perm)


def position(axis: int, layout: Layout, rank: int) -> int:
    """Where ONNX's axis ``axis`` stands in ``layout``."""
    axis %= rank
    return axis if layout == "plain" else TO_NHWC.index(axis)


def _name(value: ir.Value | None) -> str:
    return value.name or "" if value is not None else ""


def _pointwise_map(value: ir.Value) -> bool:
    shape = query.dims(value)
    return shape is not None and len(shape) == 4 and shape[2:] == (1, 1)


def _arranged(array: NDArray[Any], layout: Layout) -> NDArray[Any]:
    if layout == "plain" or array.ndim == 0:
        return array
    full = array.reshape((1,) * (4 - array.ndim) + array.shape)
    return full.transpose(TO_NHWC)
