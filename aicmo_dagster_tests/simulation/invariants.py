"""What must hold of any campaign at any time, whatever befell it: each breach in words.

Not here: making things befall (`enduring`).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import sqlalchemy as sa

from aicmo_dagster.simulation.behaviour import Letter
from aicmo_dagster.simulation.post import Journal
from aicmo_dagster.stages.leads.explain import explain_lead
from aicmo_dagster.stages.summary import dispositions
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.claiming import STOPPING_EVENTS
from aicmo_dagster.store.frames import read_frame
from aicmo_dagster.store.harvests import reject_counts
from aicmo_dagster.store.tables import decisions, events, nurture_sends

DAY, HOUR = timedelta(days=1), timedelta(hours=1)

ACCOUNTS = 8
"""Leads whose account is read, spread over all of them: each costs as much as scoring anew."""


Span = tuple[datetime, datetime]


def breaches(
    workspace: Workspace,
    keys: list[str],
    journal: Journal,
    now: datetime,
    repeated: Sequence[Span] = (),
) -> list[str]:
    """Every invariant that does not hold of the campaigns `keys`, whose mail is in `journal`.

    Args:
        workspace: The campaigns'.
        keys: Theirs.
        journal: What arrived.
        now: The end.
        repeated: Hours that the clock showed twice, in which nobody can tell before from after.
    """
    sends = _sends(workspace, keys)
    found = [*_mailed_twice(journal)]
    found += _written_to_after_a_stop(workspace, sends, journal, repeated)
    found += _lost(sends, journal)
    for key in keys:
        found += [f"{key}: {text}" for text in _unaccounted(workspace, key)]
        found += [f"{key}: {text}" for text in _beyond_caps(workspace, key, journal.letters)]
        found += [f"{key}: {text}" for text in _unexplained(workspace, key, sends, now)]
    return found


def _sends(workspace: Workspace, keys: list[str]) -> pd.DataFrame:
    names = ["campaign", "lead_id", "step", "state", "message_id", "sent_at", "reason"]
    with workspace.database.read() as connection:
        query = sa.select(*(nurture_sends.c[name] for name in names))
        return pd.read_sql(query.where(nurture_sends.c.campaign.in_(keys)), connection)


def _mailed_twice(journal: Journal) -> Iterator[str]:
    counts = Counter(letter.message_id for letter in journal.letters)
    if twice := [count for count in counts.values() if count > 1]:
        yield f"{len(twice)} messages arrived more than once"


def _written_to_after_a_stop(
    workspace: Workspace, sends: pd.DataFrame, journal: Journal, repeated: Sequence[Span]
) -> Iterator[str]:
    named = sends[["campaign", "lead_id"]].itertuples(index=False, name=None)
    whose = dict(zip(sends["message_id"], named, strict=True))
    last: dict[tuple[str, str], datetime] = {}
    for letter in journal.letters:
        lead = whose.get(letter.message_id)
        if lead is None:
            yield "a message arrived that no send stands for"
        else:
            last[lead] = max(last.get(lead, letter.arrived_at), letter.arrived_at)
    with workspace.database.read() as connection:
        query = sa.select(events.c.campaign, events.c.lead_id, events.c.kind, events.c.happened_at)
        for row in connection.execute(query.where(events.c.kind.in_(STOPPING_EVENTS))):
            written = last.get((row.campaign, row.lead_id))
            unclear = any(
                start <= row.happened_at and (written or end) <= end for start, end in repeated
            )
            if written is not None and written > row.happened_at and not unclear:
                yield f"a message went out after a {row.kind}"


def _lost(sends: pd.DataFrame, journal: Journal) -> Iterator[str]:
    """What left and what the ledger says has left are the same."""
    states = dict(zip(sends["message_id"], sends["state"], strict=True))
    for letter in journal.letters:
        if states.get(letter.message_id) not in ("accepted", "unknown"):
            yield f"a message arrived whose send is {states.get(letter.message_id)}"
    accepted = {name for name, state in states.items() if state == "accepted"}
    if missing := accepted - journal.known:
        yield f"{len(missing)} sends are accepted and never arrived"
    if hanging := [state for state in states.values() if state in ("claimed", "attempting")]:
        yield f"{len(hanging)} sends are {hanging[0]} though nobody works on them"


def _unaccounted(workspace: Workspace, key: str) -> Iterator[str]:
    """Every lead is in exactly one place, and the stages' counts add up."""
    with workspace.database.read() as connection:
        raw = read_frame(connection, "raw_leads", key, ["lead_id"])["lead_id"]
        scored = read_frame(connection, "scored_leads", key, ["lead_id"])["lead_id"]
        routed = read_frame(connection, "routed_leads", key, ["lead_id"])["lead_id"]
        sends = read_frame(connection, "nurture_sends", key, ["lead_id"])["lead_id"]
        rejected = sum(reject_counts(connection, key).values())
    places = dispositions(workspace, key)
    if sum(places.values()) != len(raw) + rejected:
        yield f"{len(raw)} leads and {rejected} rejects are in {places}"
    if raw.duplicated().any() or set(scored) != set(raw):
        yield "scored leads are not the raw leads"
    if not set(routed) <= set(raw):
        yield "somebody is routed who is no lead"
    if not set(sends) <= set(routed):
        yield "somebody who is not routed has sends"


