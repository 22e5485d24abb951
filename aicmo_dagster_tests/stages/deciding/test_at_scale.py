"""Campaigns routed by several processes at the same moment; the benchmark does it with 100,000."""

from collections.abc import Callable
from pathlib import Path

from aicmo_dagster_tests.crowds import broken_rules, crowd, route_all
from aicmo_dagster_tests.forked import processes
from aicmo_dagster_tests.workspaces import open_test_workspace

KEYS = [f"c{number}" for number in range(5)]


def test_processes_that_route_at_once_share_the_people(
    tmp_path: Path, new_postgresql: Callable[[], str]
) -> None:
    url = new_postgresql()
    workspace = open_test_workspace(tmp_path, url)
    crowd(workspace, KEYS, leads=800, people=2_000, capacity=40)
    parts = [KEYS[:2], KEYS[2:3], KEYS[3:4], KEYS[4:]]
    with processes().Pool(4) as pool:
        routed = pool.starmap(route_all, [(tmp_path, url, part) for part in parts])
    assert 1_000 < sum(routed) <= 2_000
    assert broken_rules(workspace, KEYS, 40) == []
    workspace.database.close()
