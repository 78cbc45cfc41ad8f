"""Matrix products: Gemm, MatMul, Einsum; attention and rotary embedding (since set 23)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from subbyte.graph.ops.registry import Kernel, NodeView, operator, register_functions

register_functions({"MatMul": torch.matmul, "Det": torch.linalg.det})


@operator("Gemm")
def gemm(form: NodeView) -> Kernel:
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
def einsum(form: NodeView) -> Kernel:
    """Einstein summation over any number of tensors."""
    equation = form.attribute("equation", "")
    return lambda *tensors: torch.einsum(equation, *tensors)


def _heads(x: Tensor, count: int) -> Tensor:
    """[B, S, H * D] -> [B, H, S, D]; a tensor of rank 4 has this form already."""
    if x.ndim == 4:
        return x
    return x.reshape(x.shape[0], x.shape[1], count, -1).transpose(1, 2)


def _score_mask(mask: Tensor | None, q: Tensor, keys: int, past: int, causal: bool) -> Tensor:
    """The additive mask [..., S, keys] from a boolean or additive one and causality."""
    total = torch.zeros(q.shape[2], keys, dtype=q.dtype, device=q.device)
    if causal:
        allowed = torch.ones_like(total, dtype=torch.bool).tril(past)
        total = total.masked_fill(~allowed, -torch.inf)
    if mask is None:
        return total
    if mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=q.dtype).masked_fill(~mask, -torch.inf)
    mask = F.pad(mask, [0, keys - mask.shape[-1]], value=-torch.inf)
    return total + mask


@operator("Attention", outputs=3)
def attention(form: NodeView) -> Kernel:
    """softmax(scale * Q K^T + mask) V per head; K and V heads may be shared by several Q heads."""
    causal, scale = bool(form.attribute("is_causal", 0)), form.optional("scale")
    softcap = form.attribute("softcap", 0.0)
    q_heads, kv_heads = form.attribute("q_num_heads", 0), form.attribute("kv_num_heads", 0)
    form.attribute("softmax_precision", 1)
    form.attribute("qk_matmul_output_mode", 0)
    present = any(form.outputs[1:])
    if form.has(6):
        form.unsupported("input nonpad_kv_seqlen")

    def run(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        mask: Tensor | None = None,
        past_k: Tensor | None = None,
        past_v: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, ...]:
        flat = q.ndim == 3
        q, k, v = _heads(q, q_heads), _heads(k, kv_heads), _heads(v, kv_heads)
        past = 0
        if past_k is not None and past_v is not None:
            past = past_k.shape[2]
            k, v = torch.cat([past_k, k], 2), torch.cat([past_v, v], 2)
        shared = q.shape[1] // k.shape[1]
        wide_k, wide_v = k.repeat_interleave(shared, 1), v.repeat_interleave(shared, 1)
        total = None
        if mask is not None or causal:
            total = _score_mask(mask, q, k.shape[2], past, causal)
        y = _attend(q, wide_k, wide_v, total, scale, softcap)
        y = y.transpose(1, 2).flatten(2) if flat else y
        return (y, k, v) if present else y

    return run


def _attend(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float | None, softcap: float
) -> Tensor:
    if not softcap:
        return F.scaled_dot_product_attention(q, k, v, mask, scale=scale)
    scores = q @ k.transpose(-1, -2) * (scale if scale is not None else q.shape[-1] ** -0.5)
    scores = softcap * torch.tanh(scores / softcap)
    scores = scores if mask is None else scores + mask
    return torch.softmax(scores, -1) @ v


@operator("RotaryEmbedding")
def rotary_embedding(form: NodeView) -> Kernel:
    """Rotate pairs of entries of each head by position-dependent angles."""
    interleaved, heads = form.attribute("interleaved", 0), form.attribute("num_heads", 0)
    width = form.attribute("rotary_embedding_dim", 0)

    def run(x: Tensor, cos: Tensor, sin: Tensor, positions: Tensor | None = None) -> Tensor:
        flat = x.ndim == 3
        y = _heads(x, heads)
        if positions is not None:
            cos, sin = cos[positions], sin[positions]
        if cos.shape[0] != x.shape[0]:
            # No runtime broadcasts them.
            raise RuntimeError(f"angles for a batch of {cos.shape[0]}, x has {x.shape[0]}")
        cos, sin = cos[:, None], sin[:, None]
        size = width or y.shape[-1]
        turned, rest = y[..., :size], y[..., size:]
        if interleaved:
            a, b = turned[..., 0::2], turned[..., 1::2]
        else:
            a, b = turned.chunk(2, -1)
        pair = (a * cos - b * sin, a * sin + b * cos)
        turned = torch.stack(pair, -1).flatten(-2) if interleaved else torch.cat(pair, -1)
        y = torch.cat([turned, rest], -1)
        return y.transpose(1, 2).flatten(2) if flat else y

    return run
