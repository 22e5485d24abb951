"""The next step of every lead handed in, and the instant it is due.

Pure: history and clock are arguments, and so is the choice of leads, which is what makes a tick
cheap. Not here: claiming and sending (`store.claiming`, `mail`), who is looked at
(`store.agenda`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pandas as pd
import pyarrow

from aicmo_dagster.domain.campaigns import Campaign
from aicmo_dagster.domain.nurture.places import Place, place_of
from aicmo_dagster.domain.nurture.timing import spread_opening
from aicmo_dagster.domain.nurture.variants import UNDECIDED, Standing, draw, salt_of
from aicmo_dagster.domain.nurture.waits import WaitEnd, wait_end
from aicmo_dagster.domain.schemas import typed
from aicmo_dagster.domain.sections.sequences import Step

DEADLINE = timedelta(days=30)
"""A send that is later than this is dropped, and says so."""

NEEDED = (
    *("lead_id", "sequence", "campaign_version", "seed"),
    *("email", "timezone", "country", "city"),
    *("step", "sent_at", "opened", "clicked"),
)
"""The columns of a frame of leads to plan for: who, where, and how far."""

Standings = Mapping[tuple[int, str, str], Standing]

_NEWS = {
    "lead_id": pd.ArrowDtype(pyarrow.string()),
    "state": pd.ArrowDtype(pyarrow.string()),
    "look_at": pd.ArrowDtype(pyarrow.timestamp("us", tz="UTC")),
}


@dataclass(frozen=True)
class Plan:
    """What planning found.

    Args:
        sends: The next send of each lead that has one: a `NurtureSends` frame, state `planned`.
        leads: lead_id, state (enrolled, active or finished) and look_at: when the lead must be
            looked at again before its send is due; missing where it need not be.
    """

    sends: pd.DataFrame
    leads: pd.DataFrame


@dataclass(frozen=True)
class Planner:
    """Plans for one campaign.

    Args:
        versions: The campaign document by version; leads follow the one they started with.
        standings: What experiments say of new leads, by version, sequence and step.
        name_message: Message-ID of (lead_id, step).
        now: The instant of planning.
    """

    versions: Mapping[int, Campaign]
    name_message: Callable[[str, str], str]
    now: datetime
    standings: Standings = field(default_factory=dict)

    def plan(self, leads: pd.DataFrame) -> Plan:
        """The next send of each of `leads`, a frame of `NEEDED`.

        `step` and `sent_at` tell the last step that was accepted; they are missing for a lead that
        is new. `opened` and `clicked` tell what it has done since.
        """
        sends: list[dict[str, Any]] = []
        news: list[tuple[str, str, datetime | None]] = []
        grouped = leads[list(NEEDED)].groupby(
            ["campaign_version", "sequence", "step"], dropna=False, sort=False
        )
        for _, members in grouped:
            version, sequence, last = members.iloc[0][["campaign_version", "sequence", "step"]]
            done = None if pd.isna(last) else str(last)
            step = step_after(self.versions[version].sequences[sequence].steps, done)
            if step is None:
                news += [(lead, "finished", None) for lead in members["lead_id"]]
                continue
            state = "enrolled" if done is None else "active"
            for values, end in self._due(version, sequence, step, members):
                sends.append(values)
                news.append((values["lead_id"], state, end.look_at))
        frame = pd.DataFrame(news, columns=list(_NEWS)).astype(_NEWS)
        return Plan(typed("nurture_sends", dict(pd.DataFrame(sends))) if sends else _none(), frame)

    def _due(
        self, version: int, sequence: str, step: Step, members: pd.DataFrame
    ) -> list[tuple[dict[str, Any], WaitEnd]]:
        """The send of `step` to each of `members`, who are at the same place of a sequence."""
        campaign = self.versions[version]
        standing = self.standings.get((version, sequence, step.id), UNDECIDED)
        variant = partial(draw, step, salt_of(campaign.campaign, sequence, step.id))
        window = campaign.nurture.window
        found = []
        columns = [members[name].tolist() for name in NEEDED if name not in _GROUPED]
        for lead, seed, email, timezone, country, city, sent, opened, clicked in zip(
            *columns, strict=True
        ):
            place = place_of(campaign, timezone, country, city)
            end = self._end(step, sent, place, opened=bool(opened), clicked=bool(clicked))
            due = spread_opening(
                window,
                place.zone,
                max(self.now, end.at),
                place.calendar,
                seed=f"{seed}|{step.id}",
            )
            values = {
                "lead_id": lead,
                "sequence": sequence,
                "step": step.id,
                "variant": variant(lead, standing),
                "campaign_version": version,
                "message_id": self.name_message(lead, step.id),
                "recipient_domain": email.rpartition("@")[2],
                "state": "planned",
                "due_at": due,
            }
            found.append((values, end))
        return found

    def _end(self, step: Step, sent: Any, place: Place, *, opened: bool, clicked: bool) -> WaitEnd:
        """A first step does not wait: there is nothing before it."""
        if pd.isna(sent):
            return WaitEnd(self.now)
        since = pd.Timestamp(sent).to_pydatetime()
        return wait_end(step.wait, since, place, self.now, opened=opened, clicked=clicked)


_GROUPED = ("sequence", "campaign_version", "step")


def step_after(steps: list[Step], done: str | None) -> Step | None:
    """The step after `done`, the first if that is None; none at the end of the sequence."""
    if done is None:
        return steps[0]
    position = next((i for i, step in enumerate(steps) if step.id == done), len(steps))
    return steps[position + 1] if position + 1 < len(steps) else None


def _none() -> pd.DataFrame:
    return typed("nurture_sends", {"lead_id": []})
