"""Matrix products and other linear algebra."""

from __future__ import annotations

import torch
from torch import Tensor

from subbyte.graph.ops.registry import Form, Kernel, operator, register_functions

register_functions({"MatMul": torch.matmul, "Det": torch.linalg.det})


@operator("Gemm")
def gemm(form: Form) -> Kernel:
    """alpha * A' B' + beta * C, where ' transposes if transA, transB."""
    alpha, beta = form.attribute("alpha", 1.0), form.attribute("beta", 1.0)
    trans_a, trans_b = form.attribute("transA", 0), form.attribute("transB", 0)

    def run(a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
        y = torch.mm(a.t() if trans_a else a, b.t() if trans_b else b)
        y = y if alpha == 1.0 else alpha * y
        if c is None:
            return y
        return y + (c if beta == 1.0 else beta * c)

    return run


@operator("Einsum")
def einsum(form: Form) -> Kernel:
    """Einstein summation over any number of tensors."""
    equation = form.attribute("equation", "")
    return lambda *tensors: torch.einsum(equation, *tensors)
