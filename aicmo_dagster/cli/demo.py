"""`aicmo demo`: the sample campaign through all five stages, its mail into the outbox."""

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import click

import aicmo_dagster
from aicmo_dagster.cli.campaign import apply_document, register
from aicmo_dagster.cli.run import print_outcome, run_stages
from aicmo_dagster.domain.schemas import STAGES
from aicmo_dagster.errors import RunFailed
from aicmo_dagster.settings import load_settings
from aicmo_dagster.sources.campaign_files import read_campaign_file
from aicmo_dagster.stages.summary import dispositions
from aicmo_dagster.stages.workspace import Workspace, open_workspace
from aicmo_dagster.store.frames import read_frame

SAMPLE = Path(aicmo_dagster.__file__).parent / "sample" / "campaign.yaml"


@click.command()
def demo() -> None:
    """Run the sample campaign; its mail goes into the outbox, whatever AICMO_SMTP_URL says."""
    document = read_campaign_file(SAMPLE)
    key = document.campaign.campaign
    settings = replace(load_settings(), smtp_url=None)
    with open_workspace(settings) as workspace:
        apply_document(workspace, document)
    register(settings, [key])
    outcome = run_stages(settings, key, STAGES)
    with open_workspace(settings) as workspace:
        print_outcome(outcome, dispositions(workspace, key))
        lead = _first_sent_lead(workspace, key)
    if outcome.failure:
        raise RunFailed(outcome.failure, outcome.exit_code)
    click.echo(f"Mail: {len(list(settings.outbox.glob('*.eml')))} messages in {settings.outbox}")
    click.echo("Try next:")
    for command in (f"explain {key} {lead}", f"export {key} scored_leads -o scored.csv", "dev"):
        click.echo(f"  {_program()} {command}")


def _program() -> str:
    """How to call this program from the current folder."""
    called = Path(sys.argv[0])
    if called.name != "aicmo" or shutil.which("aicmo"):
        return "aicmo"
    return os.path.relpath(called)


def _first_sent_lead(workspace: Workspace, key: str) -> str:
    """A lead that was written to, to show what `explain` tells."""
    with workspace.database.read() as connection:
        sends = read_frame(connection, "nurture_sends", key, ["lead_id", "state"])
    return next(iter(sends.loc[sends["state"] == "accepted", "lead_id"]), "LEAD")
