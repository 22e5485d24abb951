"""What evaluations of sensors keep for the next, and what they look at anew."""

import shutil
from pathlib import Path

import dagster as dg
import pytest

from aicmo_dagster.definitions import defs
from aicmo_dagster.defs.evaluations import evaluation
from aicmo_dagster.store.campaigns import list_campaigns
from aicmo_dagster_tests.conftest import NewDatabase
from aicmo_dagster_tests.workspaces import apply, open_test_workspace


def test_a_database_put_in_the_place_of_another_is_seen_though_its_engine_is_kept(
    tmp_path: Path, new_sqlite: NewDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, elsewhere = new_sqlite(), new_sqlite()
    other = open_test_workspace(tmp_path, elsewhere)
    apply(other, "spring", 1)
    other.database.close()
    monkeypatch.setenv("AICMO_HOME", str(tmp_path))
    monkeypatch.setenv("AICMO_DATABASE_URL", here)
    known, engines = [], []
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance)
        for _ in range(2):
            with evaluation(context) as found:
                engines.append(found.workspace.database.engine)
                with found.workspace.database.read() as connection:
                    known.append([each.key for each in list_campaigns(connection)])
            shutil.move(elsewhere.removeprefix("sqlite:///"), here.removeprefix("sqlite:///"))
            shutil.copyfile(here.removeprefix("sqlite:///"), elsewhere.removeprefix("sqlite:///"))

    assert known == [[], ["spring"]]
    assert engines[0] is engines[1]


def test_pools_are_known_before_runs_ask_for_slots_of_them(
    tmp_path: Path, new_sqlite: NewDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AICMO_HOME", str(tmp_path))
    monkeypatch.setenv("AICMO_DATABASE_URL", new_sqlite())
    settings = {"concurrency": {"pools": {"granularity": "op", "default_limit": 4}}}
    with dg.instance_for_test(overrides=settings) as instance:
        instance.event_log_storage.set_concurrency_slots("mail", 2)
        with evaluation(dg.build_sensor_context(instance_ref=instance.get_ref())):
            pools = {each.name: each.limit for each in instance.event_log_storage.get_pool_limits()}

    jobs = defs.get_repository_def().get_all_jobs()
    assert pools == {"providers": 4, "bulk_writes": 4, "mail": 2}
    assert set(pools) == {pool for job in jobs for node in job.all_node_defs for pool in node.pools}
