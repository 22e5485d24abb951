"""Commands on what people decide by hand: `override`, `overrides`."""

import json
from datetime import UTC, datetime
from getpass import getuser

import click

from aicmo_dagster.cli.lifecycle import MODE, show_modes
from aicmo_dagster.cli.operator import operator
from aicmo_dagster.domain.nurture.lifecycle import Mode
from aicmo_dagster.errors import BadInput, Problem
from aicmo_dagster.settings import load_settings
from aicmo_dagster.stages.deciding.overriding import decide, require_action
from aicmo_dagster.stages.nurturing import lifecycle
from aicmo_dagster.stages.workspace import Workspace, open_workspace
from aicmo_dagster.store.leads import find_lead
from aicmo_dagster.store.overrides import list_overrides


@click.command()
@click.argument("key")
@click.argument("lead")
@click.argument("action")
@click.option("--reason", required=True, help="Why, for everyone who asks later.")
@click.option("--by", default=getuser, show_default="you", help="Who decides.")
@click.option("--until", default="", help="When it ends (ISO 8601 with an offset); else never.")
@MODE
def override(
    key: str, lead: str, action: str, reason: str, by: str, until: str, mode: Mode | None
) -> None:
    """Decide about LEAD by hand; it outlives every re-run, until it ends or is withdrawn.

    ACTION is one of: qualify or reject, whatever the rules say; route:SEQUENCE, which moves the
    lead there before its first message and within the capacity; pause, which holds its mail, and
    resume, which with --mode says what becomes of what came due meanwhile; withdraw, which takes
    back all of that, or withdraw:verdict, :route or :pace a part.
    """
    now = datetime.now(UTC)
    ends = _end(until, now)
    with open_workspace(load_settings()) as workspace:
        campaign = workspace.campaign(key).campaign
        require_action(campaign, action, "ACTION")
        if mode:
            _resume(workspace, key, lead, action, reason, by, mode, now)
            return
        with workspace.database.write() as connection:
            lead_id = find_lead(connection, key, lead)
            count = decide(connection, key, lead_id, action, reason, by, now, ends, who=operator())
    done = action if count is None else f"{count} withdrawn"
    click.echo(f"{lead_id}: {done}, from the next run on")


@click.command()
@click.argument("key")
@click.option("--all", "ended", is_flag=True, help="Those that do not hold any more, too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def overrides(key: str, ended: bool, as_json: bool) -> None:
    """List what people decided by hand in campaign KEY, oldest first."""
    with open_workspace(load_settings()) as workspace:
        workspace.campaign(key)
        with workspace.database.read() as connection:
            rows = list_overrides(connection, key, datetime.now(UTC), ended=ended)
    if as_json:
        return click.echo(json.dumps(rows, ensure_ascii=False, default=datetime.isoformat))
    if not rows:
        return click.echo("there are none")
    for row in rows:
        until = f", until {row['expires_at']:%Y-%m-%d %H:%M} UTC" if row["expires_at"] else ""
        said = f"by {row['decided_by']} on {row['decided_at']:%Y-%m-%d}{until}: {row['reason']}"
        click.echo(f"{row['lead_id']}  {row['action']} ({row['state']}) {said}")
    return None


def _resume(
    workspace: Workspace,
    key: str,
    lead: str,
    action: str,
    reason: str,
    by: str,
    mode: Mode,
    now: datetime,
) -> None:
    """A lead goes on, after it is shown what each way to resume does to its sends."""
    if action != "resume":
        raise BadInput(Problem("--mode", "", repr(action), "the action 'resume'"))
    with workspace.database.read() as connection:
        lead_id = find_lead(connection, key, lead)
    show_modes(lifecycle.preview_resume(workspace, key, now=now, lead_id=lead_id), mode)
    changed = lifecycle.resume_lead(
        workspace, key, lead_id, mode, reason=reason, by=by, who=operator(), now=now
    )
    click.echo(f"{lead_id}: resumed, {changed} sends changed")


def _end(until: str, now: datetime) -> datetime | None:
    """The instant that an override ends.

    Raises:
        BadInput: If it is none, or is over.
    """
    if not until:
        return None
    expected = "an ISO 8601 instant to come with an offset, such as 2027-03-02T09:00:00+01:00"
    try:
        end = datetime.fromisoformat(until)
    except ValueError:
        end = now.replace(tzinfo=None)
    if end.tzinfo is None or end <= now:
        raise BadInput(Problem("--until", "", repr(until), expected))
    return end
