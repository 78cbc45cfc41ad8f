"""Q-CNN's own procedure, with error correction and without.

Source: Wu et al., CVPR 2016, section 3. Without (``paper-plain``): the sub-columns of the float
weight are clustered by k-means, channel group by channel group, with one codebook for all taps and
outputs. With (``paper``): from there block coordinate descent over the groups m on

    sum over samples n of || T_n - What S_n ||^2

T the float network's responses without their bias, S the compressed network's inputs:

- D-step: the words of group m by least squares, all else held. In a linear layer no two words of a
  group serve one output, and each word is a regression by itself, as in the paper. In a convolution
  they do, and all words of the group are solved for together.
- B-step: every output and tap takes its best word, one tap after the other.

Expanded, the sum is tr(What H What^T) - 2 tr(What G^T) + const with H = sum S S^T and G = sum T
S^T. So the steps need no samples, only H and G = W* H: the same least squares, up to the ridge of
H's damping.

Ours: the number of rounds and of k-means steps, which are not known. Ours too: words rounded to
int8 with one factor for the layer (the scales of all outputs are equal), after which the B-step is
made once more.
"""

from __future__ import annotations

import torch
from torch import Tensor

from subbyte.methods import blocks
from subbyte.methods.coded import CodedWeight, WeightShape
from subbyte.methods.product import descent, integers
from subbyte.methods.product.form import ProductOptions
from subbyte.methods.product.kmeans import kmeans
from subbyte.methods.product.state import ProductState

KMEANS_STEPS = 50
ROUNDS = 8
RIDGE = 1e-6
# Of conjugate gradients: at most so many steps, and what may be left of the squared residual.
STEPS = 30
ENOUGH = 1e-10


def encode(
    target: Tensor, moments: Tensor, shape: WeightShape, options: ProductOptions, seed: int
) -> CodedWeight:
    """Code ``target`` [O, T, I] float32: the float weight, or with error correction
    W* = G H^-1; ``moments`` H [groups, T*I, T*I]."""
    rng = torch.Generator(device=target.device).manual_seed(seed)
    corrected = options.procedure == "paper"
    states = []
    for weight, moment in zip(target.chunk(shape.groups), moments, strict=True):
        states.append(cluster(weight, moment, options, rng))
        if corrected:
            correct(states[-1])
    factor = integers.common_factor(states)
    for state in states:
        integers.round_words(state, factor)
        if corrected:
            descent.sweep_codes(state, 1)
        else:
            descent.assign_nearest(state)
    return integers.pack(shape, options, states)


def cluster(
    target: Tensor, moments: Tensor, options: ProductOptions, rng: torch.Generator
) -> ProductState:
    """Codebooks by k-means on the sub-columns of target [O, T, I], unweighted."""
    outputs, taps, inputs = target.shape
    blocked = blocks.split(target, options.group)
    padded = blocks.pad_moments(moments, taps, inputs, options.group)
    points = blocked.permute(2, 0, 1, 3).flatten(1, 2)
    alone = torch.ones(1, device=target.device)
    weights = torch.ones(points.shape[:2], device=target.device)
    state = ProductState(
        target=blocked.reshape(outputs, -1),
        moments=padded,
        diagonal=blocks.diagonal_blocks(padded, taps, options.group),
        gains=alone,
        codebook=kmeans(points, weights, options.words, alone, KMEANS_STEPS, rng),
        scale=torch.ones(outputs, device=target.device),
        entry=torch.zeros(blocked.shape[:3], dtype=torch.long, device=target.device),
    )
    descent.assign_nearest(state)
    return state


def correct(state: ProductState) -> None:
    """`ROUNDS` rounds of D-step and B-step over all groups. Never raises the loss."""
    residual = (state.target - state.weight()) @ state.moments
    for _ in range(ROUNDS):
        for group in range(state.entry.shape[2]):
            fit_words(state, residual, group)
            choose_words(state, residual, group)


def fit_words(state: ProductState, residual: Tensor, group: int) -> None:
    """D-step of one group; ``residual`` [O, n] = (W* - What) H is kept up to date.

    The change x of the words solves N x = r, with C[t, k, u, l] the number of outputs that
    use word k at tap t and word l at tap u:

        N[k, l] = sum over t, u of C[t, k, u, l] H[t, u]    r[k] = sum of residual[o, t]
                                                                   over the o, t that use k

    By conjugate gradients, preconditioned by the blocks N[k, k] but for pairs of taps: all of
    N in a linear layer, where one step is the solution.
    """
    d, words = state.group, state.words
    columns, block = _columns(state, group)
    entry = state.entry[:, :, group]

    def gather(rows: Tensor) -> Tensor:
        """[O, T * d] -> the sum over what each word serves [K, d]."""
        total = rows.new_zeros(words, d)
        return total.index_add_(0, entry.reshape(-1), rows.reshape(-1, d))

    inverse = _inverse_blocks(state, group)
    change = torch.zeros_like(state.codebook[group])
    left = gather(residual[:, columns])
    ahead = direction = (left[:, None] @ inverse)[:, 0]
    energy = first = (left * ahead).sum()
    for _ in range(STEPS):
        if energy <= ENOUGH * first:
            break
        image = gather(direction[entry].flatten(1) @ block)
        step = energy / (direction * image).sum().clamp_min(1e-30)
        change, left = change + step * direction, left - step * image
        ahead = (left[:, None] @ inverse)[:, 0]
        before, energy = energy, (left * ahead).sum()
        direction = ahead + energy / before * direction
    state.codebook[group] += change
    residual -= change[entry].flatten(1) @ state.moments[columns]


def _inverse_blocks(state: ProductState, group: int) -> Tensor:
    """[K, d, d]: the inverse of the sum of H[t, t] over the outputs and taps that use a word.

    A ridge holds words that nothing uses, and directions of which the samples say nothing.
    """
    entry, metric = state.entry[:, :, group], state.diagonal[:, group]
    used = torch.nn.functional.one_hot(entry, state.words).sum(0).to(metric.dtype)
    blocks = torch.einsum("tk,tij->kij", used, metric)
    level = RIDGE * blocks.diagonal(dim1=1, dim2=2).mean().clamp_min(1e-30)
    eye = torch.eye(state.group, dtype=metric.dtype, device=metric.device)
    return torch.linalg.inv((blocks + level * eye).double()).to(metric.dtype)


def choose_words(state: ProductState, residual: Tensor, group: int) -> None:
    """B-step of one group: the best word of every output, tap by tap, by trying all."""
    d, book = state.group, state.codebook[group]
    columns, block = _columns(state, group)
    local = residual[:, columns]
    moved = torch.zeros_like(local)
    for tap, metric in enumerate(state.diagonal[:, group]):
        at = slice(tap * d, (tap + 1) * d)
        before = book[state.entry[:, tap, group]]
        linear = before @ metric + local[:, at]
        cost = ((book @ metric) * book).sum(1) - 2 * (linear @ book.T)
        state.entry[:, tap, group] = chosen = cost.argmin(1)
        moved[:, at] = delta = book[chosen] - before
        local = local - delta @ block[at]
    residual -= moved @ state.moments[columns]


def _columns(state: ProductState, group: int) -> tuple[Tensor, Tensor]:
    """The columns [T * d] of one group, tap by tap, and H among them."""
    _, taps, count = state.entry.shape
    device = state.entry.device
    starts = (torch.arange(taps, device=device) * count + group) * state.group
    columns = (starts[:, None] + torch.arange(state.group, device=device)).reshape(-1)
    return columns, state.moments[columns[:, None], columns]
