"""Product codes: Q-CNN's sub-codebooks, with an optional gain per code (gain-shape codes).

Source: Wu et al., "Quantized Convolutional Neural Networks for Mobile Devices",
CVPR 2016, section 3 (sub-spaces along input channels, one codebook shared by all kernel
positions and outputs). Ours: the sign or gain per code, the per-channel scale, int8
codebooks, and the encoder.
"""

from __future__ import annotations

from subbyte.methods.base import Method
from subbyte.methods.product import encode, form, search
from subbyte.methods.product.form import ProductOptions
from subbyte.methods.product.trainable import trainable

METHOD = Method(
    name="product",
    paper="Q-CNN (Wu et al., CVPR 2016, arXiv 1512.06473)",
    becomes="groups of d input channels -> one of K words, times a sign or gain",
    bits="0.5-3",
    summary=(__doc__ or "").splitlines()[0],
    options=ProductOptions,
    stored_bytes=form.stored_bytes,
    blank=form.blank,
    decode=form.decode,
    weight_nodes=form.weight_nodes,
    options_of=form.options_of,
    encode=encode.encode,
    default=search.default,
    search=search.search,
    variants=("", "Gain"),
    row_nodes=form.row_nodes,
    kernel=form.kernel,
    tables=form.tables,
    trainable=trainable,
    check=search.check,
    check_given=search.check_given,
    check_network=search.check_network,
)
