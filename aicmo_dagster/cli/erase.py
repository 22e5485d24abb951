"""`aicmo erase`: a person vanishes from everything that AICMO keeps."""

import json
from datetime import UTC, datetime
from getpass import getuser

import click

from aicmo_dagster.cli.operator import operator
from aicmo_dagster.domain.tokens import valid_address
from aicmo_dagster.errors import BadInput, Problem
from aicmo_dagster.settings import load_settings
from aicmo_dagster.stages.leads.erase import erase as erase_person
from aicmo_dagster.stages.workspace import open_workspace


@click.command()
@click.argument("address")
@click.option("--by", default=getuser, show_default="you", help="Who decides.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def erase(address: str, by: str, as_json: bool) -> None:
    """Remove the person at ADDRESS from every campaign; only a keyed hash stays, to suppress it."""
    if not valid_address(address):
        raise BadInput(Problem("ADDRESS", "", "something else", "an e-mail address"))
    with open_workspace(load_settings()) as workspace:
        done = erase_person(workspace, address, by, datetime.now(UTC), who=operator())
    if as_json:
        click.echo(json.dumps(vars(done)))
        return
    click.echo(f"a lead in {done.campaigns} campaigns; the address is suppressed")
    for place, count in done.removed.items():
        click.echo(f"{count:8} removed from {place}")
    if done.handed_to:
        click.echo(f"handed over to {', '.join(done.handed_to)}: ask for erasure there")
    click.echo("Take the person out of the files and accounts that leads are harvested from, too.")
