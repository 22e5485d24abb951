"""Which sequence a qualified lead goes through: sticky, fair by weight, within capacity.

What `route` does of all leads at once can be done part by part: `entering`, `left_out` and `kept`
are of some of them. Not here: who is blocked, for overlap or suppression, and whose sequence has
ended; the caller finds that in the database and hands it in. Who may take a sequence: `candidates`;
who takes which: `choosing`.
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow

from aicmo_dagster.domain.campaigns import Campaign
from aicmo_dagster.domain.candidates import by_hand, candidates_among, free_leads, looked_up
from aicmo_dagster.domain.choosing import choose, wishes_of
from aicmo_dagster.domain.drawing import CROWDED, FULL, UNMATCHED, Whole
from aicmo_dagster.domain.facts import one_array
from aicmo_dagster.domain.places import Places, moved_by_hand
from aicmo_dagster.domain.schemas import typed

TEXT = pd.ArrowDtype(pyarrow.string())

NOWHERE = {
    UNMATCHED: "no sequence's condition holds",
    FULL: "every sequence it may go to is full",
    CROWDED: "others of the company are contacted already",
}
"""Why a lead has no route, by what stands in its place."""

BATCH = 10_000
"""The leads hashed at once: a million at once outgrow the processor's cache."""


@dataclass(frozen=True)
class Standing:
    """What routing has to know beside the leads.

    Args:
        blocked: lead_id, cause, reason: those who must not be routed now.
        overrides: lead_id, action (``route:SEQUENCE``), reason, decided_by, decided_at, expires_at;
            one row a lead.
        company_load: Leads that count as contacted, in any campaign, by company domain.
        ended: Routed leads whose sequence has ended; they hold no place any more.
        unsent: Routed leads whose first message is not out or under way, so that they may be moved.
    """

    blocked: pd.DataFrame
    overrides: pd.DataFrame
    company_load: Mapping[str, int]
    ended: Collection[str] = ()
    unsent: Collection[str] = ()


@dataclass(frozen=True)
class Routed:
    """What routing found.

    Args:
        leads: The `RoutedLeads` frame: those in a sequence, first the old ones, then the new ones
            by lead id; `position` tells in which order they were routed.
        decisions: lead_id, outcome (`routed` or `not_routed`), decided_by, reason, cause (the
            reason for counting, or the sequence): every lead of either frame.
        moved: The ids of leads that changed their sequence.
    """

    leads: pd.DataFrame
    decisions: pd.DataFrame
    moved: list[str]


def route(
    qualified: pd.DataFrame,
    routed: pd.DataFrame,
    campaign: Campaign,
    standing: Standing,
    *,
    version: int,
    now: datetime,
) -> Routed:
    """Every qualified lead in a sequence, or the reason why not.

    A lead that is routed already stays where it is, unless an override moves it before its first
    message. The others come best score first and take a sequence whose condition they
    meet and that has room, as `choosing.choose` says. An override goes before condition,
    weight and preference; not before capacity or a block.

    Args:
        qualified: `RawLeads` columns with `score` and engagement: the leads that may be routed, the
            routed ones among them where they are still known.
        routed: The stored `RoutedLeads` frame.
        campaign: The campaign document.
        standing: What else bears on it.
        version: The document's version, which newly routed leads follow to their end.
        now: The instant of routing.
    """
    chosen = by_hand(standing.overrides)
    places = Places.of(campaign, routed, standing.ended, now)
    known = {"ended": standing.ended, "unsent": standing.unsent}
    staying, notes = moved_by_hand(routed, chosen, places, version=version, now=now, **known)
    free = free_leads(qualified, routed["lead_id"], campaign, chosen, standing.blocked)
    candidates = candidates_among(free)
    turns = {str(among): n for among, n in staying["among"].value_counts().items()}
    wishes = wishes_of(candidates, campaign)
    drawn = choose(wishes, turns, campaign, places, standing.company_load).of(candidates)
    last = int(staying["position"].max()) if len(staying) else 0
    key = campaign.campaign
    fresh = entering(candidates, drawn, places, key, after=last, version=version, now=now)
    leads = pd.concat([staying, fresh], ignore_index=True)
    moved = staying["lead_id"][staying["sequence"] != routed["sequence"]]
    return Routed(leads, decisions(free, drawn, leads, notes), moved.tolist())


def _nowhere(candidates: pd.DataFrame, drawn: pd.DataFrame) -> pd.DataFrame:
    """The candidates that drew no sequence, each with the reason."""
    without = drawn["route"] < 0
    why = drawn["route"][without].map(NOWHERE).astype(TEXT)
    return candidates[["lead_id", "words"]][without].assign(cause=why, reason=why)


