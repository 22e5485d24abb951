"""Which sequence a qualified lead goes through: sticky, fair by weight, within capacity.

Not here: who is blocked, for overlap or suppression, and whose sequence has ended; the caller finds
that in the database and hands it in. The drawing of lots: `drawing`.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.compute as pc

from aicmo_dagster.domain.addresses import FREE_MAIL
from aicmo_dagster.domain.campaigns import Campaign, Route
from aicmo_dagster.domain.conditions import Condition, fields
from aicmo_dagster.domain.drawing import CROWDED, FULL, UNMATCHED, Crowd, Grid, Lots, Whole
from aicmo_dagster.domain.facts import Facts, Numbers, mask, one_array
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
        leads: The `RoutedLeads` frame: those in a sequence, old and new.
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
    message. The others come best score first, as `_in_order` says, and take a sequence whose
    condition they meet and that has room, as `_draw` does. An override goes before condition,
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
    drawn = _draw(candidates, staying, campaign, places, standing.company_load)
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
    """Who is in no sequence yet: those who must not be in one, and the others in their order."""
    looked_at = qualified[_looked_at(campaign, qualified)]
    free = _in_order(looked_at[~looked_at["lead_id"].isin(routed["lead_id"])], by_hand)
    free = _with_bars(free, blocked)
    is_barred = free["cause"].notna()
    return free[is_barred], free[~is_barred].reset_index(drop=True)


def _nowhere(candidates: pd.DataFrame, drawn: pd.DataFrame) -> pd.DataFrame:
    """The candidates that drew no sequence, each with the reason."""
    why = drawn["route"].map(NOWHERE).astype(TEXT)
    return candidates.assign(cause=why, reason=why)[drawn["route"] < 0]


def _by_hand(overrides: pd.DataFrame) -> pd.DataFrame:
    """Lead to the sequence that a person chose, and why in words."""
    columns = {
        "lead_id": overrides["lead_id"],
        "sequence": overrides["action"].str.removeprefix("route:").astype(TEXT),
        "words": in_words(overrides),
    }
    return pd.DataFrame(columns).set_index("lead_id")


def _looked_at(campaign: Campaign, leads: pd.DataFrame) -> list[str]:
    """The columns that routing looks at: putting a million leads in order costs by the column."""
    routes = campaign.routing.sequences
    conditions = [*(r.when for r in routes if r.when), *_preferences(routes)]
    asked = {name if "." not in name else "custom" for each in conditions for name in fields(each)}
    return [name for name in leads if name in asked | {"lead_id", "email", "domain", "score"}]


def _in_order(free: pd.DataFrame, by_hand: pd.DataFrame) -> pd.DataFrame:
    """Those with an override first, then best score first, whatever the order of the rows.

    Ties are broken by lead id; `chosen` and `words` are the override's.
    """
    chosen = _looked_up(free["lead_id"], by_hand["sequence"])
    words = _looked_up(free["lead_id"], by_hand["words"])
    keys = {"later": chosen.isna(), "score": free["score"], "lead_id": free["lead_id"]}
    directions = [("later", "ascending"), ("score", "descending"), ("lead_id", "ascending")]
    order = pc.sort_indices(pyarrow.table({k: one_array(v) for k, v in keys.items()}), directions)
    return free.assign(chosen=chosen, words=words).take(order.to_numpy())


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


def _draw(
    candidates: pd.DataFrame,
    routed: pd.DataFrame,
    campaign: Campaign,
    places: Places,
    company_load: Mapping[str, int],
) -> pd.DataFrame:
    """What each candidate drew: `route` (or why none), `among` and `reason` of that choice.

    - `weighted_round_robin`: the next turn by weight, exactly: after any number of turns among the
      same sequences, each of these is within one of its share.
    - `least_loaded`: the one with the fewest active leads for its weight, ties by the document.
    - `best_match`: the one of whose preferences it meets the largest share, ties by load.
    """
    routes = places.routes
    facts = Facts(candidates, [*(r.when for r in routes if r.when), *_preferences(routes)])
    lots = Lots(
        _eligible(routes, facts),
        [route.sequence for route in routes],
        [route.weight for route in routes],
        places.room,
        _crowd(candidates, company_load, campaign.routing.overlap.per_company),
        Counter({str(k): n for k, n in routed["among"].value_counts().items()}),
    )
    if campaign.routing.strategy == "weighted_round_robin":
        drawn = _by_turns(lots)
    else:
        fit = campaign.routing.strategy == "best_match"
        drawn = _by_fit(lots, places, _met(routes, facts) if fit else None)
    by_hand = candidates["chosen"].notna()
    drawn["among"] = drawn["among"].mask(by_hand, pd.NA)
    drawn["reason"] = drawn["reason"].mask(by_hand, candidates["words"])
    return drawn


def _by_turns(lots: Lots) -> pd.DataFrame:
    chosen, groups = lots.draw_by_turns()
    codes, group_of = np.unique(groups, return_inverse=True)
    among = pd.Series([lots.among(code) for code in codes.tolist()], dtype=TEXT)
    of_each = among.take(group_of).reset_index(drop=True)
    names = _names(lots, chosen)
    words = pd.Series([_choice_in_words(lots, code) for code in codes.tolist()], dtype=TEXT)
    reason = "its turn for '" + names + "', " + words.take(group_of).reset_index(drop=True)
    return pd.DataFrame({"route": chosen, "among": of_each, "reason": reason})


def _choice_in_words(lots: Lots, group: int) -> str:
    shares = [part.rpartition(":") for part in lots.among(group).split()]
    if len(shares) == 1:
        return "the only sequence it may go to"
    return "by weight among " + ", ".join(f"'{name}' ({weight})" for name, _, weight in shares)


def _by_fit(lots: Lots, places: Places, met: Numbers | None) -> pd.DataFrame:
    """By the share of preferences that is `met`, and by load alone where there is none."""
    share = np.zeros(lots.eligible.shape) if met is None else met
    chosen = lots.draw_by_fit(places.load.tolist(), share)
    names = _names(lots, chosen)
    if met is None:
        reason = "'" + names + "' has the fewest active leads for its weight"
    else:
        own = np.round(100 * share[np.arange(len(chosen)), np.maximum(chosen, 0)]).astype(np.int64)
        percent = pd.Series(own).astype(TEXT)
        reason = "'" + names + "' fits best: " + percent + "% of its preferences are met"
    return pd.DataFrame({"route": chosen, "among": pd.NA, "reason": reason})


def _names(lots: Lots, chosen: Whole) -> pd.Series:
    """The name of each chosen route, missing where there is none."""
    names = pd.Series([*lots.names, None], dtype=TEXT)
    return names.take(np.where(chosen < 0, len(lots.names), chosen)).reset_index(drop=True)


def _preferences(routes: list[Route]) -> list[Condition]:
    return [preference for route in routes for preference in route.prefer]


def _eligible(routes: list[Route], facts: Facts) -> Grid:
    """Whether a lead (row) may go to a route (column): by hand, else by the route's condition."""
    everyone = np.ones(len(facts.leads), dtype=bool)
    grid = np.column_stack([mask(r.when, facts) if r.when else everyone for r in routes])
    chosen = facts.leads["chosen"]
    by_hand = np.flatnonzero(chosen.notna())
    for position, route in enumerate(routes):
        grid[by_hand, position] = (chosen.iloc[by_hand] == route.sequence).to_numpy(dtype=bool)
    return grid


