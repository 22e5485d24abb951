"""Requests that come again, come too often, are too large, or meet a database that is away."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from aicmo_dagster.api.guard import LARGEST_BODY
from aicmo_dagster.store.overrides import overrides_of_lead
from aicmo_dagster_tests.api.rest import Rest, running_rest
from aicmo_dagster_tests.conftest import NewDatabase
from aicmo_dagster_tests.samples import lead_id

PATH = f"/campaigns/spring/leads/{lead_id(1)}/override"
ASKED = {"action": "qualify", "reason": "asked"}


def count(rest: Rest, number: int) -> int:
    with rest.workspace.database.read() as connection:
        return len(overrides_of_lead(connection, "spring", lead_id(number)))


def test_a_request_under_a_key_is_done_once(rest: Rest) -> None:
    headers = {"Idempotency-Key": "one"}
    answers = [rest.ask("operator", "POST", PATH, json=ASKED, headers=headers) for _ in range(3)]

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    replayed = [answer.headers.get("Idempotency-Replayed") for answer in answers]
    assert replayed == [None, "true", "true"]
    assert count(rest, 1) == 1

    other = rest.ask("operator", "POST", PATH, json=ASKED | {"action": "pause"}, headers=headers)
    assert other.status_code == 422
    assert rest.ask("admin", "POST", PATH, json=ASKED, headers=headers).status_code == 200
    assert count(rest, 1) == 2


def test_requests_of_one_key_at_the_same_moment_are_done_once(rest: Rest) -> None:
    path = PATH.replace(lead_id(1), lead_id(2))

    def ask(_: int) -> int:
        headers = {"Idempotency-Key": "together"}
        return rest.ask("operator", "POST", path, json=ASKED, headers=headers).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(8))) == {200}
    assert count(rest, 2) == 1


def test_a_request_that_failed_may_be_tried_again_under_its_key(rest: Rest) -> None:
    headers = {"Idempotency-Key": "again"}
    lost = rest.ask(
        "operator", "POST", PATH.replace(lead_id(1), lead_id(99)), json=ASKED, headers=headers
    )
    found = rest.ask(
        "operator", "POST", PATH.replace(lead_id(1), lead_id(3)), json=ASKED, headers=headers
    )

    assert (lost.status_code, found.status_code) == (404, 200)


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_beyond_the_bound_is_refused(rest: Rest, declared: bool) -> None:
    body = b'{"action": "' + b"x" * LARGEST_BODY + b'"}'
    content = body if declared else (body[at : at + 65_536] for at in range(0, len(body), 65_536))
    headers = {"Content-Type": "application/json"}
    answer = rest.ask("operator", "POST", PATH, content=content, headers=headers)

    assert answer.status_code == 413
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_token_is_told_what_is_left_and_when_it_may_go_on(
    tmp_path: Path, new_sqlite: NewDatabase
) -> None:
    with running_rest(tmp_path, new_sqlite(), api_rate="3/hour") as slow:
        answers = [slow.ask("viewer", "GET", "/campaigns") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert answers[0].headers["RateLimit-Policy"] == '"token";q=3;w=3600'
        assert answers[0].headers["RateLimit"].startswith('"token";r=2;t=')
        assert 0 < int(answers[3].headers["Retry-After"]) <= 3600
        assert answers[3].headers["Content-Type"] == "application/problem+json"
        assert slow.ask("operator", "GET", "/campaigns").status_code == 200


def test_without_its_database_the_service_says_so_and_nothing_of_it(rest: Rest) -> None:
    engine = rest.workspace.database.engine

    def refuse(*_: object) -> None:
        raise sa.exc.OperationalError("SELECT secret", {}, Exception("host db.internal"))

    sa.event.listen(engine, "before_cursor_execute", refuse)
    try:
        answer = rest.ask("viewer", "GET", "/campaigns")
    finally:
        sa.event.remove(engine, "before_cursor_execute", refuse)

    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert "internal" not in answer.text
    assert "secret" not in answer.text


def test_an_error_of_our_own_is_answered_without_what_it_says(rest: Rest) -> None:
    engine = rest.workspace.database.engine

    def fail(*_: object) -> None:
        raise RuntimeError("ada@acme.example")

    sa.event.listen(engine, "before_cursor_execute", fail)
    try:
        answer = rest.ask("viewer", "GET", "/campaigns")
    finally:
        sa.event.remove(engine, "before_cursor_execute", fail)

    assert answer.status_code == 500
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "ada" not in answer.text


def test_pages_of_other_origins_are_not_let_in_by_default(rest: Rest) -> None:
    headers = {"Origin": "https://elsewhere.example"}
    answer = rest.ask("viewer", "GET", "/campaigns", headers=headers)

    assert "Access-Control-Allow-Origin" not in answer.headers
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
