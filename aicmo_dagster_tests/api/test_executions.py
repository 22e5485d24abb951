"""A run is started once, whatever is repeated, breaks off or is asked for at the same moment.

The real web server is asked in `test_web_ui`; here it fails at the worst moments.
"""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import dagster as dg
import httpx
import pytest
import sqlalchemy as sa

from aicmo_dagster.api.runs import INTENT_TAG, JOBS, Runs
from aicmo_dagster.definitions import defs
from aicmo_dagster.settings import Settings
from aicmo_dagster.stages.operating.dagster_home import prepare_dagster_home
from aicmo_dagster.store import run_intents, tables
from aicmo_dagster.store.audit import list_changes
from aicmo_dagster.store.campaigns import archive_campaign
from aicmo_dagster.store.results import record_failure, record_success
from aicmo_dagster.store.run_intents import LAUNCHING, RunIntent
from aicmo_dagster_tests.api.dagster_stand_in import StandIn, dagster_stand_in
from aicmo_dagster_tests.api.rest import Rest, running_rest
from aicmo_dagster_tests.conftest import NewDatabase
from aicmo_dagster_tests.samples import NOON

EXECUTE = "/campaigns/spring/execute/full-pipeline"


@pytest.fixture(scope="module")
def standing(
    tmp_path_factory: pytest.TempPathFactory, new_sqlite: NewDatabase
) -> Iterator[tuple[Rest, StandIn]]:
    home = tmp_path_factory.mktemp("rest")
    prepare_dagster_home(Settings(home=home, database_url="", dagster_home=home))
    with (
        dagster_stand_in(home) as stand_in,
        running_rest(home, new_sqlite(), dagster_url=stand_in.url) as started,
    ):
        yield started, stand_in


@pytest.fixture
def dagster(standing: tuple[Rest, StandIn]) -> StandIn:
    """The stand-in, without runs."""
    _, stand_in = standing
    for run in stand_in.runs():
        stand_in.instance.delete_run(run.run_id)
    stand_in.faults.clear()
    stand_in.delay = 0.0
    return stand_in


@pytest.fixture
def rest(standing: tuple[Rest, StandIn], dagster: StandIn) -> Rest:
    started, _ = standing
    settled_at_once(started, settled=timedelta(minutes=2))
    return started


def settled_at_once(rest: Rest, settled: timedelta = timedelta(0), **changes: str) -> None:
    """What was in doubt is taken to be settled after that time."""
    rest.app.state.runs = Runs(replace(rest.workspace.settings, **changes), settled)


def execute(rest: Rest, key: str | None = None, path: str = EXECUTE) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return rest.ask("operator", "POST", path, headers=headers)


def fresh() -> str:
    return str(uuid4())


def at_once(rest: Rest, keys: list[str | None]) -> list[httpx.Response]:
    with ThreadPoolExecutor(len(keys)) as pool:
        return list(pool.map(lambda key: execute(rest, key), keys))


def test_a_run_is_queued_for_the_campaign_and_told_of(rest: Rest, dagster: StandIn) -> None:
    answer = execute(rest)
    (run,) = dagster.runs()
    assert (answer.status_code, answer.json()["run_id"]) == (202, run.run_id)
    assert run.tags["dagster/partition"] == "spring"
    assert dagster.instance.has_dynamic_partition("campaigns", "spring")
    told = rest.client.get(answer.headers["Location"], headers=bearer(rest)).json()
    assert (told["state"], told["campaigns"], told["progress"]) == ("starting", ["spring"], 0)
    with rest.workspace.database.read() as connection:
        (change,) = list_changes(connection, 1)
    assert (change.action, change.subject) == ("run.start", run.run_id)
    assert change.who.startswith("token:")


def bearer(rest: Rest) -> dict[str, str]:
    return {"Authorization": f"Bearer {rest.tokens['viewer']}"}


def test_while_one_goes_another_is_refused_with_its_id(rest: Rest, dagster: StandIn) -> None:
    first = execute(rest).json()["run_id"]
    second = execute(rest, path="/campaigns/spring/execute/score")
    assert (second.status_code, second.json()["run_id"]) == (409, first)
    assert second.json()["type"] == "run-in-progress"
    assert execute(rest, path="/campaigns/autumn/execute/score").status_code == 202
    dagster.end(first)
    assert execute(rest).status_code == 202
    assert len(dagster.runs()) == 3


