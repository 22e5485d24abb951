"""Runs that many campaigns share: each has its turn, its claims and its own failure."""

from datetime import timedelta

import dagster as dg

from aicmo_dagster.defs.checks import CLAIMS
from aicmo_dagster.defs.in_turn import RETRIES_TAG, RUN_KEY
from aicmo_dagster.defs.resources import Clock
from aicmo_dagster.defs.shared_runs import (
    campaigns_sharing,
    shared_config,
    shared_harvest_job,
    take_turns,
)
from aicmo_dagster.errors import AicmoError, Transient
from aicmo_dagster.stages.operating.clock import look
from aicmo_dagster.stages.operating.sharing import FEW
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.results import states_of
from aicmo_dagster.store.ticks import open_ticks
from aicmo_dagster_tests.samples import NOON
from aicmo_dagster_tests.workspaces import apply

LEADS = ("raw_leads", "scored_leads", "qualified_leads", "routed_leads")


def harvested(
    workspace: Workspace, instance: dg.DagsterInstance, *keys: str, run_key: str | None = None
) -> dg.ExecuteInProcessResult:
    return shared_harvest_job.execute_in_process(
        instance=instance,
        run_config=shared_config(shared_harvest_job.name, keys),
        resources={"workspace": workspace, "clock": Clock(as_of=NOON.isoformat())},
        raise_on_error=False,
        tags={} if run_key is None else {RUN_KEY: run_key},
    )


def failures(workspace: Workspace, key: str) -> dict[str, str]:
    with workspace.database.read() as connection:
        states = states_of(connection, key)
    return {stage: state.failure for stage, state in states.items() if state.has_failed}


def test_campaigns_are_harvested_in_one_run_with_their_claims_and_fail_alone(
    workspace: Workspace, instance: dg.DagsterInstance
) -> None:
    for key in ("a", "b"):
        apply(workspace, key, 2)

    result = harvested(workspace, instance, "a", "missing", "b")

    assert not result.success
    for stage in LEADS:
        assert instance.get_materialized_partitions(dg.AssetKey(stage)) == {"a", "b"}
    with workspace.database.read() as connection:
        states = states_of(connection, "b")
    assert {state.succeeded_in for state in states.values()} == {result.run_id}
    assert set(states) == set(LEADS)
    assert "no campaign 'missing'" in failures(workspace, "missing")["raw_leads"]
    kind = dg.DagsterEventType.ASSET_CHECK_EVALUATION
    events = [entry.dagster_event for entry in instance.all_logs(result.run_id, of_type=kind)]
    found = [event.asset_check_evaluation_data for event in events if event]
    told = [(each.partition, each.check_name) for each in found]
    expected = [claimed.name for claimed in CLAIMS if claimed.asset in LEADS]
    assert sorted(told) == sorted((k, n) for k in ("a", "b") for n in expected)


def test_a_campaign_whose_turn_is_over_waits_for_no_other_and_one_that_failed_does(
    workspace: Workspace, instance: dg.DagsterInstance
) -> None:
    """Its next tick is not skipped because of them; a failure is told when the run has ended."""
    keys = [f"c{number}" for number in range(FEW + 1)]
    for key in keys:
        path = apply(workspace, key, 1, schedule={"harvest": "0 * * * *"})
        if key == "c1":
            path.write_text("no table", encoding="utf-8")
    (request,) = look(workspace, {}, {}, NOON + timedelta(hours=1)).requests

    harvested(workspace, instance, "c0", "c1", run_key=request.run_key)

    with workspace.database.read() as connection:
        left = [each.tick.campaign for each in open_ticks(connection)]
    assert left == keys[1:]


LOSE_SCORES = {
    "sqlite": """
        CREATE TRIGGER lose AFTER INSERT ON scored_leads WHEN NEW.campaign = 'bad'
        BEGIN DELETE FROM scored_leads WHERE campaign = 'bad'; END
    """,
    "postgresql": """
        CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN IF NEW.campaign = ''bad'' THEN RETURN NULL; END IF; RETURN NEW; END';
        CREATE TRIGGER lose BEFORE INSERT ON scored_leads FOR EACH ROW EXECUTE FUNCTION lose()
    """,
}


def test_a_claim_that_blocks_and_does_not_hold_ends_its_campaign_alone(
    workspace: Workspace, instance: dg.DagsterInstance
) -> None:
    for key in ("bad", "good"):
        apply(workspace, key, 2)
    with workspace.database.write() as connection:
        connection.exec_driver_sql(LOSE_SCORES[connection.dialect.name])

    harvested(workspace, instance, "bad", "good")

    assert list(failures(workspace, "bad")) == ["scored_leads"]
    assert failures(workspace, "bad")["scored_leads"].startswith("every_lead_is_scored: ")
    assert instance.get_materialized_partitions(dg.AssetKey("routed_leads")) == {"good"}


def test_a_shared_run_tells_whose_it_is() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        config = shared_config(shared_harvest_job.name, ["a", "b"])
        run = instance.create_run_for_job(shared_harvest_job, run_config=config)

    assert campaigns_sharing(run) == ["a", "b"]


def ended(retries: int, *faults: tuple[str, Exception]) -> tuple[list[str], str]:
    """Who had a turn, in order, and what the run that had these faults ended with."""
    turns: list[str] = []
    left = list(faults)

    def do(key: str) -> None:
        turns.append(key)
        for fault in left:
            if fault[0] == key:
                left.remove(fault)
                raise fault[1]

    @dg.op
    def work(context: dg.OpExecutionContext) -> None:
        take_turns(context, ["a", "b", "c"], do, sleep=lambda _: turns.append("wait"))

    @dg.job
    def working() -> None:
        work()

    with dg.DagsterInstance.ephemeral() as instance:
        tags = {RETRIES_TAG: str(retries)}
        result = working.execute_in_process(instance=instance, tags=tags, raise_on_error=False)
    told = [each.step_failure_data.user_failure_data for each in result.get_step_failure_events()]
    return turns, "".join(data.description or "" for data in told if data)


def test_what_may_pass_is_tried_again_alone_after_all_others() -> None:
    lasting = ("a", AicmoError("no such key"))

    turns, told = ended(2, lasting, ("b", Transient("no answer")), ("b", Transient("no answer")))

    assert turns == ["a", "b", "c", "wait", "b", "wait", "b"]
    assert told == "a: no such key"


def test_what_does_not_pass_in_time_has_failed() -> None:
    turns, told = ended(1, ("b", Transient("no answer")), ("b", Transient("none again")))

    assert turns == ["a", "b", "c", "wait", "b"]
    assert told == "b: none again"
