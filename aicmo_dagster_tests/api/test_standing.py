"""How a campaign stands and when it runs, over HTTP."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from aicmo_dagster.store.campaigns import load_campaign
from aicmo_dagster.store.results import record_success
from aicmo_dagster_tests.api.rest import Rest
from aicmo_dagster_tests.samples import NOON

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def no_schedule(rest: Rest) -> Iterator[None]:
    yield
    schedule(rest, harvest=None, nurture=None, timezone="UTC")


def schedule(rest: Rest, who: str = "operator", **given: Any) -> httpx.Response:
    headers = given.pop("headers", {})
    path = "/campaigns/spring/schedule"
    return rest.ask(who, "POST", path, json=given, headers=headers)


def done(rest: Rest, stage: str, at: datetime, rows: int) -> None:
    with rest.workspace.database.write() as connection:
        record_success(
            connection,
            "spring",
            stage,
            run_id=f"run at {at.hour}",
            started_at=at,
            finished_at=at + timedelta(minutes=1),
            rows_in=rows,
            rows_out=rows,
            figures={},
        )


def test_a_stage_tells_what_it_was_made_from_and_whether_that_is_still_so(rest: Rest) -> None:
    done(rest, "raw_leads", NOON, 5)
    done(rest, "scored_leads", NOON + HOUR, 5)
    done(rest, "raw_leads", NOON + 2 * HOUR, 7)
    told = rest.ask("viewer", "GET", "/campaigns/spring/status").json()
    raw, scored, qualified, *_ = told["stages"]
    assert (raw["succeeded_in"], raw["rows_out"], raw["fresh"]) == ("run at 14", 7, True)
    assert (scored["made_from"], scored["fresh"]) == ("raw_leads", False)
    assert datetime.fromisoformat(scored["made_from_at"]) == NOON + timedelta(minutes=1)
    assert (qualified["succeeded_at"], qualified["fresh"]) == (None, False)
    assert told["running"] == []


def test_a_cron_is_kept_as_a_new_version_and_told_in_words_and_instants(rest: Rest) -> None:
    before = rest.ask("viewer", "GET", "/campaigns/spring").json()
    answer = schedule(rest, harvest="0 6 * * 1-5", timezone="Europe/Oslo")
    told = answer.json()
    assert (answer.status_code, told["version"]) == (200, before["version"] + 1)
    (job,) = told["jobs"]
    assert job["cron"] == "0 6 * * 1-5"
    assert "06:00" in job["words"]
    ticks = [datetime.fromisoformat(at) for at in job["next_ticks"]]
    assert len(ticks) == 5
    assert ticks == sorted(ticks)
    assert all(at > datetime.now(UTC) and at.hour == 6 and at.weekday() < 5 for at in ticks)
    assert [each["job"] for each in status(rest)["schedule"]] == ["harvest"]


def status(rest: Rest) -> Any:
    return rest.ask("viewer", "GET", "/campaigns/spring/status").json()


def test_what_is_not_given_stays_and_null_takes_away(rest: Rest) -> None:
    schedule(rest, harvest="0 6 * * *", timezone="Europe/Oslo")
    told = schedule(rest, nurture="*/15 * * * *").json()
    assert ([job["job"] for job in told["jobs"]], told["timezone"]) == (
        ["harvest", "nurture"],
        "Europe/Oslo",
    )
    told = schedule(rest, harvest=None).json()
    assert [job["job"] for job in told["jobs"]] == ["nurture"]
    again = schedule(rest, harvest=None).json()
    assert (again["changed"], again["version"]) == (False, told["version"])


def test_what_is_wrong_is_refused_and_changes_nothing(rest: Rest) -> None:
    with rest.workspace.database.read() as connection:
        before = load_campaign(connection, "spring")
    for given in ({"harvest": "hourly"}, {"timezone": "Oslo"}, {"harvests": "0 6 * * *"}):
        refused = schedule(rest, **given)
        assert refused.status_code == 422, given
        assert refused.json()["errors"][0]["detail"].startswith(("expected ", "Extra inputs"))
    stale = {"If-Match": '"0-active"'}
    assert schedule(rest, harvest="0 6 * * *", headers=stale).status_code == 412
    with rest.workspace.database.read() as connection:
        assert load_campaign(connection, "spring") == before
    tag = rest.ask("viewer", "GET", "/campaigns/spring").headers["ETag"]
    assert schedule(rest, harvest="0 6 * * *", headers={"If-Match": tag}).status_code == 200