def test_of_many_requests_at_once_one_starts_a_run_and_the_others_learn_its_id(
    rest: Rest, dagster: StandIn
) -> None:
    dagster.delay = 0.3
    answers = at_once(rest, [None] * 6)
    (run,) = dagster.runs()
    assert sorted(each.status_code for each in answers) == [202, *[409] * 5]
    assert {each.json()["run_id"] for each in answers} == {run.run_id}


def test_a_key_stands_for_one_run_however_often_and_however_late_it_comes(
    rest: Rest, dagster: StandIn
) -> None:
    dagster.delay = 0.3
    key = fresh()
    answers = at_once(rest, [key] * 4)
    (run,) = dagster.runs()
    dagster.end(run.run_id)
    answers.append(execute(rest, key))
    assert {each.status_code for each in answers} == {202}
    assert {each.json()["run_id"] for each in answers} == {run.run_id}
    assert len(dagster.runs()) == 1


def test_a_lost_answer_is_found_in_the_storage(rest: Rest, dagster: StandIn) -> None:
    dagster.faults[:] = ["after"]
    answer = execute(rest)
    (run,) = dagster.runs()
    assert (answer.status_code, answer.json()["run_id"]) == (202, run.run_id)


@pytest.mark.parametrize("fault", ["before", "between"])
@pytest.mark.parametrize("same", [True, False])
def test_what_broke_off_is_started_once_it_is_certain_that_it_was_not(
    rest: Rest, dagster: StandIn, fault: str, same: bool
) -> None:
    dagster.faults[:] = [fault]
    key = fresh()
    lost = execute(rest, key)
    assert (lost.status_code, lost.json()["type"]) == (503, "outcome-unknown")
    assert lost.headers["Retry-After"]
    settled_at_once(rest)
    again = execute(rest, key if same else fresh())
    (run,) = dagster.runs()
    assert (again.status_code, again.json()["run_id"]) == (202, run.run_id)
    assert run.status == dg.DagsterRunStatus.STARTING


def test_what_broke_off_and_appears_late_is_found_and_not_started_again(
    rest: Rest, dagster: StandIn
) -> None:
    dagster.faults[:] = ["before"]
    key = fresh()
    assert execute(rest, key).status_code == 503
    late = intent_of_launch(rest)
    run_id = dagster.add("full_pipeline_job", {INTENT_TAG: late, "dagster/partition": "spring"})
    other = execute(rest)
    assert (other.status_code, other.json()["run_id"]) == (409, run_id)
    assert execute(rest, key).json()["run_id"] == run_id
    assert len(dagster.runs()) == 1


def intent_of_launch(rest: Rest) -> str:
    """The id of the intent that is being launched, which stands in the way of another."""
    other = RunIntent("x", "spring", "score", LAUNCHING, None, "test", NOON, NOON)
    with rest.workspace.database.write() as connection:
        found = run_intents.begin_intent(connection, other)
    assert found
    return found.id


def test_a_dagster_that_starts_nothing_leaves_nothing_behind(rest: Rest, dagster: StandIn) -> None:
    dagster.faults[:] = ["error"]
    key = fresh()
    refused = execute(rest, key)
    assert (refused.status_code, refused.json()["type"]) == (503, "dagster-unreachable")
    assert execute(rest, key).status_code == 202
    assert len(dagster.runs()) == 1


def test_a_run_that_was_started_in_spite_of_an_error_is_the_one(
    rest: Rest, dagster: StandIn
) -> None:
    dagster.faults[:] = ["late error"]
    key = fresh()
    answer = execute(rest, key)
    (run,) = dagster.runs()
    assert (answer.status_code, answer.json()["run_id"]) == (202, run.run_id)
    dagster.end(run.run_id, well=False)
    assert execute(rest, key).json()["run_id"] == run.run_id
    assert len(dagster.runs()) == 1


def test_a_run_that_turns_up_after_its_request_was_refused_is_the_one(
    rest: Rest, dagster: StandIn
) -> None:
    dagster.faults[:] = ["before"]
    key = fresh()
    assert execute(rest, key).status_code == 503
    late = intent_of_launch(rest)
    with rest.workspace.database.write() as connection:
        run_intents.settle_intent(connection, late, None)
    run_id = dagster.add("full_pipeline_job", {INTENT_TAG: late, "dagster/partition": "spring"})
    dagster.end(run_id)
    assert execute(rest, key).json()["run_id"] == run_id
    assert len(dagster.runs()) == 1


