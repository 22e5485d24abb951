"""The assets as Dagster runs them, on one campaign and on many in a run."""

from typing import Any

import dagster as dg

from aicmo_dagster.definitions import defs
from aicmo_dagster.defs.assets import ASSETS
from aicmo_dagster.defs.checks import CHECKS
from aicmo_dagster.defs.in_turn import failure_text
from aicmo_dagster.defs.partitions import register_campaign
from aicmo_dagster.defs.resources import Clock
from aicmo_dagster.domain.schemas import SCHEMAS, STAGES
from aicmo_dagster.errors import AicmoError
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.frames import count_rows
from aicmo_dagster.store.ledger import state_counts
from aicmo_dagster_tests.samples import NOON
from aicmo_dagster_tests.workspaces import apply

OTHERS = ("score_model", "engagement", "sales_handoffs", "campaign_report")


def run(
    workspace: Workspace, instance: dg.DagsterInstance, *keys: str, stages: Any = STAGES
) -> dg.ExecuteInProcessResult:
    """One run over the campaigns `keys`, which must sort next to each other."""
    for key in keys:
        register_campaign(instance, key)
    tags = {
        "dagster/asset_partition_range_start": keys[0],
        "dagster/asset_partition_range_end": keys[-1],
    }
    one = {"partition_key": keys[0]} if len(keys) == 1 else {"tags": tags}
    return dg.materialize(
        [*ASSETS, *CHECKS],
        selection=dg.AssetSelection.assets(*stages),
        instance=instance,
        resources={"workspace": workspace, "clock": Clock(as_of=NOON.isoformat())},
        raise_on_error=False,
        **one,
    )


def materialised(instance: dg.DagsterInstance, stage: str) -> set[str]:
    return set(instance.get_materialized_partitions(dg.AssetKey(stage)))


def test_one_campaign_runs_through_all_five_stages(
    workspace: Workspace, instance: dg.DagsterInstance
) -> None:
    apply(workspace, "spring", 7)
    result = run(workspace, instance, "spring")
    assert result.success
    with workspace.database.read() as connection:
        counts = [count_rows(connection, stage, "spring") for stage in STAGES]
        assert counts == [7] * 5
        assert state_counts(connection, "spring") == {"accepted": 7}
    assert len(list(workspace.settings.outbox.glob("*.eml"))) == 7


def test_many_campaigns_run_in_one_run(workspace: Workspace, instance: dg.DagsterInstance) -> None:
    for number in (1, 2, 3):
        apply(workspace, f"c{number}", number)
    assert run(workspace, instance, "c1", "c2", "c3").success
    assert all(materialised(instance, stage) == {"c1", "c2", "c3"} for stage in STAGES)
    event = instance.get_latest_materialization_event(dg.AssetKey("raw_leads"))
    assert event is not None
    assert event.asset_materialization is not None
    rows = {
        record.partition_key: record.asset_materialization.metadata["rows_out"].value
        for record in instance.fetch_materializations(dg.AssetKey("raw_leads"), limit=10).records
        if record.asset_materialization
    }
    assert rows == {"c1": 1, "c2": 2, "c3": 3}


def test_a_campaign_that_fails_in_a_shared_run_leaves_the_others_materialised(
    workspace: Workspace, instance: dg.DagsterInstance
) -> None:
    apply(workspace, "c1", 2)
    apply(workspace, "c2", None)
    apply(workspace, "c3", 3)
    result = run(workspace, instance, "c1", "c2", "c3")
    assert not result.success
    assert all(materialised(instance, stage) == {"c1", "c3"} for stage in STAGES)
    with workspace.database.read() as connection:
        # Two of its three leads are in c1 already, which is active.
        assert state_counts(connection, "c3") == {"accepted": 1}
    (failure,) = result.get_step_failure_events()
    description = failure.step_failure_data.user_failure_data.description
    assert "c2" in description
    assert "leads.csv" in description
    assert "c1" not in description


def test_a_failed_harvest_leaves_the_previous_materialisation_whole(
    workspace: Workspace, instance: dg.DagsterInstance
) -> None:
    path = apply(workspace, "spring", 5)
    run(workspace, instance, "spring")
    path.write_text("Other,Header\n1,2\n", encoding="utf-8")
    assert not run(workspace, instance, "spring").success
    with workspace.database.read() as connection:
        assert count_rows(connection, "raw_leads", "spring") == 5


def test_materialising_again_changes_no_row_and_sends_nothing(
    workspace: Workspace, instance: dg.DagsterInstance
) -> None:
    apply(workspace, "spring", 5)
    run(workspace, instance, "spring")
    before = rows_of(workspace)
    assert run(workspace, instance, "spring").success
    assert rows_of(workspace) == before
    assert len(list(workspace.settings.outbox.glob("*.eml"))) == 5


