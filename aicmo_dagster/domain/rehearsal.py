"""What a change would do before it is made: who comes and goes, and who goes where instead.

Pure, so that an analyst may hold any two documents against each other: judge or route the same
leads under both, then compare. Not here: judging and routing (`qualification`, `routing`).
"""

from collections import Counter
from collections.abc import Iterable, Mapping

import pandas as pd
import pyarrow

from aicmo_dagster.domain.campaigns import Campaign
from aicmo_dagster.domain.places import Places
from aicmo_dagster.domain.qualification import Qualified
from aicmo_dagster.domain.routing import Routed

TEXT = pd.ArrowDtype(pyarrow.string())


def compare_qualified(before: Iterable[str], after: Qualified) -> pd.DataFrame:
    """Who would enter and who would leave.

    Args:
        before: The ids of those who qualify now.
        after: What would be decided.

    Returns:
        lead_id, change (`enters` or `leaves`), cause, reason; by change and lead. A lead that
        nothing is decided about any more leaves with the cause `no longer scored`.
    """
    held, decisions = set(before), after.decisions
    inside = decisions["outcome"] == "qualified"
    known = decisions["lead_id"].isin(list(held))
    entering = decisions[inside & ~known].assign(change="enters")
    leaving = decisions[~inside & known].assign(change="leaves")
    gone = sorted(held.difference(decisions["lead_id"]))
    lost = pd.DataFrame({"lead_id": gone}).assign(change="leaves", cause="no longer scored")
    columns = ["lead_id", "change", "cause", "reason"]
    parts = (entering, leaving, lost.assign(reason=lost["cause"]))
    changes = pd.concat([part[columns].astype(TEXT) for part in parts])
    return changes.sort_values(["change", "lead_id"], ignore_index=True)


def compare_routed(before: pd.DataFrame, after: Routed) -> pd.DataFrame:
    """Who would be in another sequence than before, or in one at all, or in none any more.

    Args:
        before: lead_id and sequence: a `RoutedLeads` frame, stored or of another rehearsal.
        after: What would be decided.

    Returns:
        lead_id, before and after (sequences, missing where there is none) and reason; by lead.
    """
    held = pd.Series(dict(zip(before["lead_id"], before["sequence"], strict=True)), dtype=object)
    then = after.leads.set_index("lead_id")["sequence"].astype(object)
    leads = sorted({*held.index, *then.index})
    both = pd.DataFrame({"before": held.reindex(leads), "after": then.reindex(leads)}, leads)
    both = both.astype(TEXT).rename_axis("lead_id").reset_index()
    changed = both[both["before"].fillna("") != both["after"].fillna("")]
    why = dict(zip(after.decisions["lead_id"], after.decisions["reason"], strict=True))
    reason = changed["lead_id"].map(why).astype(TEXT)
    return changed.assign(reason=reason).astype(TEXT).reset_index(drop=True)


def distribution(campaign: Campaign, leads: pd.DataFrame, places: Places) -> pd.DataFrame:
    """How many leads each sequence holds, and how near that is to its limits.

    Args:
        campaign: The campaign document.
        leads: A `RoutedLeads` frame.
        places: The places as they were before the leads that are new.

    Returns:
        sequence, weight, capacity and per_day (missing where nothing limits it), leads, active
        (before this run), room (before this run; missing where nothing limits it).
    """
    routes = campaign.routing.sequences
    held = leads["sequence"].value_counts()
    rows = [
        {
            "sequence": route.sequence,
            "weight": route.weight,
            "capacity": route.capacity,
            "per_day": route.per_day,
            "leads": int(held.get(route.sequence, 0)),
            "active": int(load),
            "room": int(room) if room < float("inf") else None,
        }
        for route, load, room in zip(routes, places.load, places.room, strict=True)
    ]
    return pd.DataFrame(rows).astype({"capacity": "Int64", "per_day": "Int64", "room": "Int64"})


def fairness(leads: pd.DataFrame) -> pd.DataFrame:
    """What each sequence had of the turns among the same sequences, and what was its due.

    Args:
        leads: `among` and `sequence` of a `RoutedLeads` frame; who was placed otherwise is left
            out.

    Returns:
        among, sequence, had, due (its part of the turns, by weight); one row for each sequence of
        each `among`. Turns are exact where no row is off by 1 or more.
    """
    turns = leads.dropna(subset=["among"])
    counted = turns.groupby(["among", "sequence"]).size().reset_index(name="had")
    return fairness_of({(a, name): had for a, name, had in counted.itertuples(index=False)})


def fairness_of(had: Mapping[tuple[str, str], int]) -> pd.DataFrame:
    """What `fairness` gives, from the turns that each sequence (second) had among some (first)."""
    counts: Counter[str] = Counter()
    for (among, _), count in had.items():
        counts[among] += count
    rows = []
    for among, count in sorted(counts.items()):
        shares = [part.rpartition(":") for part in among.split()]
        total = sum(int(weight) for _, _, weight in shares)
        for name, _, weight in shares:
            due = count * int(weight) / total
            rows.append((among, name, int(had.get((among, name), 0)), due))
    return pd.DataFrame(rows, columns=["among", "sequence", "had", "due"])