def _seeds(campaign: str, lead_ids: pd.Series) -> Whole:
    """0-9999 from campaign and lead; SHA-256, since cheap hashes correlate over experiments."""
    ids = one_array(lead_ids)
    digests = b"".join(
        _digests(campaign, ids[start : start + BATCH].to_pylist())
        for start in range(0, len(ids), BATCH)
    )
    first_four_bytes = np.frombuffer(digests, ">u4")[:: hashlib.sha256().digest_size // 4]
    return first_four_bytes.astype(np.int64) % 10_000


def _digests(campaign: str, lead_ids: list[str]) -> bytes:
    return b"".join([hashlib.sha256(f"{campaign}|{lead}".encode()).digest() for lead in lead_ids])


def entering(
    candidates: pd.DataFrame,
    drawn: pd.DataFrame,
    places: Places,
    key: str,
    *,
    after: int,
    version: int,
    now: datetime,
) -> pd.DataFrame:
    """The `RoutedLeads` frame of the candidates that drew a sequence.

    Args:
        candidates: By lead id.
        drawn: What each drew, as `Drawn.of` tells it.
        places: Of the routes that were drawn from.
        key: The campaign.
        after: The position of whoever was routed last.
        version: The document's version, which they follow to their end.
        now: The instant of routing.
    """
    going = drawn["route"] >= 0
    leads = candidates[["lead_id", "score"]][going].reset_index(drop=True)
    drawn = drawn[going].reset_index(drop=True)
    names = pd.Series([route.sequence for route in places.routes], dtype=TEXT)
    columns = {
        "lead_id": leads["lead_id"],
        "sequence": names.array.take(drawn["route"].to_numpy()),
        "campaign_version": version,
        "seed": _seeds(key, leads["lead_id"]),
        "position": after + drawn["turn"],
        "score": leads["score"],
        "among": drawn["among"],
        "reason": drawn["reason"],
        "routed_at": pd.Timestamp(now),
    }
    return typed("routed_leads", columns)


def decisions(
    free: pd.DataFrame, drawn: pd.DataFrame, routed: pd.DataFrame, notes: Mapping[str, str]
) -> pd.DataFrame:
    """One decision a lead, as `Routed` says.

    Args:
        free: From `free_leads`; `words` of those without a sequence are the override's, if any.
        drawn: What the candidates among them drew.
        routed: lead_id, sequence and reason of those who are in a sequence.
        notes: Why leads among these are not where a person wants them.
    """
    return pd.concat([left_out(free, drawn), kept(routed, notes)], ignore_index=True)


def left_out(free: pd.DataFrame, drawn: pd.DataFrame) -> pd.DataFrame:
    """`decisions` about those of `free` that are in no sequence."""
    columns = ["lead_id", "cause", "reason", "words"]
    nowhere = _nowhere(candidates_among(free), drawn)
    barred = free[free["cause"].notna()]
    without = pd.concat([barred[columns], nowhere[columns]], ignore_index=True)
    waiting = (without["words"] + "; it waits: " + without["reason"]).fillna(without["reason"])
    without = without.assign(outcome=_always("not_routed", without), reason=waiting)
    return _decided(without.drop(columns="words"))


def kept(routed: pd.DataFrame, notes: Mapping[str, str]) -> pd.DataFrame:
    """`decisions` about leads that are in a sequence already."""
    return _decided(_within(routed, notes))


def _within(routed: pd.DataFrame, notes: Mapping[str, str]) -> pd.DataFrame:
    """The decisions about leads in a sequence."""
    told = routed["reason"]
    if notes:
        noted = told + "; " + looked_up(routed["lead_id"], pd.Series(notes, dtype=TEXT))
        told = noted.fillna(told)
    return routed[["lead_id"]].assign(
        outcome=_always("routed", routed), reason=told, cause=routed["sequence"]
    )


def _decided(told: pd.DataFrame) -> pd.DataFrame:
    """`told` with who decided it."""
    by_person = told["reason"].str.startswith("override").to_numpy(dtype=bool)
    decider = pd.Series(["routing", "override"], dtype=TEXT)
    return told.assign(decided_by=decider.take(by_person.astype(np.int64)).array).astype(TEXT)


def _always(word: str, leads: pd.DataFrame) -> pd.Series:
    """The same word for each lead; pandas would make a Python object of each."""
    return pd.Series(pyarrow.repeat(word, len(leads)), leads.index, TEXT)
