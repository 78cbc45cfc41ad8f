"""Any coded weight as a module: what is trained of it, and back to its packed form."""

from __future__ import annotations

from torch import Tensor

from subbyte.methods import METHODS
from subbyte.methods.coded import CodedWeight
from subbyte.methods.product.trainable import ProductWeight
from subbyte.methods.scalar.trainable import ScalarWeight
from subbyte.methods.ternary.trainable import TernaryWeight

TrainableWeight = ProductWeight | ScalarWeight | TernaryWeight


def trainable(
    coded: CodedWeight, *, move: bool = False, reference: Tensor | None = None
) -> TrainableWeight:
    """The module whose ``forward()`` is the weight [O, T, I] and whose ``coded()`` packs it.

    ``move``: product codes move too; ``reference``: what latent ternary factors recover. Of
    a method without a module of its own, the scales are trained.
    """
    if coded.method == "product":
        return ProductWeight(coded, move=move)
    if coded.method == "ternary":
        return TernaryWeight(coded, reference)
    return ScalarWeight(coded, METHODS[coded.method].decode(coded))
