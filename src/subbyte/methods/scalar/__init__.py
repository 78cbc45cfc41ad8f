"""Scalar grids: every weight one of 2**bits evenly spaced levels, with a scale per output.

The plain uniform grid (2, 3, 4 bits), encoded against the layer's second moments, and
8 bits for the layers that must stay precise. The soft/hard 2-bit training of Hung et al.
(SiPS 2015) ends on the same 2-bit grid.
"""

from __future__ import annotations

from subbyte.methods.base import Method
from subbyte.methods.scalar import encode, form, search
from subbyte.methods.scalar.form import ScalarOptions

METHOD = Method(
    name="scalar",
    paper="uniform grid; 2 bits as in soft/hard quantization (Hung et al., SiPS 2015)",
    becomes="one of 2^bits evenly spaced levels, with a scale per output",
    bits="2, 3, 4, 8",
    summary=(__doc__ or "").splitlines()[0],
    options=ScalarOptions,
    stored_bytes=form.stored_bytes,
    blank=form.blank,
    decode=form.decode,
    weight_nodes=form.weight_nodes,
    options_of=form.options_of,
    encode=encode.encode,
    encode_unpacked=encode.encode_unpacked,
    default=search.default,
    search=search.search,
    row_nodes=form.row_nodes,
    kernel=form.kernel,
    tables=form.tables,
    check_given=search.check_given,
    check_network=search.check_network,
)
