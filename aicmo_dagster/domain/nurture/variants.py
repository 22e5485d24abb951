"""Which variant of a step a lead gets: drawn by weight, each step on its own.

A lead's place is a salted SHA-256, since cheap hashes and a seed shared by all steps put the leads
of one variant together in the next test. It is stored with the send at the first exposure. Not
here: what follows from the outcomes (`experiments`).
"""

import hashlib
from dataclasses import dataclass

from aicmo_dagster.domain.sections.sequences import Step, Variant

PLACES = 10_000


@dataclass(frozen=True)
class Standing:
    """What an experiment says of new leads.

    Args:
        winner: The variant that they all get, once there is one.
        stopped: Variants that nobody gets any more, since they did harm.
    """

    winner: str | None = None
    stopped: frozenset[str] = frozenset()


UNDECIDED = Standing()


def salt_of(campaign: str, sequence: str, step: str) -> str:
    """What makes the draw of one step independent of every other's."""
    return f"{campaign}|{sequence}|{step}"


def place(salt: str, lead_id: str) -> int:
    """The lead's place in one draw, from 0 to 9999."""
    digest = hashlib.sha256(f"{salt}|{lead_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % PLACES


def draw(step: Step, salt: str, lead_id: str, standing: Standing = UNDECIDED) -> str | None:
    """The variant that the lead gets; None for a step without variants.

    Whoever would draw a variant that was stopped draws once more, among the others.
    """
    if standing.winner is not None:
        return standing.winner
    drawn = by_weight(step.variants, place(salt, lead_id))
    if drawn not in standing.stopped:
        return drawn
    others = [variant for variant in step.variants if variant.id not in standing.stopped]
    return by_weight(others, place(f"{salt}|again", lead_id)) or drawn


def by_weight(variants: list[Variant], position: int) -> str | None:
    """The variant whose share of the places 0-9999 holds `position`."""
    total = sum(option.weight for option in variants)
    reached = 0
    for option in variants:
        reached += option.weight
        if position * total < reached * PLACES:
            return option.id
    return None
