"""Labels from what leads did once they were written to: who answered, whom sales took up.

Not here: outcomes that a source knows (`history.ripened`), or reading answers (`store.answers`).
"""

from datetime import datetime

import pandas as pd


def ripened_answers(
    leads: pd.DataFrame,
    answers: pd.DataFrame,
    *,
    arrived_at: pd.Series,
    now: datetime,
    horizon_days: int,
) -> pd.Series:
    """Whether each lead answered within the horizon of its arrival, dtype "boolean".

    Only who was written to within the horizon could answer: the others are unknown, not lost. So
    is everyone whose horizon has not passed.

    Args:
        leads: A `RawLeads` frame.
        answers: lead_id, contacted_at, won_at (missing without an answer): one row for each lead
            that was written to.
        arrived_at: Instants of arrival, in the order of `leads`.
        now: The instant of asking.
        horizon_days: Within how many days of arrival an answer counts.
    """
    end = arrived_at.astype("datetime64[us, UTC]") + pd.Timedelta(days=horizon_days)
    told = answers.set_index("lead_id")
    contacted, won = (
        pd.to_datetime(leads["lead_id"].map(told[name]), utc=True)
        for name in ("contacted_at", "won_at")
    )
    answered = (won.to_numpy() <= end.to_numpy()) & won.notna().to_numpy()
    could = (contacted.to_numpy() <= end.to_numpy()) & (end <= pd.Timestamp(now)).to_numpy()
    return pd.Series(answered, leads.index, "boolean").where(could, other=pd.NA)


def either(one: pd.Series, other: pd.Series) -> pd.Series:
    """Won if one of both says so; lost if one says so and the other does not say won."""
    won = one.fillna(value=False) | other.fillna(value=False)
    return won.astype("boolean").mask(one.isna() & other.isna(), other=pd.NA)
