"""Commands on single leads: `explain`, `suppress`. Not here: `override` (`overrides`)."""

import json
from datetime import UTC, datetime
from getpass import getuser

import click

from aicmo_dagster.cli.operator import operator
from aicmo_dagster.domain.scoring.explanation import Explanation
from aicmo_dagster.domain.tokens import suppression_key
from aicmo_dagster.settings import load_settings
from aicmo_dagster.stages.leads.explain import Account, explain_lead
from aicmo_dagster.stages.operating import by_hand
from aicmo_dagster.stages.workspace import open_workspace

FAMILY_NAMES = {"data_quality": "how much is known", "custom": "the campaign's own columns"}
"""Of families whose own name says too little."""


@click.command()
@click.argument("key")
@click.argument("lead")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def explain(key: str, lead: str, as_json: bool) -> None:
    """Everything decided about LEAD (an id or an address), oldest first, each with its reason."""
    with open_workspace(load_settings()) as workspace:
        account = explain_lead(workspace, key, lead, datetime.now(UTC))
    if as_json:
        click.echo(json.dumps(account.as_document(), ensure_ascii=False))
    else:
        _print_account(account)


@click.command()
@click.argument("target")
@click.option("--reason", default="by hand", show_default=True, help="Why.")
@click.option("--by", default=getuser, show_default="you", help="Who decides.")
def suppress(target: str, reason: str, by: str) -> None:
    """Never write to TARGET again, an address or a whole domain, in any campaign."""
    settings = load_settings()
    kind, key = suppression_key(settings.secret_key(), target, "TARGET")
    with open_workspace(settings) as workspace, workspace.database.write() as connection:
        now = datetime.now(UTC)
        new = by_hand.suppress(connection, kind, key, reason=reason, by=by, who=operator(), now=now)
    click.echo(f"{kind} suppressed" if new else f"{kind} was suppressed already")


def _print_score(score: Explanation) -> None:
    """The score, its base, its families, and the strongest reasons either way."""
    unit = "points" if score.scale == "points" else "% likely to be won"
    band = f", band {score.band}" if score.band else ""
    click.echo(f"score now: {score.score:.1f} {unit}{band}, by {score.model}")
    if score.base is not None:
        total = score.base + sum(score.families.values())
        click.echo(f"in logits: {total:+.4f}, of which {score.base:+.4f} is what every lead has")
    if score.note:
        click.echo(f"  {score.note}")
    for family, sum_ in score.families.items():
        click.echo(f"{sum_:+10.2f}  {FAMILY_NAMES.get(family, family)}")
    for heading, reasons in (("raised by", score.raised), ("lowered by", score.lowered)):
        for reason in reasons:
            click.echo(f"  {heading} {abs(reason.contribution):.2f}: {reason.text}")


def _print_account(account: Account) -> None:
    click.echo(f"lead {account.lead_id} of campaign {account.campaign}")
    if account.score:
        _print_score(account.score)
    for entry in account.entries:
        click.echo(
            f"{entry.at:%Y-%m-%d %H:%M} UTC  {entry.stage:<16} {entry.outcome:<14} {entry.reason}"
        )
        for detail in entry.details:
            click.echo(f"{'':<22}{detail}")
