"""Who has shown real interest: a reply, or human clicks in different steps. Opens never count.

Not here: telling humans from machines (`engagement`), or handing over (`engaging.graduate`).
"""

from dataclasses import dataclass

import pandas as pd

from aicmo_dagster.domain.sections.nurture import Interest

DEFAULT = Interest(replied=True, clicks=2)
"""What counts where the campaign asks for nothing particular."""


@dataclass(frozen=True)
class Graduation:
    """A lead to hand over, and why."""

    lead_id: str
    reason: str
    evidence: tuple[int, ...]


def graduates(replies: pd.DataFrame, clicks: pd.DataFrame, when: Interest) -> list[Graduation]:
    """Leads that fulfil any of the conditions of `when`, by lead id.

    Args:
        replies: People's replies: id, lead_id.
        clicks: Human clicks that outlived the fold-back window: id, lead_id, step.
        when: The campaign's conditions; one that names none means `DEFAULT`.
    """
    asked = DEFAULT if not when.replied and when.clicks is None else when
    reasons: dict[str, list[str]] = {}
    evidence: dict[str, list[int]] = {}
    if asked.replied:
        for lead_id, ids in replies.groupby("lead_id")["id"]:
            reasons.setdefault(str(lead_id), []).append("replied")
            evidence.setdefault(str(lead_id), []).extend(int(each) for each in ids)
    if asked.clicks is not None:
        steps = clicks.groupby("lead_id")["step"].nunique()
        for name, count in steps[steps >= asked.clicks].items():
            reasons.setdefault(str(name), []).append(f"clicked in {count} steps")
        for lead_id, ids in clicks[clicks["lead_id"].isin(list(reasons))].groupby("lead_id")["id"]:
            evidence.setdefault(str(lead_id), []).extend(int(each) for each in ids)
    return [
        Graduation(lead_id, ", ".join(reasons[lead_id]), tuple(sorted(evidence[lead_id])))
        for lead_id in sorted(reasons)
    ]
