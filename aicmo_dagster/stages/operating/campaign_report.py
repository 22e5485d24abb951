"""The report of a campaign, mailed to its owner: where its leads are, what is new, what is wrong.

Not here: what a stage counts of itself (`report`).
"""

from collections.abc import Mapping
from datetime import datetime

from aicmo_dagster.mail.notices import send_notice
from aicmo_dagster.stages.operating.status import JobStatus, Status, status
from aicmo_dagster.stages.report import Report
from aicmo_dagster.stages.summary import dispositions
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.results import states_of
from aicmo_dagster.store.tallies import tally_since

STAGE = "campaign_report"


def report_campaign(workspace: Workspace, key: str, now: datetime) -> Report:
    """The owner of the campaign was mailed how it stands, and what is new since the last report.

    Raises:
        AicmoError: If the mail was not taken.
    """
    campaign = workspace.campaign(key).campaign
    places = dispositions(workspace, key)
    with workspace.database.read() as connection:
        earlier = states_of(connection, key).get(STAGE)
        since = earlier.succeeded_at if earlier else None
        news = tally_since(connection, key, since)
    begun = f"since {since:%Y-%m-%d %H:%M} UTC" if since else "since it began"
    text = report_text(places, news, begun, status(workspace, key, now))
    send_notice(
        workspace.settings.smtp_url,
        workspace.settings.outbox,
        sender=campaign.nurture.sender.address,
        recipient=campaign.owner,
        key=f"report {key} {now:%Y-%m-%dT%H:%M}",
        subject=f"{campaign.name}: how it stands",
        text=text,
        date=now,
    )
    figures = {name.replace(" ", "_"): float(count) for name, count in (places | news).items()}
    leads = sum(places.values()) - places["rejected"]
    return Report(key, STAGE, leads, 1, figures=figures, notes=tuple(text.splitlines()))


def report_text(
    places: Mapping[str, int], news: Mapping[str, int], begun: str, standing: Status
) -> str:
    """The report in plain text: counts and reasons, nobody's name."""
    lines = ["Leads", *_counted(places), "", f"New {begun}", *_counted(news)]
    lines += ["", "What is wrong"]
    lines += [f"  {each.kind}: {each.reason}" for each in standing.incidents] or ["  nothing"]
    coming = [f"  {job.job}: {job.next_ticks[0]:%a %Y-%m-%d %H:%M %Z}" for job in _due(standing)]
    return "\n".join([*lines, "", "What comes next", *(coming or ["  nothing is scheduled"])])


def _counted(counts: Mapping[str, int]) -> list[str]:
    return [f"  {name:<24}{count:>8}" for name, count in counts.items()]


def _due(standing: Status) -> list[JobStatus]:
    return [job for job in standing.jobs if job.next_ticks]
