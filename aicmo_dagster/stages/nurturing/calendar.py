"""Tables about a campaign's mail: what is to come by day and sender, where leads are, its tests.

They read the whole campaign, so that they are made for a report and not within a tick. Not here:
the figures of one pass (`nurture`).
"""

from datetime import datetime, timedelta

import pandas as pd

from aicmo_dagster.domain.nurture.caps import day_limit, projected
from aicmo_dagster.stages.nurturing.experiments import experiment_table
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.agenda import STATES, agenda_counts
from aicmo_dagster.store.assurances import due_by_day, exits
from aicmo_dagster.store.campaigns import StoredCampaign
from aicmo_dagster.store.pacing import pace_of, sent_within_a_day

DAYS = 14


def nurture_tables(
    workspace: Workspace, stored: StoredCampaign, now: datetime
) -> dict[str, pd.DataFrame]:
    """The tables that are not empty, by name."""
    key = stored.campaign.campaign
    tables = {
        "calendar": mail_calendar(workspace, stored, now),
        "leads_in_sequence": lifecycle_table(workspace, key),
        "experiments": experiment_table(workspace, key),
    }
    return {name: frame for name, frame in tables.items() if not frame.empty}


def mail_calendar(workspace: Workspace, stored: StoredCampaign, now: datetime) -> pd.DataFrame:
    """The next 14 days (UTC) by sender: day, sender, due, expected.

    `due` are this campaign's sends by the day they are due on, the overdue ones on the first;
    `expected` is what the sender's daily cap, as it is today and after what was sent in the last 24
    hours, lets out if nobody else uses it.
    """
    begin = now.replace(hour=0, minute=0, second=0, microsecond=0)
    caps = stored.campaign.nurture.caps
    with workspace.database.read() as connection:
        due = due_by_day(connection, stored.campaign.campaign, begin, DAYS)
        paces = {sender: pace_of(connection, sender) for sender in due}
        spent = {sender: sent_within_a_day(connection, sender, now) for sender in due}
    rows = []
    for sender, counts in due.items():
        pace = paces[sender]
        limit = day_limit(caps, pace.level if pace else 0)
        expected = projected(counts, limit, spent[sender])
        days = [f"{begin + timedelta(days=number):%Y-%m-%d}" for number in range(DAYS)]
        rows += list(zip(days, [sender] * DAYS, counts, expected, strict=True))
    return pd.DataFrame(rows, columns=["day", "sender", "due", "expected"])


def lifecycle_table(workspace: Workspace, key: str) -> pd.DataFrame:
    """Leads in a sequence by state, those that have left it by reason: state, reason, leads."""
    with workspace.database.read() as connection:
        counts = agenda_counts(connection, key)
        reasons = exits(connection, key)
    rows = [(state, "", counts[state]) for state in STATES if state in counts and state != "exited"]
    rows += [("exited", reason, count) for reason, count in reasons.items()]
    return pd.DataFrame(rows, columns=["state", "reason", "leads"])
