"""Binary weights on binary activations: HORQ's residual signs, XNOR-Net at order 1.

Source: Li et al., "Performance Guaranteed Network Acceleration via High-Order Residual
Quantization", ICCV 2017, arXiv 1708.08687 (inputs of order K with scales a column; weights
as in XNOR-Net, Rastegari et al., ECCV 2016, arXiv 1603.05279). Ours: signs and scales fitted
to the moments of the binarized inputs for networks that were not trained for it; scales a
pixel and an image for every order.
"""

from __future__ import annotations

from subbyte.methods.base import Method
from subbyte.methods.binarization import BINARIZATIONS
from subbyte.methods.binary import encode, form, search
from subbyte.methods.binary.form import BinaryOptions

METHOD = Method(
    name="binary",
    paper="HORQ (Li et al., ICCV 2017, arXiv 1708.08687); XNOR-Net at order 1",
    becomes="a sign, with a scale per output; inputs become the sum of K scaled signs",
    bits="1",
    summary=(__doc__ or "").splitlines()[0],
    options=BinaryOptions,
    stored_bytes=form.stored_bytes,
    blank=form.blank,
    decode=form.decode,
    weight_nodes=form.weight_nodes,
    options_of=form.options_of,
    encode=encode.encode,
    default=search.default,
    search=search.search,
    variants=tuple(BINARIZATIONS),
    trained=search.trained,
    binarization=BINARIZATIONS.__getitem__,
    check=search.check,
)
