"""The operators of islands besides layers, one file per family."""

from subbyte.graph.islands.operators import elementwise, movement, pooling
from subbyte.graph.islands.operators.registry import (
    OPERATORS,
    IslandOperator,
    is_arithmetic,
    is_candidate,
    is_pointwise,
    operator,
    register,
    row_of,
)

FAMILIES = (elementwise, movement, pooling)

__all__ = [
    "FAMILIES",
    "OPERATORS",
    "IslandOperator",
    "is_arithmetic",
    "is_candidate",
    "is_pointwise",
    "operator",
    "register",
    "row_of",
]
