"""`aicmo token`: making, listing and revoking the tokens of the REST API."""

import json
import re
from datetime import UTC, datetime, timedelta

import click
from rich.console import Console
from rich.table import Table

from aicmo_dagster.cli.operator import operator
from aicmo_dagster.errors import BadInput, Problem
from aicmo_dagster.settings import load_settings
from aicmo_dagster.stages.workspace import open_workspace
from aicmo_dagster.store.audit import record_change
from aicmo_dagster.store.tokens import (
    ROLES,
    Role,
    StoredToken,
    create_token,
    list_tokens,
    revoke_token,
)

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@click.group()
def token() -> None:
    """Make, list and revoke tokens of the REST API."""


@token.command()
@click.option("--role", type=click.Choice(ROLES), required=True, help="What it may do.")
@click.option("--campaign", "keys", multiple=True, help="Only this campaign; may be repeated.")
@click.option("--expires-days", type=click.IntRange(1, 3650), help="Days it holds; else for good.")
@AS_JSON
def create(role: Role, keys: tuple[str, ...], expires_days: int | None, as_json: bool) -> None:
    """Make a token and print it; it is shown this once and kept as a hash alone."""
    for key in keys:
        if not re.fullmatch(r"[a-z0-9-]{1,64}", key):
            raise BadInput(Problem("--campaign", "", repr(key), "a campaign's key"))
    now, who = datetime.now(UTC), operator()
    ends = now + timedelta(days=expires_days) if expires_days else None
    with open_workspace(load_settings()) as workspace, workspace.database.write() as connection:
        made, text = create_token(connection, role, keys or None, who, now, ends)
        after = {"role": role, "campaigns": list(keys) or None, "expires_at": _instant(ends)}
        record_change(connection, who, "token.create", now, subject=made.id, after=after)
    if as_json:
        click.echo(json.dumps({"token": text, **_facts(made, now)}))
        return
    click.echo(text)
    click.echo(f"token {made.id}, {role}; it is not shown again", err=True)


@token.command("list")
@AS_JSON
def list_(as_json: bool) -> None:
    """List the tokens, the oldest first, revoked and expired ones too."""
    now = datetime.now(UTC)
    with open_workspace(load_settings()) as workspace, workspace.database.read() as connection:
        found = list_tokens(connection)
    if as_json:
        click.echo(json.dumps([_facts(each, now) for each in found]))
        return
    if not found:
        click.echo("there are no tokens; 'aicmo token create --role admin' makes one")
        return
    table = Table("token", "role", "campaigns", "state", "created", "last used", box=None)
    for each in found:
        keys = "all" if each.campaigns is None else ", ".join(sorted(each.campaigns))
        used = f"{each.last_used_at:%Y-%m-%d %H:%M}" if each.last_used_at else "never"
        made = f"{each.created_at:%Y-%m-%d %H:%M}"
        table.add_row(each.id, each.role, keys, _state(each, now), made, used)
    Console().print(table)


@token.command()
@click.argument("token_id", metavar="ID")
@AS_JSON
def revoke(token_id: str, as_json: bool) -> None:
    """Make token ID, and every JWT made from it, open nothing any more."""
    now, who = datetime.now(UTC), operator()
    with open_workspace(load_settings()) as workspace, workspace.database.write() as connection:
        new = revoke_token(connection, token_id, now)
        if new:
            after = {"revoked_at": now.isoformat()}
            record_change(connection, who, "token.revoke", now, subject=token_id, after=after)
    if as_json:
        click.echo(json.dumps({"id": token_id, "revoked_now": new}))
    else:
        click.echo(f"{token_id}: revoked" if new else f"{token_id}: was revoked already")


def _facts(each: StoredToken, now: datetime) -> dict[str, object]:
    return {
        "id": each.id,
        "role": each.role,
        "campaigns": None if each.campaigns is None else sorted(each.campaigns),
        "state": _state(each, now),
        "created_by": each.created_by,
        "created_at": _instant(each.created_at),
        "last_used_at": _instant(each.last_used_at),
        "expires_at": _instant(each.expires_at),
    }


def _state(each: StoredToken, now: datetime) -> str:
    return "revoked" if each.revoked_at else "valid" if each.is_valid(now) else "expired"


def _instant(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
