"""The operators that the graph reader covers, one file per family."""

from subbyte.graph.ops import (
    binary,
    conv,
    element_types,
    elementwise,
    index,
    make,
    matrix,
    normalization,
    pool,
    recurrent,
    reduce,
    resize,
    shape,
)
from subbyte.graph.ops.registry import (
    OPERATORS,
    PREPARED,
    Kernel,
    NodeView,
    build_kernel,
    operator,
    unsupported,
)

FAMILIES = (
    binary,
    conv,
    element_types,
    elementwise,
    index,
    make,
    matrix,
    normalization,
    pool,
    recurrent,
    reduce,
    resize,
    shape,
)

__all__ = [
    "FAMILIES",
    "OPERATORS",
    "PREPARED",
    "Kernel",
    "NodeView",
    "build_kernel",
    "operator",
    "unsupported",
]