def test_nothing_is_left_of_a_launch_that_is_given_up_however_late_it_was_made(
    rest: Rest, dagster: StandIn
) -> None:
    dagster.faults[:] = ["before"]
    key = fresh()
    assert execute(rest, key).status_code == 503
    late = intent_of_launch(rest)
    dagster.add(
        "full_pipeline_job", {INTENT_TAG: late, "dagster/partition": "spring"}, started=False
    )
    with rest.workspace.database.write() as connection:
        connection.execute(sa.update(tables.run_intents).values(attempted_at=NOON))
    answer = execute(rest, key)
    (run,) = dagster.runs()
    assert (answer.status_code, answer.json()["run_id"]) == (202, run.run_id)
    assert run.status == dg.DagsterRunStatus.STARTING


def test_without_a_web_server_it_is_told_what_to_start_and_a_retry_starts_one(
    rest: Rest, dagster: StandIn
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        settled_at_once(rest, timedelta(minutes=2), dagster_url=url)
        refused = execute(rest)
    assert refused.status_code == 503
    assert "aicmo dev" in refused.json()["detail"]
    settled_at_once(rest, timedelta(minutes=2))
    assert execute(rest).status_code == 202
    assert len(dagster.runs()) == 1


def test_only_active_campaigns_that_exist_are_run(rest: Rest, dagster: StandIn) -> None:
    assert execute(rest, path="/campaigns/none/execute/score").status_code == 404
    assert execute(rest, path="/campaigns/spring/execute/erase").status_code == 422
    with rest.workspace.database.write() as connection:
        archive_campaign(connection, "autumn", NOON)
    assert execute(rest, path="/campaigns/autumn/execute/score").status_code == 409
    assert dagster.runs() == []


def test_a_run_tells_its_stages_and_why_it_failed(rest: Rest, dagster: StandIn) -> None:
    run_id = execute(rest).json()["run_id"]
    times = {"started_at": NOON, "finished_at": NOON}
    with rest.workspace.database.write() as connection:
        record_success(
            connection,
            "spring",
            "raw_leads",
            run_id=run_id,
            rows_in=5,
            rows_out=4,
            figures={},
            **times,
        )
        record_failure(
            connection, "spring", "scored_leads", run_id=run_id, failure="no columns", **times
        )
    dagster.end(run_id, well=False)
    told = rest.ask("viewer", "GET", f"/runs/{run_id}").json()
    assert (told["state"], told["failure"]) == ("failed", "scored_leads: no columns")
    assert [(each["stage"], each["state"]) for each in told["stages"]][:2] == [
        ("raw_leads", "finished"),
        ("scored_leads", "failed"),
    ]
    assert told["stages"][0]["rows_out"] == 4
    assert rest.ask("operator", "POST", f"/runs/{run_id}/cancel").status_code == 409


def test_whoever_cancels_what_is_being_cancelled_changes_nothing(
    rest: Rest, dagster: StandIn
) -> None:
    run_id = dagster.add("full_pipeline_job", {"dagster/partition": "spring"})
    run = dagster.instance.get_run_by_id(run_id)
    assert run
    dagster.instance.report_run_canceling(run)

    answer = rest.ask("operator", "POST", f"/runs/{run_id}/cancel")

    assert (answer.status_code, answer.json()["state"]) == (202, "canceling")
    with rest.workspace.database.read() as connection:
        assert not any(change.action == "run.cancel" for change in list_changes(connection, 50))


def test_a_run_of_another_campaign_is_no_run_to_a_limited_token(
    rest: Rest, dagster: StandIn
) -> None:
    run_id = dagster.add("full_pipeline_job", {"dagster/partition": "autumn"})
    assert rest.ask("viewer", "GET", f"/runs/{run_id}").status_code == 200
    assert rest.ask("limited", "GET", f"/runs/{run_id}").status_code == 404
    assert rest.ask("limited", "POST", f"/runs/{run_id}/cancel").status_code == 404
    assert rest.ask("viewer", "GET", f"/runs/{uuid4()}").status_code == 404


def test_what_is_run_are_jobs_and_stages_that_there_are() -> None:
    for job, stages in JOBS.values():
        selected = defs.resolve_job_def(job).asset_layer.executable_asset_keys
        assert {dg.AssetKey(stage) for stage in stages} <= selected
