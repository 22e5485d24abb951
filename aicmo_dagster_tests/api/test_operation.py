"""Health, metrics, logs and call-backs of the running service."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from aicmo_dagster.api.app import CACHE_KIB, create_app
from aicmo_dagster.api.logs import log_as_json
from aicmo_dagster.api.service import BASE
from aicmo_dagster.domain.tokens import hook_key, unsubscribe_token
from aicmo_dagster.settings import Settings
from aicmo_dagster.stages.operating.clock import beat
from aicmo_dagster.store.database import open_database
from aicmo_dagster.store.events import events_of_lead
from aicmo_dagster_tests.api.rest import LEADS, Rest
from aicmo_dagster_tests.api.servers import running
from aicmo_dagster_tests.samples import NOON, SECRET, lead_id


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What is logged."""
    before = logging.root.handlers[:], logging.root.level
    log_as_json()
    (handler,) = logging.root.handlers
    assert isinstance(handler, logging.StreamHandler)
    stream = io.StringIO()
    handler.setStream(stream)
    yield stream
    logging.root.handlers[:], _ = before
    logging.root.setLevel(before[1])


def logged(lines: io.StringIO) -> list[dict[str, object]]:
    """What the service has logged; the client of the tests logs too."""
    found = [json.loads(line) for line in lines.getvalue().splitlines()]
    return [line for line in found if line["logger"].startswith(("aicmo", "uvicorn"))]


def test_whether_it_lives_is_open_to_all_and_how_it_fares_is_not(rest: Rest) -> None:
    assert rest.client.get("/health/live").json() == {"state": "pass"}
    assert rest.ask(None, "GET", "/health").status_code == 401
    beat(rest.workspace, NOON)
    sick = rest.ask("viewer", "GET", "/health")
    assert (sick.status_code, sick.json()["checks"]["scheduler"]["state"]) == (503, "fail")
    beat(rest.workspace, datetime.now(UTC) + timedelta(hours=1))
    well = rest.ask("viewer", "GET", "/health")
    assert (well.status_code, well.json()["checks"]["scheduler"]["state"]) == (200, "pass")


def test_it_starts_without_its_database_and_goes_on_once_that_is_there(tmp_path: Path) -> None:
    """A folder stands where the database is to be."""
    path = tmp_path / "aicmo.db"
    path.mkdir()
    url, key = f"sqlite:///{path}", SECRET.decode()
    settings = Settings(tmp_path, url, tmp_path, configured_secret_key=key)
    health = f"{BASE}/health"
    with running(settings) as address, httpx.Client(base_url=address, trust_env=False) as client:
        client.headers["Authorization"] = "Bearer aicmo_unknown_token"
        assert client.get("/health/live").status_code == 200
        away = client.get(health)
        assert (away.status_code, "start it" in away.json()["detail"]) == (503, True)
        assert str(path) not in away.text
        page = f"/u/{unsubscribe_token(SECRET, 'spring', lead_id(1))}"
        assert client.post(page).status_code == 200
        path.rmdir()
        assert client.get(health).status_code == 401  # nobody has made a token yet
    database = open_database(url)
    with database.read() as connection:
        events = events_of_lead(connection, "spring", lead_id(1))
    database.close()
    assert [event["kind"] for event in events] == ["unsubscribe"]


def test_metrics_tell_figures_and_latencies_by_route(rest: Rest) -> None:
    headers = {"Authorization": f"Bearer {rest.tokens['viewer']}"}
    rest.ask("viewer", "GET", "/campaigns/spring")
    assert rest.client.get("/t/c/x").headers["X-Request-ID"]
    answer = rest.client.get("/metrics", headers=headers)
    assert answer.headers["content-type"].startswith("text/plain")
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert samples["aicmo_leads", ("campaign", "spring"), ("stage", "raw_leads")] == LEADS
    assert samples["aicmo_queue_depth", ("queue", "webhooks")] == 0
    route = ("route", "/api/v1/cam/campaigns/{key}")
    name = "aicmo_http_request_duration_seconds_count"
    assert samples[name, ("method", "GET"), route, ("status", "200")] >= 1
    click = ("route", "/t/c/{token}")
    assert samples[name, ("method", "GET"), click, ("status", "404")] >= 1
    assert rest.client.get("/metrics").status_code == 401
    limited = {"Authorization": f"Bearer {rest.tokens['limited']}"}
    assert rest.client.get("/metrics", headers=limited).status_code == 403


def test_a_line_of_the_log_names_request_and_campaign_and_nothing_personal(
    rest: Rest, lines: io.StringIO
) -> None:
    asked = {"X-Request-ID": "mine-1"}
    answer = rest.ask("viewer", "GET", "/campaigns/spring?cursor=jane@acme.example", headers=asked)
    assert answer.headers["X-Request-ID"] == "mine-1"
    token = unsubscribe_token(SECRET, "spring", lead_id(1))
    rest.client.get(f"/u/{token}")
    rest.client.get(f"/x/{token}")
    forged = rest.client.get("/health/live", headers={"X-Request-ID": "a b\tc"})
    assert len(forged.headers["X-Request-ID"]) == 16
    found = [line for line in logged(lines) if line["event"] == "request"]
    assert [(line["route"], line["status"]) for line in found] == [
        ("/api/v1/cam/campaigns/{key}", 200),
        ("unmatched", 404),
        ("/health/live", 200),
    ]
    assert (found[0]["request_id"], found[0]["campaign"]) == ("mine-1", "spring")
    assert token not in str(logged(lines))
    assert "jane" not in str(logged(lines))


def test_of_an_exception_the_log_has_its_type_and_places_alone(lines: io.StringIO) -> None:
    try:
        raise ValueError("jane@acme.example")
    except ValueError:
        logging.getLogger("aicmo").exception("it failed")
    (line,) = logged(lines)
    assert (line["event"], line["error"], line["level"]) == ("it failed", "ValueError", "error")
    assert Path(__file__).name in str(line["at"])
    assert "jane" not in lines.getvalue()


def test_a_server_keeps_little_of_an_sqlite_file(
    tmp_path: Path, new_sqlite: Callable[[], str]
) -> None:
    """It has a connection for each request it answers, and an export reads as much as there is."""
    app = create_app(Settings(tmp_path, new_sqlite(), tmp_path, configured_secret_key="a key"))
    database = app.state.service.workspace.database
    with database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA cache_size").scalar_one() == -CACHE_KIB
    database.close()


def test_a_provider_is_heard_that_names_the_key(rest: Rest) -> None:
    path, key = "/hooks/dropcontact", hook_key(SECRET, "dropcontact")
    event = [{"data": {"request_id": "nobody waits for it"}}]
    assert rest.client.post(path, params={"key": key}, json=event).json() == {"collected": 0}
    assert rest.client.post(path, json=event).status_code == 403
    assert rest.client.post(path, params={"key": key[:-1]}, json=event).status_code == 403
    assert rest.client.post(path, params={"key": key}, content=b"{").status_code == 422
    assert rest.client.post("/hooks/apollo", params={"key": key}, json=event).status_code == 422
    large = b" " * (8 * 2**20 + 1)
    assert rest.client.post(path, params={"key": key}, content=large).status_code == 413
