"""Coarse steps: a whole method in little, to see what a method has to bring.

W[o, t, i] ~ scale[o] * (code[o, t, i] - levels),   code in 0 .. 2 * levels
"""

from __future__ import annotations

from subbyte.methods.base import Method
from tests.methods.coarse import encode, form, search

METHOD = Method(
    name="coarse",
    paper="none",
    becomes="one of 2 * levels + 1 evenly spaced levels",
    bits="2-4",
    summary=(__doc__ or "").splitlines()[0],
    options=form.CoarseOptions,
    stored_bytes=form.stored_bytes,
    blank=form.blank,
    decode=form.decode,
    weight_nodes=form.weight_nodes,
    options_of=form.options_of,
    encode=encode.encode,
    default=search.default,
    search=search.search,
)
