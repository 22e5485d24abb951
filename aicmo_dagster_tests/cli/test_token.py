"""Tokens as a user meets them."""

import json
from pathlib import Path

from aicmo_dagster.settings import load_settings
from aicmo_dagster.stages.workspace import open_workspace
from aicmo_dagster.store.audit import list_changes
from aicmo_dagster.store.tokens import token_of_text
from aicmo_dagster_tests.cli.conftest import Aicmo


def test_a_token_is_made_listed_and_revoked(aicmo: Aicmo, home: Path) -> None:
    assert "there are no tokens" in aicmo("token", "list").output
    made = aicmo("token", "create", "--role", "operator", "--campaign", "spring", "--json")
    told = json.loads(made.output)
    text = told.pop("token")

    assert (told["role"], told["campaigns"], told["state"]) == ("operator", ["spring"], "valid")
    assert [each["id"] for each in json.loads(aicmo("token", "list", "--json").output)] == [
        told["id"]
    ]
    assert text not in aicmo("token", "list").output
    assert "revoked" in aicmo("token", "revoke", told["id"]).output
    assert "already" in aicmo("token", "revoke", told["id"]).output
    with open_workspace(load_settings()) as workspace, workspace.database.read() as connection:
        kept = token_of_text(connection, text)
        actions = [each.action for each in list_changes(connection, 9)]
    assert kept is not None
    assert kept.revoked_at is not None
    assert actions == ["token.revoke", "token.create"]


def test_what_is_no_token_or_campaign_is_refused(aicmo: Aicmo, home: Path) -> None:
    assert aicmo("token", "revoke", "none").code == 1
    assert aicmo("token", "create", "--role", "owner").code == 2
    assert aicmo("token", "create", "--role", "viewer", "--campaign", "No Key").code == 2
    plain = aicmo("token", "create", "--role", "viewer", "--expires-days", "1")
    assert plain.output.startswith("aicmo_")
    assert len(plain.output.split()) == 1
