"""What a harvest tells in the log of its run: progress by ids and counts, no person and no key."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from aicmo_dagster.defs.assets import raw_leads
from aicmo_dagster.defs.partitions import register_campaign
from aicmo_dagster.defs.resources import Clock
from aicmo_dagster.defs.runs import open_instance
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster_tests.providers.accounts import GOOD
from aicmo_dagster_tests.providers.server import StandIn
from aicmo_dagster_tests.samples import NOON
from aicmo_dagster_tests.stages.harvesting.harvests import campaign, open_harvest_workspace


@pytest.fixture
def providers(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with StandIn(120).running() as stand_in:
        yield stand_in


@pytest.fixture
def workspace(
    tmp_path: Path, database_url: str, providers: StandIn, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Workspace]:
    opened = open_harvest_workspace(tmp_path, database_url, providers.url)
    for name, value in opened.settings.process_environment().items():
        monkeypatch.setenv(name, value)  # so that what is exported is taken back
    yield opened
    opened.database.close()


def test_a_harvest_tells_its_progress_in_the_log_of_its_run(
    workspace: Workspace, providers: StandIn
) -> None:
    campaign(workspace)
    with open_instance(workspace.settings) as instance:
        register_campaign(instance, "spring")
        resources = {"workspace": workspace, "clock": Clock(as_of=NOON.isoformat())}
        result = dg.materialize(
            [raw_leads], instance=instance, resources=resources, partition_key="spring"
        )
        told = [entry.user_message for entry in instance.all_logs(result.run_id)]
    assert any("apollo is asked about 50 leads" in line for line in told)
    assert any("apollo-1: 1 pages are shown" in line for line in told)
    everything = "\n".join(told)
    assert GOOD not in everything
    names = [name for p in providers.people for name in (p.email, p.last_name, p.linkedin)]
    assert not any(name in everything for name in names)
