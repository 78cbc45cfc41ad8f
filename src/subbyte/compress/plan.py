"""Which way each layer is coded, chosen under a budget of bits."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from subbyte.compress.candidates import (
    DEFAULT_PLANES,
    DEFAULT_PRODUCT,
    DEFAULT_RANK_RATIO,
    DEFAULT_SCALAR,
    Candidate,
    balanced,
    binary_options,
    keeps_eight_bits,
    layer_candidates,
    may_be_binary,
    too_small,
)
from subbyte.compress.device import few_threads
from subbyte.compress.encode import LayerOptions
from subbyte.compress.options import CompressOptions
from subbyte.compress.plan_file import (
    EIGHT_BITS,
    Plan,
    planned_layers,
    read_plan,
    trained_options,
)
from subbyte.compress.sequence import Progress
from subbyte.compress.statistics import collect
from subbyte.data import Samples
from subbyte.errors import BudgetError, OptionError, WeightError
from subbyte.graph.layers import canonical, output_layers
from subbyte.graph.module import GraphModule
from subbyte.graph.network import Layer, Network
from subbyte.graph.topology import known
from subbyte.methods.composite.form import CompositeOptions
from subbyte.methods.product.form import (
    WORDS,
    ProductOptions,
    check_words,
    most_words,
    sub_columns,
)
from subbyte.methods.scalar.exact import least_bits
from subbyte.methods.scalar.form import ScalarOptions
from subbyte.methods.ternary.form import TernaryOptions, rank_of

# d and K of the paper's AlexNet.
PUBLISHED_CONV, PUBLISHED_LINEAR, PUBLISHED_LAST = (8, 128), (4, 32), (1, 16)


def make_plan(
    network: Network,
    samples: Samples,
    options: CompressOptions,
    device: torch.device,
    progress: Progress,
) -> Plan:
    """The options of every layer, by weight name."""
    layers = planned_layers(network)
    if options.plan is not None:
        plan = read_plan(options.plan, layers)
        _check_words(plan, layers)
        return plan
    _check_trained(layers, options)
    if options.procedure == "exact":
        return _plan_of_grids(network, layers)
    if options.words is not None:
        _check_some_words(layers, options.words)
    if options.bits is None:
        kept = kept_at_eight_bits(network, layers, options)
        outputs = output_layers(network)
        return {
            layer.weight: _default(layer, options, layer.weight in kept, layer.weight in outputs)
            for layer in layers
        }
    return _plan_for_bits(network, layers, samples, options, device, progress)


def kept_at_eight_bits(
    network: Network, layers: list[Layer], options: CompressOptions
) -> frozenset[str]:
    """Weights that go below 8 bits only where a budget is out of reach otherwise.

    With ``binary`` also the output layers, layers of which no binary form is known, and all
    layers that were not trained binary in a network where others were.
    """
    kept = {layer.weight for layer in layers if keeps_eight_bits(layer)}
    if options.method == "binary":
        trained = any(layer.binarisation for layer in layers)
        kept |= output_layers(network)
        kept |= {layer.weight for layer in layers if trained or not may_be_binary(layer)}
    return frozenset(kept - {layer.weight for layer in layers if layer.binarisation})


def _check_trained(layers: list[Layer], options: CompressOptions) -> None:
    """Raise `OptionError` where another method is asked for than the network was trained for."""
    trained = next((layer for layer in layers if layer.binarisation), None)
    if trained is not None and options.method != "binary":
        raise OptionError(
            "the network has layers that were trained binary",
            where=trained.name,
            expected="--method binary",
            got=options.method,
        )


def _check_words(plan: Plan, layers: list[Layer]) -> None:
    for layer in layers:
        found = plan[layer.weight]
        if isinstance(found, ProductOptions):
            try:
                check_words(layer.shape, found)
            except OptionError as error:
                raise OptionError(
                    f"plan: {error.what}", where=layer.name, expected=error.expected, got=error.got
                ) from error


def _check_some_words(layers: list[Layer], words: int) -> None:
    """`OptionError` where no layer that may be coded fills so many words."""
    coded = [layer for layer in layers if not too_small(layer)]
    columns = max((sub_columns(layer.shape) for layer in coded), default=0)
    if words > most_words(columns):
        raise OptionError(
            f"--words: no layer has more than {columns} sub-columns",
            expected=f"at most {most_words(columns)}",
            got=words,
        )


def _plan_of_grids(network: Network, layers: list[Layer]) -> Plan:
    """Every layer whose weights lie on a grid keeps them, in the fewest bits that hold it."""
    plan: Plan = {}
    for layer in layers:
        weight = torch.tensor(known(layer.node.inputs[1]), dtype=torch.float32)
        bits = least_bits(canonical(layer, weight))
        plan[layer.weight] = EIGHT_BITS if bits is None else ScalarOptions(bits, exact=True)
    if all(found == EIGHT_BITS for found in plan.values()):
        raise WeightError(
            "--procedure exact: no layer's weights lie on a grid",
            where=network.name,
            expected="levels of 2, 3 or 4 bits times a scale per output",
        )
    return plan


def _default(layer: Layer, options: CompressOptions, kept: bool, output: bool) -> LayerOptions:
    if layer.binarisation is not None:
        return trained_options(layer.binarisation)
    if options.method == "product" and options.procedure in ("paper", "paper-plain"):
        return _published_product(layer, options, output)
    if kept:
        return EIGHT_BITS
    if options.method == "binary":
        return binary_options(layer, options)
    if options.method == "scalar":
        return DEFAULT_SCALAR
    if options.method == "ternary":
        ratio = options.rank_ratio or DEFAULT_RANK_RATIO
        return TernaryOptions(rank_of(layer.shape, ratio, options.rank))
    if options.method == "composite":
        return CompositeOptions(
            **{"planes": DEFAULT_PLANES[options.procedure]} | options.composite()
        )
    group = options.group or DEFAULT_PRODUCT.group
    gain = DEFAULT_PRODUCT.gain if options.gain is None else options.gain
    wanted = options.words or DEFAULT_PRODUCT.words
    return ProductOptions(group, min(wanted, most_words(sub_columns(layer.shape))), gain)


def _published_product(layer: Layer, options: CompressOptions, output: bool) -> LayerOptions:
    """Q-CNN's setting for AlexNet: convolutions 8/128, linear layers 4/32, the last 1/16.

    ``--group`` and ``--words`` stand in for all of these but the last layer's. A layer of
    fewer channels is one subspace of them; one that does not fill the words takes fewer, and
    one that does not fill 16 keeps 8 bits.
    """
    shape, linear = layer.shape, layer.op == "Linear"
    columns = sub_columns(shape)
    if too_small(layer) or columns < min(WORDS):
        return EIGHT_BITS
    group, words = PUBLISHED_LINEAR if linear else PUBLISHED_CONV
    group, words = options.group or group, options.words or words
    if linear and output:
        group, words = PUBLISHED_LAST
    return ProductOptions(
        min(group, shape.inputs),
        min(words, most_words(columns)),
        procedure="paper-plain" if options.procedure == "paper-plain" else "paper",
    )


def _plan_for_bits(
    network: Network,
    layers: list[Layer],
    samples: Samples,
    options: CompressOptions,
    device: torch.device,
    progress: Progress,
) -> Plan:
    """The least total relative error within ``options.bits``.

    Every layer's error counts alike, relative to its output: each is partly made good by
    the layers after it, and weighting them by what they do alone to the network's output
    did worse (docs/decisions). Layers that are kept at 8 bits by default go below only
    where the budget is out of reach otherwise.
    """
    module = GraphModule(network).to(device).eval()
    statistics = collect(module, layers, samples, device)
    outputs = output_layers(network)
    choices = {}
    for number, layer in enumerate(layers):
        progress("plan", number, len(layers), layer.name)
        weight = canonical(layer, module.constant(layer.weight).detach())
        data = statistics[layer.weight]
        if layer.weight in outputs:
            weight, data = balanced(weight, data)
        with few_threads(0):
            found = layer_candidates(layer, weight, data, options, options.seed)
        choices[layer.weight] = found
    progress("plan", len(layers), len(layers), "")
    budget = _budget(layers, options)
    kept = kept_at_eight_bits(network, layers, options)
    precise = {weight: [c for c in choices[weight] if c.options == EIGHT_BITS] for weight in kept}
    if _least(choices | precise) <= budget:
        choices |= precise
    _check_reach(choices, layers, options)
    return {weight: found.options for weight, found in choose(choices, budget).items()}


def _budget(layers: list[Layer], options: CompressOptions) -> float:
    """Bytes that ``options.bits`` allows for all weights together."""
    assert options.bits is not None  # noqa: S101 - the caller's branch
    return options.bits * sum(layer.shape.count for layer in layers) / 8


def _least(choices: Mapping[str, list[Candidate]]) -> int:
    return sum(min(candidate.bytes for candidate in found) for found in choices.values())


def _check_reach(
    choices: Mapping[str, list[Candidate]], layers: list[Layer], options: CompressOptions
) -> None:
    least = _least(choices)
    if least > _budget(layers, options):
        # Rounded up, so that the number it names is one that works.
        needed = -(-8 * least * 1000 // sum(layer.shape.count for layer in layers)) / 1000
        raise BudgetError(
            "--bits out of reach for this network and these options",
            expected=f"at least {needed:.3f} bits per weight",
            got=options.bits,
        )


def choose(choices: Mapping[str, list[Candidate]], budget: float) -> dict[str, Candidate]:
    """The candidate of every layer with the least total harm within ``budget`` bytes.

    Lagrangian relaxation (each layer minimises harm + price * bytes; the price is
    bisected), then what is left of the budget is spent greedily on the upgrade with the
    best gain per byte. The layers must fit the budget with their smallest candidates.
    """
    low, high = 0.0, 1e6
    best = _at_price(choices, high)
    if _bytes(best) > budget:
        best = {w: min(found, key=lambda c: (c.bytes, c.harm)) for w, found in choices.items()}
    for _ in range(100):
        price = (low * high) ** 0.5 if low > 0 else high / 1e3
        trial = _at_price(choices, price)
        if _bytes(trial) <= budget:
            best, high = trial, price
        else:
            low = price
        if high < 1e-18:
            break
    return _spend_rest(choices, best, budget)


def _at_price(choices: Mapping[str, list[Candidate]], price: float) -> dict[str, Candidate]:
    return {
        weight: min(found, key=lambda c: (c.harm + price * c.bytes, c.bytes))
        for weight, found in choices.items()
    }


def _bytes(chosen: Mapping[str, Candidate]) -> int:
    return sum(candidate.bytes for candidate in chosen.values())


def _spend_rest(
    choices: Mapping[str, list[Candidate]], chosen: dict[str, Candidate], budget: float
) -> dict[str, Candidate]:
    while True:
        left = budget - _bytes(chosen)
        upgrades = [
            ((now.harm - c.harm) / (c.bytes - now.bytes), weight, c)
            for weight, now in chosen.items()
            for c in choices[weight]
            if c.harm < now.harm and 0 < c.bytes - now.bytes <= left
        ]
        if not upgrades:
            return chosen
        _, weight, candidate = max(upgrades, key=lambda u: (u[0], u[1]))
        chosen = chosen | {weight: candidate}
