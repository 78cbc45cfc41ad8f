"""Building model-local functions: nodes, attribute references, short names.

Every coded layer of one kind shares one function body, so shapes and strides reach it as node
attributes and packed arrays as inputs. Bodies use operators whose meaning has not changed since
operator set 18; a function can therefore import the set of any model.
"""

from __future__ import annotations

import itertools
import string
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import helper

DOMAIN = "subbyte"
DOMAIN_VERSION = 1

# Metadata of a compressed model, inlined or not.
FORMAT_KEY = "subbyte.format"
FORMAT_VERSION = "1"

TO_NCHW = (0, 3, 1, 2)
TO_NHWC = (0, 2, 3, 1)

_TYPES = {
    "int": onnx.AttributeProto.INT,
    "ints": onnx.AttributeProto.INTS,
    "float": onnx.AttributeProto.FLOAT,
    "string": onnx.AttributeProto.STRING,
}


class Body:
    """Collects the nodes of one function; each method returns the name of a new value."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.attributes: dict[str, str] = {}
        self._count = 0

    def op(self, op_type: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a standard node; ``attributes``."""
        output = output or self._fresh()
        self.nodes.append(helper.make_node(op_type, list(inputs), [output], **attributes))
        return output

    def refer(self, **kinds: str) -> None:
        """Give the last node the function's attributes of these names (``int``, ``ints`` ...)."""
        for name, kind in kinds.items():
            self.attributes[name] = kind
            self.nodes[-1].attribute.append(
                onnx.AttributeProto(name=name, ref_attr_name=name, type=_TYPES[kind])
            )

    def constant(self, value: ArrayLike, dtype: type[np.generic]) -> str:
        """A constant tensor."""
        tensor = onnx.numpy_helper.from_array(np.asarray(value, dtype))
        return self.op("Constant", value=tensor)

    def attribute(self, name: str, kind: str) -> str:
        """The function's attribute ``name`` (``int`` or ``ints``) as an int64 tensor."""
        output = self.op("Constant")
        self.attributes[name] = kind
        self.nodes[-1].attribute.append(
            onnx.AttributeProto(name=f"value_{kind}", ref_attr_name=name, type=_TYPES[kind])
        )
        return output

    def call(self, op_type: str, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """Call another function of domain ``subbyte``."""
        self.nodes.append(helper.make_node(op_type, list(inputs), list(outputs), domain=DOMAIN))

    def _fresh(self) -> str:
        self._count += 1
        return f"_{self._count}"


def make_function(
    name: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
    nodes: Sequence[onnx.NodeProto],
    attributes: Sequence[str],
    opset: int,
) -> onnx.FunctionProto:
    """The function ``subbyte.<name>``, its inner values renamed to short letters."""
    short = short_names(nodes, {*inputs, *outputs})
    imports = [helper.make_opsetid("", opset)]
    if any(node.domain == DOMAIN for node in nodes):
        imports.append(helper.make_opsetid(DOMAIN, DOMAIN_VERSION))
    return helper.make_function(
        DOMAIN, name, list(inputs), list(outputs), short, imports, attributes=list(attributes)
    )


def short_names(nodes: Sequence[onnx.NodeProto], keep: set[str]) -> list[onnx.NodeProto]:
    """Copies of ``nodes`` whose values are called a, b, c ... unless they are in ``keep``."""
    letters = (name for name in _letters() if name not in keep)
    names: dict[str, str] = {name: name for name in keep}
    names[""] = ""
    renamed = []
    for node in nodes:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        for values in (copy.input, copy.output):
            for index, value in enumerate(values):
                if value not in names:
                    names[value] = next(letters)
                values[index] = names[value]
        renamed.append(copy)
    return renamed


def reference_types(nodes: Sequence[onnx.NodeProto]) -> Mapping[str, str]:
    """Names and kinds of the function attributes that ``nodes`` refer to, in order."""
    kinds = {number: kind for kind, number in _TYPES.items()}
    return {
        attribute.ref_attr_name: kinds[attribute.type]
        for node in nodes
        for attribute in node.attribute
        if attribute.ref_attr_name
    }


def _letters() -> Iterator[str]:
    for length in itertools.count(1):
        for letters in itertools.product(string.ascii_letters, repeat=length):
            yield "".join(letters)
