"""Stages hold a few leads at a time, and end in the rows that they make of all at once."""

import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa

from aicmo_dagster.domain.schemas import typed
from aicmo_dagster.stages import chunks
from aicmo_dagster.stages.qualify import qualify_leads
from aicmo_dagster.stages.report import Report
from aicmo_dagster.stages.score import score_leads
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.frames import read_chunks, read_frame, replace_frame
from aicmo_dagster.store.overrides import add_override
from aicmo_dagster.store.tables import decisions
from aicmo_dagster_tests.samples import NOON, lead_id, raw_leads
from aicmo_dagster_tests.workspaces import apply, open_test_workspace

LEADS = 60
SENIORITIES = ["owner", "vp", "manager", None]


@pytest.fixture
def workspace(tmp_path: Path, database_url: str) -> Iterator[Workspace]:
    """Leads of two weeks, which differ in what earns points, and two decided by hand."""
    opened = open_test_workspace(tmp_path, database_url)
    arrived = [pd.Timestamp(NOON - timedelta(days=14 * (n % 3 == 0))) for n in range(LEADS)]
    leads = raw_leads(
        LEADS,
        seniority=[SENIORITIES[n % 4] for n in range(LEADS)],
        employees=[None if n % 7 == 0 else 10 * n for n in range(LEADS)],
        first_seen_at=pd.Series(arrived),
    )
    scoring = {"threshold": 20, "fit": {"seniorities": ["owner", "vp"], "employees": [50, 300]}}
    rules = [{"name": "size", "field": "employees", "op": ">=", "value": 60, "missing": "reject"}]
    apply(opened, "spring", None, scoring=scoring, qualification={"rules": rules})
    with opened.database.write() as connection:
        replace_frame(connection, "raw_leads", "spring", leads)
        for number, action in ((1, "qualify"), (LEADS, "reject")):
            add_override(connection, "spring", lead_id(number), action, "by hand", "me", NOON)
    yield opened
    opened.database.close()


def made(workspace: Workspace, at_once: int) -> tuple[list[Report], list[pd.DataFrame]]:
    """What both stages report and store."""
    reports = [stage(workspace, "spring", NOON, at_once) for stage in (score_leads, qualify_leads)]
    with workspace.database.read() as connection:
        frames = [
            read_frame(connection, stage, "spring") for stage in ("scored_leads", "qualified_leads")
        ]
        told = [c for c in decisions.c if c.name != "id"]
        rows = connection.execute(sa.select(*told).order_by(decisions.c.lead_id)).all()
    return reports, [*frames, pd.DataFrame(rows)]


def test_the_rows_do_not_depend_on_how_many_leads_are_held(workspace: Workspace) -> None:
    whole_reports, whole = made(workspace, 10 * LEADS)
    with workspace.database.write() as connection:
        connection.execute(decisions.delete())

    for at_once in (7, LEADS):  # with a last chunk that is not full, and with none
        reports, frames = made(workspace, at_once)
        assert reports == whole_reports
        for found, expected in zip(frames, whole, strict=True):
            pd.testing.assert_frame_equal(found, expected)

    assert {"B", "C", "D"} <= set(whole[0]["band"])
    assert 0 < len(whole[1]) < LEADS


def test_a_campaign_without_leads_is_one_empty_chunk(workspace: Workspace) -> None:
    with workspace.database.write() as connection:
        replace_frame(connection, "raw_leads", "spring", typed("raw_leads", {"lead_id": []}))
        assert [len(frame) for frame in read_chunks(connection, "raw_leads", "spring", 7)] == [0]

    reports, frames = made(workspace, 7)

    assert [report.rows_out for report in reports] == [0, 0]
    assert all(frame.empty for frame in frames)


def test_what_was_set_aside_comes_back_as_it_was(tmp_path: Path) -> None:
    """Also once it is more than is kept in memory."""
    chance = random.Random(1)
    titles = [chance.randbytes(1 << 19).hex() for _ in range(5)]
    frames = [raw_leads(3), raw_leads(5, title=titles)]
    with chunks.set_aside(tmp_path) as aside:
        for frame in frames:
            aside.put(frame)
        for found, expected in zip(aside.take(), frames, strict=True):
            pd.testing.assert_frame_equal(found, expected)