def _met(routes: list[Route], facts: Facts) -> Numbers:
    """The share of a route's (column) preferences that a lead (row) meets; 0 where it has none."""
    none = np.zeros(len(facts.leads))
    parts = [[mask(preference, facts) for preference in route.prefer] for route in routes]
    return np.column_stack([np.mean(part, axis=0) if part else none for part in parts])


def _crowd(candidates: pd.DataFrame, load: Mapping[str, int], limit: int | None) -> Crowd:
    if limit is None:
        return Crowd(np.full(len(candidates), -1), np.zeros(0, np.int64), None)
    companies = candidates["domain"].mask(candidates["domain"].isin(FREE_MAIL))
    company, domains = pd.factorize(companies)
    contacted = np.array([load.get(domain, 0) for domain in domains.tolist()], np.int64)
    return Crowd(company, contacted, limit)


def _seed(campaign: str, lead_id: str) -> int:
    """0-9999 from campaign and lead; SHA-256, since cheap hashes correlate over experiments."""
    return int(hashlib.sha256(f"{campaign}|{lead_id}".encode()).hexdigest()[:8], 16) % 10_000


def _fresh(
    candidates: pd.DataFrame,
    drawn: pd.DataFrame,
    campaign: Campaign,
    routed: pd.DataFrame,
    version: int,
    now: datetime,
) -> pd.DataFrame:
    going = drawn["route"] >= 0
    leads = candidates[going].reset_index(drop=True)
    drawn = drawn[going].reset_index(drop=True)
    names = pd.Series([route.sequence for route in campaign.routing.sequences], dtype=TEXT)
    last = int(routed["position"].max()) if len(routed) else 0
    columns = {
        "lead_id": leads["lead_id"],
        "sequence": names.take(drawn["route"].to_numpy()).reset_index(drop=True),
        "campaign_version": version,
        "seed": [_seed(campaign.campaign, lead) for lead in leads["lead_id"].tolist()],
        "position": np.arange(last + 1, last + 1 + len(leads)),
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
    without = without.assign(outcome="not_routed", reason=waiting)
    told = leads["reason"] + "; " + _looked_up(leads["lead_id"], pd.Series(notes, dtype=TEXT))
    within = leads[["lead_id"]].assign(
        outcome="routed", reason=told.fillna(leads["reason"]), cause=leads["sequence"]
    )
    decisions = pd.concat([without.drop(columns="words"), within], ignore_index=True)
    by_hand = decisions["reason"].str.startswith("override").to_numpy(dtype=bool)
    decided_by = np.where(by_hand, "override", "routing")
    return decisions.assign(decided_by=decided_by).astype(TEXT)
