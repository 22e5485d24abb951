"""What Dagster shows of qualification and routing: checks, counts by cause, pictures."""

import base64
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from aicmo_dagster.defs.assets import ASSETS
from aicmo_dagster.defs.checks import CHECKS
from aicmo_dagster.defs.partitions import register_campaign
from aicmo_dagster.defs.resources import Clock
from aicmo_dagster.domain.tokens import address_key
from aicmo_dagster.stages.claims import share_is_usual
from aicmo_dagster.stages.deciding import routing_claims
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.frames import replace_frame
from aicmo_dagster.store.suppressions import suppress
from aicmo_dagster_tests.samples import NOON, SECRET, lead_id, raw_leads, routed_leads
from aicmo_dagster_tests.store.rows import sends
from aicmo_dagster_tests.workspaces import apply, open_test_workspace


@pytest.fixture
def workspace(tmp_path: Path, new_sqlite: Callable[[], str]) -> Iterator[Workspace]:
    opened = open_test_workspace(tmp_path, new_sqlite())
    yield opened
    opened.database.close()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        register_campaign(ephemeral, "spring")
        yield ephemeral


def run(
    workspace: Workspace, instance: dg.DagsterInstance, *stages: str
) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        [*ASSETS, *CHECKS],
        selection=dg.AssetSelection.assets(*stages),
        instance=instance,
        partition_key="spring",
        resources={"workspace": workspace, "clock": Clock(as_of=NOON.isoformat())},
    )


def told(instance: dg.DagsterInstance, stage: str) -> Mapping[str, Any]:
    """The metadata of the latest materialisation."""
    event = instance.get_latest_materialization_event(dg.AssetKey(stage))
    assert event is not None
    assert event.asset_materialization is not None
    return event.asset_materialization.metadata


def svg(value: Any) -> str:
    return base64.b64decode(value.value.partition("base64,")[2].rstrip(")")).decode()


def decisions(metadata: Mapping[str, Any]) -> dict[tuple[Any, Any], Any]:
    rows = [record.data for record in metadata["decisions"].records]
    return {(row["outcome"], row["cause"]): row["leads"] for row in rows}


def test_a_share_far_from_the_usual_one_is_warned_of(
    workspace: Workspace, instance: dg.DagsterInstance
) -> None:
    """Everybody qualified six times, and then a new rule lets nobody pass."""
    apply(workspace, "spring", 4)
    run(workspace, instance, "raw_leads", "scored_leads")
    for _ in range(6):
        run(workspace, instance, "qualified_leads")
    rules = [{"field": "company", "op": "==", "value": "Nobody"}]
    apply(workspace, "spring", 4, qualification={"rules": rules})
    result = run(workspace, instance, "qualified_leads")
    found = {e.check_name: e for e in result.get_asset_check_evaluations()}
    usual = found["qualified_share_is_usual"]
    assert (usual.passed, usual.metadata["usual_share"].value) == (False, 1.0)
    assert usual.description == (
        "spring: 0% qualify, usually 100% give or take 10%: did a source change?"
    )


def test_what_is_usual_is_known_after_some_runs_and_is_as_wide_as_they_differ() -> None:
    assert share_is_usual(0.0, [0.9] * 4).holds
    assert not share_is_usual(0.0, [0.9] * 5).holds
    assert share_is_usual(0.8, [0.9] * 5).holds
    assert not share_is_usual(0.7, [0.9] * 4 + [0.1]).holds
    assert share_is_usual(0.3, [0.3, 0.5, 0.7, 0.6, 0.4]).holds


def test_qualification_and_routing_show_their_pictures_and_counts(
    workspace: Workspace, instance: dg.DagsterInstance
) -> None:
    rules = [{"name": "not the second", "field": "company", "op": "!=", "value": "Company 2"}]
    routing = {"sequences": [{"sequence": "everyone", "capacity": 2}]}
    apply(workspace, "spring", 4, qualification={"rules": rules}, routing=routing)
    run(workspace, instance, "raw_leads", "scored_leads", "qualified_leads", "routed_leads")
    qualified, routed = told(instance, "qualified_leads"), told(instance, "routed_leads")
    assert "after rule 'not the second'" in svg(qualified["funnel"])
    assert decisions(qualified) == {
        ("qualified", "rules"): 3,
        ("not_qualified", "rule 'not the second'"): 1,
    }
    assert "stroke-dasharray" in svg(routed["sequences"])
    assert decisions(routed) == {
        ("routed", "everyone"): 2,
        ("not_routed", "every sequence it may go to is full"): 1,
    }


def store(workspace: Workspace, count: int, **columns: Any) -> None:
    """`count` raw leads, in the sequence `everyone` unless `columns` say otherwise."""
    with workspace.database.write() as connection:
        replace_frame(connection, "raw_leads", "spring", raw_leads(count))
        replace_frame(connection, "routed_leads", "spring", routed_leads(count, **columns))


def test_more_leads_under_way_than_the_capacity_are_found(workspace: Workspace) -> None:
    apply(workspace, "spring", 0, routing={"sequences": [{"sequence": "everyone", "capacity": 2}]})
    store(workspace, 2)
    assert routing_claims.capacity_is_kept(workspace, "spring").holds
    store(workspace, 3)
    assert not routing_claims.capacity_is_kept(workspace, "spring").holds


def test_someone_who_was_suppressed_when_routed_is_found(workspace: Workspace) -> None:
    apply(workspace, "spring", 0)
    store(workspace, 3)
    assert workspace.settings.secret_key() == SECRET
    for number, since in ((1, NOON), (2, NOON.replace(hour=13))):
        key = address_key(SECRET, f"lead{number}@company{number}.example")
        with workspace.database.write() as connection:
            suppress(connection, "address", key, "asked", "Ida", since)
    found = routing_claims.nobody_suppressed_is_routed(workspace, "spring")
    assert (found.holds, found.figures) == (False, {"suppressed": 1})


def test_mail_of_another_sequence_and_unknown_sequences_are_found(workspace: Workspace) -> None:
    apply(workspace, "spring", 0)
    store(workspace, 3, sequence=["everyone", "everyone", "gone"])
    claim = routing_claims.each_routed_lead_has_one_sequence
    assert claim(workspace, "spring").figures == {"unknown": 1, "strays": 0}
    ours = {"step": "intro", "state": "accepted", "lead_id": lead_id(1)}
    sends(workspace.database, "spring", number=8, **ours)
    sends(workspace.database, "spring", number=9, **(ours | {"step": "x", "sequence": "others"}))
    sends(workspace.database, "spring", number=10, **(ours | {"lead_id": lead_id(2)}))
    found = claim(workspace, "spring")
    assert (found.holds, found.figures) == (False, {"unknown": 1, "strays": 1})


def test_an_unfair_share_is_found(workspace: Workspace) -> None:
    apply(workspace, "spring", 0)
    among = ["a:1 everyone:1"] * 3
    store(workspace, 3, sequence=["a", "everyone", "a"], among=among)
    assert routing_claims.shares_are_fair(workspace, "spring").holds
    store(workspace, 3, sequence=["a", "a", "a"], among=among)
    found = routing_claims.shares_are_fair(workspace, "spring")
    assert (found.holds, found.figures) == (False, {"most_off_share": 1.5})
