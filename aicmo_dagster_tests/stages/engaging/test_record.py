"""Spooled events on their way into the database."""

from collections.abc import Callable
from pathlib import Path

import pytest

from aicmo_dagster.errors import Transient
from aicmo_dagster.stages.engaging.record import replay
from aicmo_dagster.store.frames import replace_frame
from aicmo_dagster.store.spool import Writer
from aicmo_dagster_tests.samples import NOON, lead_id, raw_leads
from aicmo_dagster_tests.workspaces import apply, open_test_workspace

CLICKS = 400


def test_clicks_outlast_a_full_disk(tmp_path: Path, new_sqlite: Callable[[], str]) -> None:
    """They are not put aside as if they were bad: nobody would look at them again."""
    workspace = open_test_workspace(tmp_path, new_sqlite())
    apply(workspace, "spring", 0)
    with workspace.database.write() as connection:
        replace_frame(connection, "raw_leads", "spring", raw_leads(1))
    click = {"campaign": "spring", "lead_id": lead_id(1), "kind": "click", "step": "intro"}
    seen = {"happened_at": NOON.isoformat(), "method": "GET", "agent": "x" * 500, "client": "::1"}
    spool = Writer(workspace.settings.spool)
    spool.append([{**click, **seen, "key": str(number)} for number in range(CLICKS)])
    spool.close()
    with workspace.database.read() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")  # as many as there are
    with pytest.raises(Transient, match="the disk is full"):
        replay(workspace)
    with workspace.database.read() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    assert replay(workspace) == CLICKS
    workspace.database.close()