def test_an_empty_campaign_materialises_every_stage(
    workspace: Workspace, instance: dg.DagsterInstance
) -> None:
    apply(workspace, "spring", 0)
    assert run(workspace, instance, "spring").success
    assert all(materialised(instance, stage) == {"spring"} for stage in STAGES)


def test_no_event_of_a_run_holds_personal_data(
    workspace: Workspace, instance: dg.DagsterInstance
) -> None:
    path = apply(workspace, "spring", 3)
    with path.open("a", encoding="utf-8") as file:
        file.write("not-an-address,Zebedee,Quuxcorp\n")
    result = run(workspace, instance, "spring")
    log = "\n".join(str(entry) for entry in instance.all_logs(result.run_id))
    assert "rejected_share" in log
    for private in ("lead1@", "company1.example", "Ann1", "Zebedee", "not-an-address", "Company 1"):
        assert private not in log


def test_the_text_of_an_error_that_is_not_ours_is_never_logged() -> None:
    try:
        raise ValueError("jane.doe@secret.example")
    except ValueError as error:
        text = failure_text(error)
    assert "jane" not in text
    assert "ValueError" in text
    assert failure_text(AicmoError("spring: 2 rows")) == "spring: 2 rows"


def test_every_asset_shows_its_columns_owners_kinds_and_text() -> None:
    assets = {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}
    assert set(assets) == {*STAGES, *OTHERS}
    for spec in assets.values():
        assert spec.owners
        assert spec.kinds
        assert spec.description
    for stage in STAGES:
        spec = assets[stage]
        columns = spec.metadata["dagster/column_schema"].columns
        assert [column.name for column in columns] == list(SCHEMAS[stage].to_schema().columns)
        assert all(column.description for column in columns)
        assert spec.group_name == "pipeline"


def test_the_stages_are_one_chain() -> None:
    graph = defs.resolve_asset_graph()
    parents = [
        sorted(key.to_user_string() for key in graph.get(dg.AssetKey(s)).parent_keys)
        for s in STAGES
    ]
    assert parents[1] == ["raw_leads", "score_model"]
    assert [parents[0], *parents[2:]] == [[], *([stage] for stage in STAGES[1:-1])]


def test_every_stage_has_a_check_for_each_campaign() -> None:
    checked = {
        key.asset_key.to_user_string() for key in defs.resolve_asset_graph().asset_check_keys
    }
    assert checked == {*STAGES, "score_model"}


def test_checks_are_evaluated_for_the_campaign_of_the_run(
    workspace: Workspace, instance: dg.DagsterInstance
) -> None:
    apply(workspace, "spring", 4)
    result = run(workspace, instance, "spring")
    evaluations = {e.check_name: e.passed for e in result.get_asset_check_evaluations()}
    # Everyone qualifies here, which the claim about qualification warns of.
    assert evaluations == {
        "few_records_are_rejected": True,
        "most_leads_can_be_written_to": True,
        "every_lead_is_scored": True,
        "some_leads_qualify": False,
        "qualified_share_is_usual": True,
        "capacity_is_kept": True,
        "nobody_suppressed_is_routed": True,
        "each_routed_lead_has_one_sequence": True,
        "shares_are_fair": True,
        "no_send_is_in_doubt": True,
        "something_is_known_of_most_leads": True,
        "nobody_suppressed_is_mailed": True,
        "caps_are_kept": True,
        "nothing_stays_unknown": True,
        "bounces_and_complaints_are_few": True,
    }


def rows_of(workspace: Workspace) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every stage of the campaign `spring`."""
    with workspace.database.read() as connection:
        return {
            stage: [
                tuple(r) for r in connection.exec_driver_sql(f"SELECT * FROM {stage} ORDER BY 2")
            ]
            for stage in STAGES
        }


def test_the_ledger_s_metadata_holds_the_calendar_and_the_tests_and_names_nobody(
    workspace: Workspace, instance: dg.DagsterInstance
) -> None:
    variants = [{"id": "short", "body": "a"}, {"id": "long", "body": "b"}]
    intro = {"id": "intro", "subject": "Hi", "variants": variants, "test": {"leads": 100}}
    nudge = {"id": "nudge", "wait": {"days": 2}, "body": "Again"}
    apply(workspace, "spring", 3, sequences={"everyone": {"steps": [intro, nudge]}})
    result = run(workspace, instance, "spring")
    (event,) = result.asset_materializations_for_node("nurture_sends")
    calendar = [record.data for record in event.metadata["calendar"].records]  # type: ignore[union-attr]
    assert len(calendar) == 14
    assert [row["due"] for row in calendar][:3] == [0, 0, 3]
    states = [record.data for record in event.metadata["leads_in_sequence"].records]  # type: ignore[union-attr]
    assert states == [{"state": "active", "reason": "", "leads": 3}]
    (test,) = (record.data for record in event.metadata["experiments"].records)  # type: ignore[union-attr]
    assert (test["step"], test["state"], test["look"]) == ("intro", "running", 0)
