"""Which sequence a qualified lead goes through: sticky, fair by weight, within capacity.

Not here: who is blocked, for overlap or suppression, and whose sequence has ended; the caller finds
that in the database and hands it in. Who takes which sequence: `choosing`.
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.compute as pc

from aicmo_dagster.domain.campaigns import Campaign
from aicmo_dagster.domain.choosing import choose, conditions_of
from aicmo_dagster.domain.conditions import columns_asked
from aicmo_dagster.domain.drawing import CROWDED, FULL, UNMATCHED, Whole
from aicmo_dagster.domain.facts import one_array
from aicmo_dagster.domain.overrides import in_words
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
    by_hand = _by_hand(standing.overrides)
    places = Places.of(campaign, routed, standing.ended, now)
    known = {"ended": standing.ended, "unsent": standing.unsent}
    staying, notes = moved_by_hand(routed, by_hand, places, version=version, now=now, **known)
    barred, candidates = _free(qualified, routed, campaign, by_hand, standing.blocked)
    drawn = choose(candidates, staying, campaign, places, standing.company_load)
    fresh = _fresh(candidates, drawn, campaign, staying, version, now)
    leads = pd.concat([staying, fresh], ignore_index=True)
    moved = staying["lead_id"][staying["sequence"] != routed["sequence"]]
    decisions = _decisions(barred, _nowhere(candidates, drawn), leads, notes)
    return Routed(leads, decisions, moved.tolist())


def _free(
    qualified: pd.DataFrame,
    routed: pd.DataFrame,
    campaign: Campaign,
    by_hand: pd.DataFrame,
    blocked: pd.DataFrame,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Who is in no sequence yet, by lead id: those who must not be in one, and the candidates.

    `chosen` and `words` are an override's sequence and reason.
    """
    needed = columns_needed(campaign) | {"score"}
    looked_at = qualified[[name for name in qualified if name in needed]]
    free = _by_id(looked_at[~looked_at["lead_id"].isin(routed["lead_id"])])
    chosen = _looked_up(free["lead_id"], by_hand["sequence"])
    words = _looked_up(free["lead_id"], by_hand["words"])
    free = _with_bars(free.assign(chosen=chosen, words=words), blocked)
    is_barred = free["cause"].notna()
    return free[is_barred], free[~is_barred].reset_index(drop=True)


def _by_id(leads: pd.DataFrame) -> pd.DataFrame:
    """In the order of their ids, in which the store hands them over anyway."""
    ids = one_array(leads["lead_id"])
    if pc.all(pc.less(ids[:-1], ids[1:])).as_py():
        return leads.reset_index(drop=True)
    return leads.take(pc.sort_indices(ids).to_numpy()).reset_index(drop=True)


def _nowhere(candidates: pd.DataFrame, drawn: pd.DataFrame) -> pd.DataFrame:
    """The candidates that drew no sequence, each with the reason."""
    without = drawn["route"] < 0
    why = drawn["route"][without].map(NOWHERE).astype(TEXT)
    return candidates[["lead_id", "words"]][without].assign(cause=why, reason=why)


def _by_hand(overrides: pd.DataFrame) -> pd.DataFrame:
    """Lead to the sequence that a person chose, and why in words."""
    columns = {
        "lead_id": overrides["lead_id"],
        "sequence": overrides["action"].str.removeprefix("route:").astype(TEXT),
        "words": in_words(overrides),
    }
    return pd.DataFrame(columns).set_index("lead_id")


def columns_needed(campaign: Campaign) -> set[str]:
    """The columns of raw leads that routing looks at: reading and picking cost by the column."""
    conditions = conditions_of(campaign.routing.sequences)
    return {"lead_id", "email", "domain"} | columns_asked(conditions)


def _with_bars(free: pd.DataFrame, blocked: pd.DataFrame) -> pd.DataFrame:
    """`free` with cause and reason why a lead must not be routed, missing where it may."""
    by_lead = blocked.set_index("lead_id")
    why = {name: _looked_up(free["lead_id"], by_lead[name]) for name in ("cause", "reason")}
    homeless = why["cause"].isna() & free["email"].isna()
    return free.assign(**{name: text.mask(homeless, "no address") for name, text in why.items()})


def _looked_up(lead_ids: pd.Series, texts: pd.Series) -> pd.Series:
    """What `texts` says of each lead, missing where it says nothing; joins fail on empty frames."""
    if texts.empty:
        return pd.Series(pd.NA, lead_ids.index, TEXT)
    return lead_ids.map(texts.to_dict()).astype(TEXT)


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


def _fresh(
    candidates: pd.DataFrame,
    drawn: pd.DataFrame,
    campaign: Campaign,
    routed: pd.DataFrame,
    version: int,
    now: datetime,
) -> pd.DataFrame:
    going = drawn["route"] >= 0
    leads = candidates[["lead_id", "score"]][going].reset_index(drop=True)
    drawn = drawn[going].reset_index(drop=True)
    names = pd.Series([route.sequence for route in campaign.routing.sequences], dtype=TEXT)
    last = int(routed["position"].max()) if len(routed) else 0
    columns = {
        "lead_id": leads["lead_id"],
        "sequence": names.array.take(drawn["route"].to_numpy()),
        "campaign_version": version,
        "seed": _seeds(campaign.campaign, leads["lead_id"]),
        "position": last + drawn["turn"],
        "score": leads["score"],
        "among": drawn["among"],
        "reason": drawn["reason"],
        "routed_at": pd.Timestamp(now),
    }
    return typed("routed_leads", columns)


def _decisions(
    barred: pd.DataFrame, nowhere: pd.DataFrame, leads: pd.DataFrame, notes: Mapping[str, str]
) -> pd.DataFrame:
    """One decision a lead; `words` of those without a sequence are the override's, if any."""
    columns = ["lead_id", "cause", "reason", "words"]
    without = pd.concat([barred[columns], nowhere[columns]], ignore_index=True)
    waiting = (without["words"] + "; it waits: " + without["reason"]).fillna(without["reason"])
    without = without.assign(outcome=_always("not_routed", without), reason=waiting)
    told = leads["reason"]
    if notes:
        noted = told + "; " + _looked_up(leads["lead_id"], pd.Series(notes, dtype=TEXT))
        told = noted.fillna(told)
    within = leads[["lead_id"]].assign(
        outcome=_always("routed", leads), reason=told, cause=leads["sequence"]
    )
    decisions = pd.concat([without.drop(columns="words"), within], ignore_index=True)
    by_hand = decisions["reason"].str.startswith("override").to_numpy(dtype=bool)
    decider = pd.Series(["routing", "override"], dtype=TEXT)
    return decisions.assign(decided_by=decider.take(by_hand.astype(np.int64)).array).astype(TEXT)


def _always(word: str, leads: pd.DataFrame) -> pd.Series:
    """The same word for each lead; pandas would make a Python object of each."""
    return pd.Series(pyarrow.repeat(word, len(leads)), leads.index, TEXT)
