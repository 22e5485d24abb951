"""Who may call what: every endpoint of the application with every role."""

from datetime import UTC, datetime, timedelta

import pytest
from fastapi import FastAPI
from fastapi.routing import RouteContext, iter_route_contexts

from aicmo_dagster.api import jwts
from aicmo_dagster.api.access import Requires
from aicmo_dagster.api.service import BASE
from aicmo_dagster.store.tokens import find_token, revoke_token
from aicmo_dagster_tests.api.rest import Rest
from aicmo_dagster_tests.samples import SECRET, lead_id

NOBODY = "nobody"
LEAST_ROLE = {
    "POST /auth/token": "viewer",
    "GET /audit": "admin",
    "GET /campaigns": "viewer",
    "POST /campaigns": "operator",
    "GET /campaigns/{key}": "viewer",
    "PUT /campaigns/{key}": "operator",
    "POST /campaigns/{key}/archive": "operator",
    "GET /campaigns/{key}/leads": "viewer",
    "GET /campaigns/{key}/leads:export": "viewer",
    "POST /campaigns/{key}/leads:import": "operator",
    "GET /campaigns/{key}/imports": "viewer",
    "DELETE /campaigns/{key}/imports/{id}": "operator",
    "GET /campaigns/{key}/leads/{lead}": "viewer",
    "POST /campaigns/{key}/execute/{action}": "operator",
    "GET /campaigns/{key}/status": "viewer",
    "POST /campaigns/{key}/schedule": "operator",
    "GET /runs/{run_id}": "viewer",
    "POST /runs/{run_id}/cancel": "operator",
    "GET /health": "viewer",
    "GET /webhooks": "admin",
    "POST /webhooks": "admin",
    "GET /webhooks/{id}": "admin",
    "PUT /webhooks/{id}": "admin",
    "DELETE /webhooks/{id}": "admin",
    "GET /webhooks/{id}/secret": "admin",
    "GET /webhooks/{id}/deliveries": "admin",
    "POST /webhooks/{id}/deliveries/{delivery}/resend": "admin",
    "GET /campaigns/{key}/leads/{lead}/activity": "viewer",
    "POST /campaigns/{key}/leads/{lead}/override": "operator",
    "GET /campaigns/{key}/handoffs": "viewer",
    "POST /campaigns/{key}/handoffs/{lead}/acknowledge": "operator",
    "POST /campaigns/{key}/handoffs/{lead}/resend": "operator",
    "GET /campaigns/{key}/models": "viewer",
    "POST /campaigns/{key}/models/{version}/promote": "operator",
    "POST /campaigns/{key}/models:rollback": "operator",
    "GET /campaigns/{key}/dashboard": "viewer",
    "GET /stats": "viewer",
    "GET /suppressions": "operator",
    "POST /suppressions": "operator",
    "DELETE /suppressions/{kind}/{digest}": "admin",
    "POST /erasures": "admin",
}
"""Every endpoint to the least role that it takes; a new one is added here."""

PARTS = {
    **{"lead": lead_id(1), "version": "abcd", "kind": "domain", "digest": "0" * 64, "id": "1"},
    **{"run_id": "none", "delivery": "none", "action": "score"},
}
RANKS = ("viewer", "operator", "admin")


def endpoints(app: FastAPI) -> dict[str, RouteContext]:
    return {
        f"{method} {route.path.removeprefix(BASE)}": route
        for route in iter_route_contexts(app.routes)
        if route.path is not None and route.path.startswith(BASE)
        for method in route.methods or ()
    }


def test_every_endpoint_has_a_role(rest: Rest) -> None:
    assert set(endpoints(rest.app)) == set(LEAST_ROLE)


@pytest.mark.parametrize("endpoint", LEAST_ROLE)
def test_an_endpoint_opens_to_its_role_and_those_above(rest: Rest, endpoint: str) -> None:
    method, path = endpoint.split(" ")
    path = path.format(**PARTS, key="no-such-campaign")
    answered = {
        who: rest.ask(None if who == NOBODY else who, method, path).status_code
        for who in (NOBODY, *RANKS)
    }

    assert answered.pop(NOBODY) == 401
    least = RANKS.index(LEAST_ROLE[endpoint])
    assert {who for who, status in answered.items() if status == 403} == set(RANKS[:least])
    assert 401 not in answered.values()
    assert max(answered.values()) < 500


