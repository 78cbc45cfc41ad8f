"""A plan, once it is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from subbyte.budgets import Budget
from subbyte.compression.planning.knapsack import Choice
from subbyte.compression.planning.plan_file import Plan
from subbyte.graph.network import UncodedConstant


@dataclass(frozen=True)
class Planned:
    """A plan and the facts about it.

    ``plan``: the options of every layer, by weight name. With a budget, ``choice`` has the
    predicted bytes, harm and time of each, and ``facts`` the sentences about it. ``uncoded``: the
    constants that no plan codes, which count against the budget.
    """

    plan: Plan
    budget: Budget | None = None
    choice: Choice | None = None
    facts: Sequence[str] = field(default=())
    uncoded: tuple[UncodedConstant, ...] = ()


def planned_from(
    budget: Budget,
    choice: Choice,
    facts: Sequence[str] = (),
    uncoded: tuple[UncodedConstant, ...] = (),
) -> Planned:
    """The plan of a choice."""
    return Planned(options_of(choice), budget, choice, facts, uncoded)


def options_of(choice: Choice) -> Plan:
    """The options of every layer, by weight name."""
    return {weight: found.options for weight, found in choice.chosen.items()}
