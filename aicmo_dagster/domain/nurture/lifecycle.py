"""What a pause does to sends that wait, and what a new version of a sequence does to its leads.

Not here: who is paused (`store.pauses`), or how far leads are (`store.agenda`).
"""

from datetime import datetime, timedelta
from typing import Literal, get_args

import numpy as np
import pandas as pd
import pyarrow

from aicmo_dagster.domain.campaigns import Campaign
from aicmo_dagster.domain.nurture.planning import step_after

Mode = Literal["skip", "shift", "spread"]
MODES: tuple[Mode, ...] = get_args(Mode)
"""Resuming: leave out what came due; move it by as long as the pause was; or spread it out."""

SPREAD_OVER = timedelta(days=1)
SKIPPED = "skipped: it came due during a pause"
"""Why a send is cancelled that the lead does without; the sequence goes on after it."""

BUSY = "a send to it is under way"

_TEXT = pd.ArrowDtype(pyarrow.string())
_INSTANT = pd.ArrowDtype(pyarrow.timestamp("us", tz="UTC"))


def resumed(
    waiting: pd.DataFrame,
    mode: Mode,
    *,
    paused_at: datetime,
    now: datetime,
    over: timedelta = SPREAD_OVER,
) -> pd.DataFrame:
    """What becomes of the sends that waited: lead_id, step, state, due_at; unchanged ones left out.

    Shifting moves follow-ups only: a first message follows nothing, and goes when it may.

    Args:
        waiting: lead_id, step, due_at and priority (0 for a follow-up) of planned sends.
        mode: What to do.
        paused_at: When the pause began.
        now: When it ends.
        over: How long overdue sends are spread over.
    """
    overdue = waiting["due_at"] <= now
    if mode == "shift":
        moved = waiting[waiting["priority"] == 0]
        due = moved["due_at"] + pd.Timedelta(now - paused_at)
    elif mode == "spread":
        moved = waiting[overdue].sort_values(["priority", "due_at", "lead_id"])
        shares = pd.Series(np.arange(len(moved)) / max(len(moved), 1), index=moved.index)
        due = pd.Timestamp(now) + shares * pd.Timedelta(over)
    else:
        moved = waiting[overdue]
        due = moved["due_at"]
    state = "cancelled" if mode == "skip" else "planned"
    return pd.DataFrame(
        {
            "lead_id": moved["lead_id"].astype(_TEXT),
            "step": moved["step"].astype(_TEXT),
            "state": pd.Series(state, index=moved.index, dtype=_TEXT),
            "due_at": due.astype(_INSTANT),
        }
    )


def resume_counts(
    waiting: pd.DataFrame,
    *,
    paused_at: datetime,
    now: datetime,
    over: timedelta = SPREAD_OVER,
) -> pd.DataFrame:
    """What each way to resume would do: mode, skipped, moved, due_at_once, due_later; in sends."""
    rows = []
    for mode in MODES:
        changes = resumed(waiting, mode, paused_at=paused_at, now=now, over=over)
        skipped = int((changes["state"] == "cancelled").sum())
        after = waiting.set_index(["lead_id", "step"])["due_at"].copy()
        keys = pd.MultiIndex.from_frame(changes[["lead_id", "step"]])
        after.loc[keys] = changes["due_at"].to_numpy()
        at_once = int((after <= now).sum()) - skipped
        rows.append(
            (mode, skipped, len(changes) - skipped, at_once, len(after) - skipped - at_once)
        )
    return pd.DataFrame(rows, columns=["mode", "skipped", "moved", "due_at_once", "due_later"])


def migration(leads: pd.DataFrame, new: Campaign, version: int) -> pd.DataFrame:
    """Who would get what in another version of the document.

    A lead goes on after its last step where the new version has that step, and stays where it is if
    it does not, or if it would get a step again.

    Args:
        leads: lead_id, sequence, campaign_version, last (step, missing for none), had (step ids,
            separated by a space), next (step, missing for none), busy (whether a send was begun
            and is not settled).
        new: The document in the version they would follow.
        version: That version.

    Returns:
        lead_id, sequence, from_version, next, then (the step they would get; missing at the end)
        and stays (the reason; missing for those who migrate). Leads that follow it already are
        left out.
    """
    others = leads[leads["campaign_version"] != version]
    groups = others.groupby(["sequence", "last", "had", "busy"], dropna=False, sort=False)
    verdicts: dict[str, tuple[str | None, str | None]] = {}
    for _, members in groups:
        sequence, last, had, busy = members.iloc[0][["sequence", "last", "had", "busy"]]
        told = (None, BUSY) if busy else _verdict(new, sequence, last, had.split())
        verdicts |= dict.fromkeys(members["lead_id"], told)
    found = [verdicts[lead] for lead in others["lead_id"]]
    return pd.DataFrame(
        {
            "lead_id": others["lead_id"].astype(_TEXT),
            "sequence": others["sequence"].astype(_TEXT),
            "from_version": others["campaign_version"],
            "next": others["next"].astype(_TEXT),
            "then": pd.Series([then for then, _ in found], index=others.index, dtype=_TEXT),
            "stays": pd.Series([stays for _, stays in found], index=others.index, dtype=_TEXT),
        }
    )


def _verdict(
    new: Campaign, sequence: str, last: object, had: list[str]
) -> tuple[str | None, str | None]:
    """The step that comes then, and why the lead stays instead."""
    done = last if isinstance(last, str) else None
    if sequence not in new.sequences:
        return None, "its sequence is not in the new version"
    steps = new.sequences[sequence].steps
    if done is not None and all(step.id != done for step in steps):
        return None, "its last step is not in the new version"
    then = step_after(steps, done)
    if then is not None and then.id in had:
        return None, "it would get a step again"
    return (then.id if then else None), None