@pytest.mark.parametrize("endpoint", [name for name in LEAST_ROLE if "{key}" in name])
def test_a_limited_token_sees_no_other_campaign(rest: Rest, endpoint: str) -> None:
    method, path = endpoint.split(" ")
    answer = rest.ask("limited", method, path.format(**PARTS, key="autumn"))

    assert answer.status_code == 404
    assert answer.json()["detail"] == "there is no campaign 'autumn'"


def test_every_route_names_its_role_once(rest: Rest) -> None:
    for name, route in endpoints(rest.app).items():
        needed = [
            each.call.role for each in route.dependant.dependencies if type(each.call) is Requires
        ]
        assert needed == [LEAST_ROLE[name]], name


@pytest.mark.parametrize(
    "text", ["x", "aicmo_", "aicmo_abc_def", "a.b.c", "aicmo__", "\u00e9", "x" * 5000]
)
def test_a_made_up_token_opens_nothing(rest: Rest, text: str) -> None:
    headers = {"Authorization": f"Bearer {text}".encode()}
    answer = rest.client.get(f"{BASE}/campaigns", headers=headers)

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_changed_token_opens_nothing(rest: Rest) -> None:
    text = rest.tokens["admin"]
    changed = text[:-1] + ("A" if text[-1] != "A" else "B")

    assert rest.ask(changed, "GET", "/campaigns").status_code == 401


def test_an_expired_or_revoked_token_and_its_jwt_open_nothing(rest: Rest) -> None:
    over = rest.token("admin", expires_at=datetime.now(UTC) - timedelta(seconds=1))
    assert rest.ask(over, "GET", "/campaigns").status_code == 401

    taken_back = rest.token("admin")
    made = rest.ask(taken_back, "POST", "/auth/token").json()["access_token"]
    assert rest.ask(made, "GET", "/campaigns").status_code == 200
    with rest.workspace.database.write() as connection:
        revoke_token(connection, taken_back.split("_")[1], datetime.now(UTC))
    assert rest.ask(taken_back, "GET", "/campaigns").status_code == 401
    assert rest.ask(made, "GET", "/campaigns").status_code == 401


def test_a_jwt_does_no_more_than_its_token(rest: Rest) -> None:
    assert rest.ask("viewer", "POST", "/auth/token", json={"role": "admin"}).status_code == 403
    beyond = rest.ask("limited", "POST", "/auth/token", json={"campaigns": ["autumn"]})
    assert beyond.status_code == 404

    wanted = {"role": "viewer", "campaigns": ["autumn"], "expires_in": 60}
    made = rest.ask("admin", "POST", "/auth/token", json=wanted).json()
    assert made["expires_in"] == 60
    text = made["access_token"]
    assert rest.ask(text, "GET", "/campaigns/spring").status_code == 404
    assert rest.ask(text, "GET", "/campaigns/autumn").status_code == 200
    assert [each["key"] for each in rest.ask(text, "GET", "/campaigns").json()["items"]] == [
        "autumn"
    ]
    assert rest.ask(text, "POST", "/auth/token").status_code == 403


def test_a_jwt_ends(rest: Rest) -> None:
    now = datetime.now(UTC)
    token_id = rest.tokens["admin"].split("_")[1]
    claims = {"sub": token_id, "role": "admin", "campaigns": None}
    over = jwts.sign(SECRET, claims, now - timedelta(minutes=2), timedelta(minutes=1))
    other = jwts.sign(b"another key", claims, now, timedelta(minutes=1))

    assert rest.ask(over, "GET", "/campaigns").status_code == 401
    assert rest.ask(other, "GET", "/campaigns").status_code == 401


def test_the_use_of_a_token_is_noted(rest: Rest) -> None:
    text = rest.token("viewer")
    before = datetime.now(UTC)
    rest.ask(text, "GET", "/campaigns")
    rest.app.state.service.uses.stop()

    with rest.workspace.database.read() as connection:
        token = find_token(connection, text.split("_")[1])
    assert token is not None
    assert token.last_used_at is not None
    assert token.last_used_at >= before
