"""Plans that keep to a number of bits per weight, or to a size of the file."""

from __future__ import annotations

from subbyte.budgets import MOST_BITS, Budget
from subbyte.compression.latency.blank import overhead
from subbyte.compression.planning.coding_plan import Planned, options_of, planned_from
from subbyte.compression.planning.knapsack import Choice, choose_finely, least
from subbyte.compression.planning.plan_file import Plan
from subbyte.compression.planning.search_space import Prices
from subbyte.compression.run import Run
from subbyte.errors import BudgetError
from subbyte.methods import EIGHT_BITS

_SIZE_ROUNDS = 8
# Of the constants that are not coded, how many a message names.
_NAMED = 3
# Of a file beside its weights: what varies with the values that are written.
_SIZE_SLACK = 0.02


def plan_bits(prices: Prices, budget: Budget) -> Planned:
    """The least total relative error within so many bits per weight.

    Constants that are not coded count with all their bits. At 8 bits every layer has 8-bit codes,
    and neither scales nor constants take any of them away.
    """
    if at_eight_bits(budget):
        return _eight_bits(prices, budget)
    limit = budget.value * prices.count / 8 - prices.uncoded_bytes
    if least(prices.choices) > limit:
        raise BudgetError(
            "`bits` out of reach for this network and these options",
            expected=f"at least {least_bits(prices):.3f} bits per weight",
            got=f"{budget.value:g}{_uncoded_part(prices)}",
        )
    choice = choose_finely(prices.within(limit), limit)
    return planned_from(budget, choice, uncoded=prices.uncoded)


def least_bits(prices: Prices) -> float:
    """The fewest bits per weight that a plan can have, rounded up to a number that works."""
    needed = int(least(prices.choices) + prices.uncoded_bytes)
    return -(-8 * needed * 1000 // prices.count) / 1000


def at_eight_bits(budget: Budget) -> bool:
    """Whether a budget asks for 8-bit codes in every layer (docs/decisions/0025)."""
    return budget.kind == "bits" and budget.value >= MOST_BITS


def _eight_bits(prices: Prices, budget: Budget) -> Planned:
    """Every layer at 8 bits, but for layers that were trained binary, which have one form."""
    chosen = {
        weight: next((c for c in found if c.options == EIGHT_BITS), found[0])
        for weight, found in prices.choices.items()
    }
    harm = sum(candidate.harm for candidate in chosen.values())
    bits = prices.bits(sum(candidate.bytes for candidate in chosen.values()))
    said = []
    if bits > budget.value:
        counted = "scales and constants that are not coded" if prices.uncoded else "scales"
        said = [f"8-bit codes in all layers: with {counted} {bits:.3f} bits per weight"]
    return planned_from(budget, Choice(chosen, harm, harm), said, prices.uncoded)


def _uncoded_part(prices: Prices) -> str:
    """The part of the network that is not coded, for a message; empty where there is none."""
    largest = sorted(prices.uncoded, key=lambda constant: -constant.nbytes)
    if not largest:
        return ""
    named = ", ".join(map(str, largest[:_NAMED]))
    more = f", and {len(largest) - _NAMED} more" if len(largest) > _NAMED else ""
    return (
        f"; {prices.uncoded_bytes} bytes are not coded and count as they are: {named}{more}; give "
        "a larger budget, or a network without them"
    )


def plan_size(run: Run, prices: Prices, budget: Budget) -> Planned:
    """The least total relative error in a file of so many bytes.

    The bytes beside the weights depend on the methods that are used. They are measured on a blank
    file of the plan, and the plan is made again until both fit.
    """
    smallest = {w: min(c, key=lambda c: c.bytes).options for w, c in prices.choices.items()}
    beside = _beside(run, smallest)
    needed = beside + least(prices.choices)
    for _ in range(_SIZE_ROUNDS):
        limit = budget.value - beside
        if least(prices.choices) > limit:
            raise BudgetError(
                "`size` out of reach for this network and these options",
                expected=f"at least {needed:.0f} bytes",
                got=f"{budget.value:.0f}{_uncoded_part(prices)}",
            )
        choice = choose_finely(prices.within(limit), limit)
        now = _beside(run, options_of(choice))
        if now <= beside:
            break
        beside = now
    said = f"{beside:.0f} bytes of the file are not weights"
    return planned_from(budget, choice, [said], prices.uncoded)


def _beside(run: Run, plan: Plan) -> float:
    return (1 + _SIZE_SLACK) * overhead(run.network, plan, run.config)
