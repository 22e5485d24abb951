"""The asset `score_model` as Dagster runs it, its card and its checks."""

import base64
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from aicmo_dagster.definitions import defs
from aicmo_dagster.defs.assets import ASSETS
from aicmo_dagster.defs.checks import CHECKS
from aicmo_dagster.defs.jobs import JOBS
from aicmo_dagster.defs.models import score_model, train_campaign
from aicmo_dagster.defs.partitions import register_campaign
from aicmo_dagster.defs.resources import Clock
from aicmo_dagster.stages.harvesting.harvest import harvest
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster_tests.outcomes import apply_outcomes, outcomes_csv
from aicmo_dagster_tests.samples import NOON
from aicmo_dagster_tests.workspaces import open_test_workspace

SCORE_MODEL = dg.AssetKey("score_model")


@pytest.fixture
def workspace(tmp_path: Path, new_sqlite: Callable[[], str]) -> Iterator[Workspace]:
    opened = open_test_workspace(tmp_path, new_sqlite())
    yield opened
    opened.database.close()


def trained(
    workspace: Workspace, instance: dg.DagsterInstance, *keys: str
) -> dg.ExecuteInProcessResult:
    """A run of training over campaigns that sort next to each other."""
    for key in keys:
        register_campaign(instance, key)
    tags = {
        "dagster/asset_partition_range_start": keys[0],
        "dagster/asset_partition_range_end": keys[-1],
    }
    return dg.materialize(
        [*ASSETS, score_model, *CHECKS],
        selection=dg.AssetSelection.assets(score_model),
        instance=instance,
        resources={"workspace": workspace, "clock": Clock(as_of=NOON.isoformat())},
        raise_on_error=False,
        **({"partition_key": keys[0]} if len(keys) == 1 else {"tags": tags}),
    )


def card(instance: dg.DagsterInstance, key: str) -> dict[str, Any]:
    """The metadata of the latest materialisation of `score_model` for a campaign."""
    wanted = dg.AssetRecordsFilter(SCORE_MODEL, asset_partitions=[key])
    (record,) = instance.fetch_materializations(wanted, limit=1).records
    assert record.asset_materialization is not None
    return {name: each.value for name, each in record.asset_materialization.metadata.items()}


def rows(table: Any) -> list[dict[str, Any]]:
    return [dict(record.data) for record in table]


def picture(markdown: str) -> str:
    found = re.fullmatch(r"!\[.*\]\(data:image/svg\+xml;base64,(.*)\)", markdown)
    assert found is not None
    return base64.b64decode(found.group(1)).decode()


def test_the_card_of_a_model_is_the_metadata_of_its_training(
    workspace: Workspace, instance: dg.DagsterInstance
) -> None:
    apply_outcomes(workspace, "spring", outcomes_csv(900))
    harvest(workspace, "spring", NOON)
    result = trained(workspace, instance, "spring")
    told = card(instance, "spring")

    assert result.success
    assert told["in_charge"] == told["model"] != "scorecard"
    assert told["wins"] + told["losses"] == told["leads"] == 900
    measures = {row["measure"]: row for row in rows(told["figures"].records)}
    assert 0.6 < float(measures["AUC within cohorts"]["value"]) < 0.9
    assert re.fullmatch(r"0\.\d+ to 0\.\d+", measures["AUC within cohorts"]["95 % interval"])
    assert {"Lift of the best tenth within cohorts", "Brier score"} <= set(measures)
    assert picture(told["calibration"]).count("<circle") == 10
    assert "custom.Hours" in picture(told["influence"])
    assert rows(told["influences"].records)[0]["name"] == "custom.Hours"
    leaks = rows(told["suspected_leaks"].records)
    assert {row["column"] for row in leaks} == {"custom.Lead Quality"}
    assert "scoring.known_at_capture" in leaks[0]["what_to_do"]


def test_a_new_campaign_is_scored_by_the_scorecard(instance: dg.DagsterInstance) -> None:
    for _ in range(2):
        register_campaign(instance, "spring")

    assert card(instance, "spring")["in_charge"] == "scorecard"
    records = instance.fetch_materializations(SCORE_MODEL, limit=10).records
    assert len(records) == 1


def test_too_few_outcomes_materialise_the_scorecard(
    workspace: Workspace, instance: dg.DagsterInstance
) -> None:
    apply_outcomes(workspace, "spring", outcomes_csv(60))
    harvest(workspace, "spring", NOON)
    result = trained(workspace, instance, "spring")
    told = card(instance, "spring")

    assert result.success
    assert told == {
        "summary": f"scorecard: {told['wins']} wins, {told['losses']} losses; 50 of each needed",
        "in_charge": "scorecard",
        "leads": 60,
        "wins": told["wins"],
        "losses": told["losses"],
    }


def test_a_campaign_that_fails_leaves_the_others_trained(
    workspace: Workspace, instance: dg.DagsterInstance
) -> None:
    apply_outcomes(workspace, "spring-a", outcomes_csv(60))
    result = trained(workspace, instance, "spring-a", "spring-b")

    assert not result.success
    assert card(instance, "spring-a")["leads"] == 0
    assert card(instance, "spring-b")["summary"] == "scorecard: nothing learned yet"
    (failure,) = result.get_step_failure_events()
    assert failure.step_failure_data.user_failure_data is not None
    assert "spring-b" in str(failure.step_failure_data.user_failure_data.description)


def test_drift_since_training_is_on_the_next_card_and_fails_its_check(
    workspace: Workspace, instance: dg.DagsterInstance
) -> None:
    apply_outcomes(workspace, "spring", outcomes_csv(900))
    harvest(workspace, "spring", NOON)
    first = trained(workspace, instance, "spring")
    more = outcomes_csv(300, seed=9, first=901).split("\n", 1)[1].replace("team", "basic")
    apply_outcomes(workspace, "spring", outcomes_csv(900) + more)
    harvest(workspace, "spring", NOON)
    second = trained(workspace, instance, "spring")
    checks = [
        {each.check_name: each.passed for each in result.get_asset_check_evaluations()}
        for result in (first, second)
    ]

    assert checks[0] == {
        "leads_are_like_those_learned_from": True,
        "expected_wins_come_true": True,
    }
    drifted = {row["name"]: row["alarm"] for row in rows(card(instance, "spring")["drift"].records)}
    assert drifted["custom.Plan"]
    assert not drifted["custom.Hours"]
    assert not checks[1]["leads_are_like_those_learned_from"]


def test_no_card_holds_personal_data(workspace: Workspace, instance: dg.DagsterInstance) -> None:
    apply_outcomes(workspace, "spring", outcomes_csv(900))
    harvest(workspace, "spring", NOON)
    result = trained(workspace, instance, "spring")
    log = "\n".join(str(entry) for entry in instance.all_logs(result.run_id))

    assert "suspected_leaks" in log
    for private in ("@company", "company7.example", "Company 7"):
        assert private not in log


def test_training_is_no_part_of_the_pipelines_runs() -> None:
    for job in JOBS:
        assert SCORE_MODEL not in defs.resolve_job_def(job.name).asset_layer.executable_asset_keys
    assert score_model not in ASSETS


def test_a_training_that_fails_is_told_with_its_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AICMO_DATABASE_URL", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AICMO_HOME", str(tmp_path))
    with dg.DagsterInstance.ephemeral() as instance:
        register_campaign(instance, "nobody")
        outcome = train_campaign(defs, instance, "nobody")

    assert (outcome.exit_code, outcome.in_charge) == (1, None)
    assert outcome.failure is not None
    assert outcome.failure.startswith("score_model: nobody: ")