def _beyond_caps(workspace: Workspace, key: str, letters: list[Letter]) -> Iterator[str]:
    nurture = workspace.campaign(key).campaign.nurture
    caps, sender = nurture.caps, nurture.sender.address
    mine = [letter for letter in letters if letter.sender == sender]
    times = np.sort(np.array([_plain(each.arrived_at) for each in mine], dtype="datetime64[us]"))
    if caps.per_sender_per_day and _most(times, DAY) > caps.per_sender_per_day:
        yield f"{_most(times, DAY)} mails within a day"
    by_domain: dict[str, list[datetime]] = {}
    for each in mine:
        domain = each.recipient.rpartition("@")[2]
        by_domain.setdefault(domain, []).append(_plain(each.arrived_at))
    for arrived in by_domain.values():
        most = _most(np.sort(np.array(arrived, dtype="datetime64[us]")), HOUR)
        if caps.per_domain_per_hour and most > caps.per_domain_per_hour:
            yield f"{most} mails to a domain within an hour"


def _unexplained(
    workspace: Workspace, key: str, sends: pd.DataFrame, now: datetime
) -> Iterator[str]:
    """Each lead's decisions are kept, and its account holds its harvest and every send."""
    with workspace.database.read() as connection:
        leads = read_frame(connection, "raw_leads", key, ["lead_id"])["lead_id"].tolist()
        qualified = read_frame(connection, "qualified_leads", key, ["lead_id"])["lead_id"]
        query = sa.select(decisions.c.stage, decisions.c.lead_id).distinct()
        rows = connection.execute(query.where(decisions.c.campaign == key))
        decided = {(row.stage, row.lead_id) for row in rows}
    undecided = [lead for lead in leads if ("qualified_leads", lead) not in decided]
    undecided += [lead for lead in qualified if ("routed_leads", lead) not in decided]
    if undecided:
        yield f"{len(undecided)} leads went on or did not, and no decision says why"
    mine = sends[sends["campaign"] == key].groupby("lead_id")["step"].count()
    for lead_id in leads[:: max(len(leads) // ACCOUNTS, 1)]:
        entries = explain_lead(workspace, key, lead_id, now).entries
        stages = Counter(entry.stage for entry in entries)
        if not stages["raw_leads"] or stages["nurture_sends"] < mine.get(lead_id, 0):
            yield "the account of a lead lacks its harvest or a send"


def _most(times: np.ndarray, window: timedelta) -> int:
    """The most instants within any `window`; those a whole window apart are not within one."""
    if not len(times):
        return 0
    begin = np.searchsorted(times, times - np.timedelta64(window), side="right")
    return int((np.arange(1, len(times) + 1) - begin).max())


def _plain(at: datetime) -> datetime:
    return at.replace(tzinfo=None)
