"""Two campaigns that harvest at once, in two processes, with one key: its windows are kept.

The clock runs ten times as fast as the real one, in both processes and in the stand-in.
"""

import time
from pathlib import Path

import pytest

from aicmo_dagster_tests.providers.apollo import ApolloModes
from aicmo_dagster_tests.providers.clock import FastClock
from aicmo_dagster_tests.providers.killing import harvest_apart
from aicmo_dagster_tests.providers.market import TITLES
from aicmo_dagster_tests.providers.server import StandIn
from aicmo_dagster_tests.stages.harvesting.harvests import (
    BOTH,
    SEARCH,
    addresses,
    campaign,
    open_harvest_workspace,
)

MINUTE = 60.0
LIMITS = {"minute": 12, "hour": 300, "day": 1000}
TARGETS = {"spring": TITLES[:2], "autumn": TITLES[2:4]}


def test_two_campaigns_at_once_never_exceed_the_windows_of_one_key(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Together they want more of a minute than there is; the provider has to refuse nothing."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    clock = FastClock(speed=10, since=time.time())
    modes = ApolloModes(limits=LIMITS)
    with StandIn(200, apollo=modes, clock=clock, specials=False).running() as stand_in:
        workspace = open_harvest_workspace(tmp_path, database_url, stand_in.url)
        for key, titles in TARGETS.items():
            source = SEARCH | {"search": {"person_titles": list(titles)}, "max_leads": 100}
            campaign(workspace, key, sources=[source], enrich=BOTH)
        args = (tmp_path, database_url, stand_in.url)
        processes = [harvest_apart(*args, key, clock) for key in TARGETS]
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0, 0]
        matches = stand_in.ledger.calls("bulk_match")
        assert {entry.status for entry in stand_in.ledger.entries} == {200}
        assert len(matches) > LIMITS["minute"]
        assert matches[-1].at - matches[0].at >= MINUTE
        assert not stand_in.ledger.paid_twice("apollo")
    found = {person for key in TARGETS for person in addresses(workspace, key)}
    wanted = {p.id for p in stand_in.people if p.title in (*TITLES[:4],)}
    assert found == wanted
    workspace.database.close()
