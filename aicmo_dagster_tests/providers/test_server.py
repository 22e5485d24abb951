"""What the stand-in must refuse, charge and say for the clients' tests to prove anything."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from aicmo_dagster_tests.providers.server import StandIn

KEYS = {"x-api-key": "k-ok", "x-access-token": "k-ok"}


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with StandIn(people=20).running() as running:
        yield running


def post(stand_in: StandIn, path: str, body: Any, **headers: str) -> requests.Response:
    sent = {**KEYS, "connection": "close", **headers}
    return requests.post(stand_in.url + path, json=body, headers=sent, timeout=5)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/apollo/people/bulk_match", {"details": [{}] * 11}, 400),
        ("/apollo/people/bulk_match", {}, 400),
        ("/apollo/people/bulk_match", {"details": [{"id": "a-uuid"}]}, 422),
        ("/apollo/people/bulk_match", {"details": ["x"]}, 422),
        ("/apollo/mixed_people/search", {}, 422),
        ("/apollo/mixed_people/api_search", {"page": 501, "per_page": 100}, 422),
        ("/apollo/mixed_people/api_search", {"revenue_range": "1,2"}, 422),
        ("/dropcontact/enrich/all", {}, 400),
        ("/dropcontact/enrich/all", {"data": [{"email": "a"}] * 251}, 400),
        ("/dropcontact/enrich/all", {"data": [{"email": "a" * 15_000}]}, 400),
        ("/dropcontact/enrich/all", {"data": [{"numSiren": "1"}]}, 400),
    ],
)
def test_what_the_real_ones_refuse_is_refused(stand_in: StandIn, path: str, body: Any, status: int):
    assert post(stand_in, path, body).status_code == status
    assert stand_in.ledger.spent() == 0


@pytest.mark.parametrize(
    ("path", "key", "status"),
    [
        ("/apollo/mixed_people/api_search", "", 401),
        ("/apollo/mixed_people/api_search", "k-unknown", 401),
        ("/apollo/mixed_people/api_search", "k-noscope", 403),
        ("/apollo/people/bulk_match", "k-empty", 422),
        ("/dropcontact/enrich/all", "", 401),
        ("/dropcontact/enrich/all", "k-empty", 403),
    ],
)
def test_keys_count(stand_in: StandIn, path: str, key: str, status: int):
    person = {"id": stand_in.people[8].id}
    body = {"details": [person], "data": [{"email": "a"}]}
    headers = {"x-api-key": key, "x-access-token": key}
    assert post(stand_in, path, body, **headers).status_code == status


def test_somebody_who_is_asked_for_twice_in_one_call_is_charged_once(stand_in: StandIn):
    """And in two calls twice, which the ledger tells."""
    body = {"details": [{"id": stand_in.people[8].id}] * 2}
    assert post(stand_in, "/apollo/people/bulk_match", body).json()["credits_consumed"] == 1
    assert stand_in.ledger.paid_twice("apollo") == set()
    post(stand_in, "/apollo/people/bulk_match", body)
    assert stand_in.ledger.paid_twice("apollo") == {stand_in.people[8].id}


def test_faults_and_ledger_are_reached_over_http_by_other_processes(stand_in: StandIn):
    faults = {"faults": [{"path": "api_search", "nth": [1], "status": 503}]}
    headers = {"connection": "close"}
    url = f"{stand_in.url}/__ctl"
    assert requests.put(f"{url}/faults", json=faults, headers=headers, timeout=5).ok
    statuses = [post(stand_in, "/apollo/mixed_people/api_search", {}).status_code for _ in "ab"]
    entries = requests.get(f"{url}/ledger", headers=headers, timeout=5).json()["entries"]
    assert statuses == [503, 200]
    assert [(entry["provider"], entry["status"]) for entry in entries] == [
        ("apollo", 503),
        ("apollo", 200),
    ]
