"""Webhooks over HTTP: who is told of what, and what could not be delivered."""

from dataclasses import replace
from datetime import timedelta
from functools import partial
from operator import add
from typing import Any

import httpx
import sqlalchemy as sa

from aicmo_dagster.domain.tokens import subscription_secret
from aicmo_dagster.stages.operating.webhooks import deliver_webhooks
from aicmo_dagster.store.audit import list_changes
from aicmo_dagster.store.tables import api_requests
from aicmo_dagster.store.webhooks import (
    Occurrence,
    announce,
    change_webhook,
    find_webhook,
)
from aicmo_dagster_tests.api.rest import Rest
from aicmo_dagster_tests.samples import NOON, SECRET

WANTED = {"url": "https://crm.acme.example/x", "events": ["run.failed"], "campaigns": ["spring"]}


def create(rest: Rest, who: str = "admin", **changes: Any) -> httpx.Response:
    return rest.ask(who, "POST", "/webhooks", json=WANTED | changes)


def announced(rest: Rest, *names: str) -> None:
    with rest.workspace.database.write() as connection:
        told = [Occurrence(name, {"run_id": name}, ("spring",)) for name in names]
        announce(connection, "run.failed", told, NOON)


def test_a_webhook_is_made_changed_and_removed(rest: Rest) -> None:
    made = create(rest)
    told = made.json()
    assert made.status_code == 201
    assert told.pop("secret") == subscription_secret(SECRET, told["id"])
    path = f"/webhooks/{told['id']}"
    assert rest.client.base_url.join(made.headers["Location"]).path.endswith(path)
    assert rest.ask("admin", "GET", path).json() == told
    assert told in rest.ask("admin", "GET", "/webhooks").json()["items"]
    changed = rest.ask("admin", "PUT", path, json=WANTED | {"state": "disabled"}).json()
    assert (changed["state"], changed["created_at"]) == ("disabled", told["created_at"])
    assert rest.ask("admin", "DELETE", path).status_code == 204
    assert rest.ask("admin", "GET", path).status_code == 404
    with rest.workspace.database.read() as connection:
        changes = list_changes(connection, 3)
    assert [each.action for each in changes] == [
        "webhook.delete",
        "webhook.change",
        "webhook.create",
    ]
    assert "/x" not in str(changes)


def test_a_repeated_request_makes_no_second_webhook_and_its_secret_is_not_kept(rest: Rest) -> None:
    headers = {"Idempotency-Key": "once"}
    first, again = (
        rest.ask("admin", "POST", "/webhooks", json=WANTED, headers=headers) for _ in range(2)
    )
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["Location"] == first.headers["Location"]
    assert again.headers["Idempotency-Replayed"] == "true"
    with rest.workspace.database.read() as connection:
        kept = connection.execute(sa.select(api_requests.c.body)).scalars().all()
    assert first.json()["id"] in str(kept)
    assert first.json()["secret"] not in str(kept)


def test_what_was_given_up_is_listed_in_pages_and_sent_again(rest: Rest) -> None:
    hook = create(rest).json()["id"]
    with rest.workspace.database.write() as connection:
        known = find_webhook(connection, hook)
        assert known is not None
        change_webhook(connection, replace(known, url="http://127.0.0.1:9/x"))
    announced(rest, "r1", "r2", "r3")
    deliver_webhooks(rest.workspace, lambda: NOON)  # nobody listens there
    path = f"/webhooks/{hook}/deliveries"
    first = rest.ask("admin", "GET", path, params={"limit": 2}).json()
    rest_of = rest.ask("admin", "GET", path, params={"limit": 2, "cursor": first["next"]}).json()
    keys = [each["key"] for each in first["items"] + rest_of["items"]]
    assert (len(set(keys)), rest_of["next"]) == (3, None)
    for days in range(1, 8):
        deliver_webhooks(rest.workspace, partial(add, NOON, timedelta(days=days)))
    dead = rest.ask("admin", "GET", path, params={"state": "dead"}).json()["items"]
    assert {each["key"] for each in dead} == set(keys)
    resent = rest.ask("admin", "POST", f"{path}/{keys[0]}/resend")
    assert resent.status_code == 202
    (due,) = rest.ask("admin", "GET", path, params={"state": "due"}).json()["items"]
    assert (due["key"], due["attempts"], due["error"]) == (keys[0], 0, None)
    assert rest.ask("admin", "POST", f"{path}/none/resend").status_code == 404


def test_a_limited_token_is_told_of_its_campaigns_alone(rest: Rest) -> None:
    everything = create(rest, campaigns=None).json()["id"]
    assert create(rest, "limited", campaigns=None).status_code == 403
    assert create(rest, "limited", campaigns=["autumn"]).status_code == 404
    own = create(rest, "limited")
    assert own.status_code == 201
    seen = {each["id"] for each in rest.ask("limited", "GET", "/webhooks").json()["items"]}
    assert own.json()["id"] in seen
    assert everything not in seen
    assert rest.ask("limited", "GET", f"/webhooks/{everything}/secret").status_code == 404


def test_what_is_wrong_is_refused(rest: Rest) -> None:
    for changes in (
        {"url": "ftp://x.example"},
        {"url": "https://user:password@x.example"},
        {"url": "https://"},
        {"events": []},
        {"events": ["lead.born"]},
        {"more": 1},
    ):
        assert create(rest, **changes).status_code == 422, changes


def test_no_webhook_names_a_private_address_except_to_be_disabled(rest: Rest) -> None:
    refused = create(rest, url="http://169.254.169.254/latest")
    assert refused.status_code == 422
    assert refused.headers["Content-Type"] == "application/problem+json"
    (fault,) = refused.json()["errors"]
    assert fault["pointer"] == "body.url"
    assert "AICMO_ALLOW_PRIVATE_URLS" in fault["detail"]

    path = f"/webhooks/{create(rest).json()['id']}"
    inside = WANTED | {"url": "http://[::1]:8080/"}
    assert rest.ask("admin", "PUT", path, json=inside).status_code == 422
    with rest.workspace.database.write() as connection:  # one of before that was refused
        known = find_webhook(connection, path.rpartition("/")[2])
        assert known is not None
        change_webhook(connection, replace(known, url=inside["url"]))
    assert rest.ask("admin", "PUT", path, json=inside).status_code == 422
    assert rest.ask("admin", "PUT", path, json=inside | {"state": "disabled"}).status_code == 200
