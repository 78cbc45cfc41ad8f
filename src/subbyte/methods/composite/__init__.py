"""Composite binary planes: CBDNet's uniform grid, stored bit plane by bit plane.

Source: Qiaoben et al., "Composite Binary Decomposition Networks", AAAI 2019, arXiv
1811.06668 (magnitudes relative to the layer's largest, the threshold by rank, the planes,
the exact factorization of the upper ones). Ours: elimination that finds the true rank over
GF(2), gap-coded planes, signs of the non-zeros only, the grid fitted to the moments.
"""

from __future__ import annotations

from subbyte.methods.base import Method
from subbyte.methods.composite import accounting, encode, form, search
from subbyte.methods.composite.form import CompositeOptions

METHOD = Method(
    name="composite",
    paper="CBDNet (Qiaoben et al., AAAI 2019, arXiv 1811.06668)",
    becomes="sign and up to 6 bits of magnitude, each bit plane coded by itself",
    bits="1-7",
    summary=(__doc__ or "").splitlines()[0],
    options=CompositeOptions,
    stored_bytes=form.most_bytes,
    blank=form.blank,
    decode=form.decode,
    weight_nodes=form.weight_nodes,
    options_of=form.options_of,
    encode=encode.encode,
    default=search.default,
    search=search.search,
    variants=("", form.FACTORED),
    planes=accounting.count_planes,
    check_given=search.check_given,
)
