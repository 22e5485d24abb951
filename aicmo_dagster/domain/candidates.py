"""Who is to be routed: the leads in no sequence yet, and which of them must not be in one.

Not here: which sequence the others take (`choosing`), or the decisions (`routing`).
"""

import pandas as pd
import pyarrow
import pyarrow.compute as pc

from aicmo_dagster.domain.campaigns import Campaign
from aicmo_dagster.domain.choosing import conditions_of
from aicmo_dagster.domain.conditions import columns_asked
from aicmo_dagster.domain.facts import one_array
from aicmo_dagster.domain.overrides import in_words

TEXT = pd.ArrowDtype(pyarrow.string())


def by_hand(overrides: pd.DataFrame) -> pd.DataFrame:
    """Lead to the sequence that a person chose, and why in words."""
    columns = {
        "lead_id": overrides["lead_id"],
        "sequence": overrides["action"].str.removeprefix("route:").astype(TEXT),
        "words": in_words(overrides),
    }
    return pd.DataFrame(columns).set_index("lead_id")


def free_leads(
    qualified: pd.DataFrame,
    routed: pd.Series,
    campaign: Campaign,
    by_hand: pd.DataFrame,
    blocked: pd.DataFrame,
) -> pd.DataFrame:
    """Who is in no sequence yet, by lead id; with `cause` and `reason` where they must not be.

    Args:
        qualified: The leads that may be routed, see `routing.route`.
        routed: The ids of routed leads, those of `qualified` among them.
        campaign: The campaign document.
        by_hand: What `by_hand` gives, which `chosen` and `words` are from.
        blocked: lead_id, cause, reason: those who must not be routed now.
    """
    needed = columns_needed(campaign) | {"score"}
    looked_at = qualified[[name for name in qualified if name in needed]]
    free = _by_id(looked_at[~looked_at["lead_id"].isin(routed)])
    chosen = looked_up(free["lead_id"], by_hand["sequence"])
    words = looked_up(free["lead_id"], by_hand["words"])
    return _with_bars(free.assign(chosen=chosen, words=words), blocked)


def candidates_among(free: pd.DataFrame) -> pd.DataFrame:
    """Those of `free_leads` who may be routed."""
    return free[free["cause"].isna()].reset_index(drop=True)


def columns_needed(campaign: Campaign) -> set[str]:
    """The columns of raw leads that routing looks at: reading and picking cost by the column."""
    conditions = conditions_of(campaign.routing.sequences)
    return {"lead_id", "email", "domain"} | columns_asked(conditions)


def looked_up(lead_ids: pd.Series, texts: pd.Series) -> pd.Series:
    """What `texts` says of each lead, missing where it says nothing; joins fail on empty frames."""
    if texts.empty:
        return pd.Series(pd.NA, lead_ids.index, TEXT)
    return lead_ids.map(texts.to_dict()).astype(TEXT)


def _by_id(leads: pd.DataFrame) -> pd.DataFrame:
    """In the order of their ids, in which the store hands them over anyway."""
    ids = one_array(leads["lead_id"])
    if pc.all(pc.less(ids[:-1], ids[1:])).as_py():
        return leads.reset_index(drop=True)
    return leads.take(pc.sort_indices(ids).to_numpy()).reset_index(drop=True)


def _with_bars(free: pd.DataFrame, blocked: pd.DataFrame) -> pd.DataFrame:
    """`free` with cause and reason why a lead must not be routed, missing where it may."""
    by_lead = blocked.set_index("lead_id")
    why = {name: looked_up(free["lead_id"], by_lead[name]) for name in ("cause", "reason")}
    homeless = why["cause"].isna() & free["email"].isna()
    return free.assign(**{name: text.mask(homeless, "no address") for name, text in why.items()})
