"""The places in sequences that leads of a campaign hold, and moves by hand between sequences.

Not here: who takes the places that are left (`route`).
"""

from collections import Counter
from dataclasses import dataclass

import pandas as pd

from aicmo_dagster.domain.candidates import by_hand
from aicmo_dagster.domain.places import Places, day_of, moved_by_hand
from aicmo_dagster.stages.deciding.enrol import Enrolling
from aicmo_dagster.stages.deciding.pool import to_move, wanted_moves
from aicmo_dagster.store.enrolments import active_by_sequence, ended_among, entered_between
from aicmo_dagster.store.frames import change_rows, count_by, read_rows_of
from aicmo_dagster.store.moves import take_back_plans


@dataclass(frozen=True)
class Before:
    """How things stand before anybody enters a sequence.

    Args:
        chosen: What people decided, see `candidates.by_hand`.
        places: What each route holds and has room for.
        held: Sequence to how many leads are in it.
        active: Sequence to how many of these are under way.
        moved: The ids of leads that changed their sequence.
        notes: Why others did not that were to.
    """

    chosen: pd.DataFrame
    places: Places
    held: Counter[str]
    active: Counter[str]
    moved: list[str]
    notes: dict[str, str]


def taken_up(enrolling: Enrolling) -> Before:
    """Whom people want in another sequence is there, unless something hinders it."""
    connection, key, now = enrolling.connection, enrolling.key, enrolling.now
    campaign = enrolling.stored.campaign
    moves = wanted_moves(connection, key, now)
    held = count_by(connection, "routed_leads", key, "sequence")
    active = active_by_sequence(connection, key)
    today = entered_between(connection, key, *day_of(now, campaign.zone))
    before = Before(
        by_hand(moves),
        Places.holding(campaign, active, today),
        Counter({name: count for (name,), count in held.items()}),
        Counter(active),
        [],
        {},
    )
    if len(moves):
        _move(enrolling, moves, before)
    return before


def _move(enrolling: Enrolling, moves: pd.DataFrame, before: Before) -> None:
    connection, key = enrolling.connection, enrolling.key
    routed = read_rows_of(connection, "routed_leads", key, moves["lead_id"].tolist())
    moving = to_move(routed, moves)
    staying, notes = moved_by_hand(
        *(routed, before.chosen, before.places),
        ended=ended_among(connection, key, moving),
        unsent=take_back_plans(connection, key, moving),
        version=enrolling.stored.version,
        now=enrolling.now,
    )
    changed = (staying["sequence"] != routed["sequence"]).to_numpy(dtype=bool)
    change_rows(connection, "routed_leads", key, staying[changed])
    enrolling.enrol_again(staying[changed])
    for counts in (before.held, before.active):
        counts.subtract(routed["sequence"][changed].tolist())
        counts.update(staying["sequence"][changed].tolist())
    before.moved.extend(staying["lead_id"][changed])
    before.notes.update(notes)
