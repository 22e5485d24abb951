"""Stages hold a few leads at a time, and end in the rows that they make of all at once."""

import errno
import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from aicmo_dagster.domain.schemas import typed
from aicmo_dagster.domain.tokens import address_key
from aicmo_dagster.errors import Transient
from aicmo_dagster.stages import chunks
from aicmo_dagster.stages.deciding.qualify import qualify_leads
from aicmo_dagster.stages.deciding.route import route_leads
from aicmo_dagster.stages.deciding.score import score_leads
from aicmo_dagster.stages.report import Report
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.enrolments import enrol
from aicmo_dagster.store.frames import read_chunks, read_frame, replace_frame
from aicmo_dagster.store.overrides import add_override
from aicmo_dagster.store.tables import FRAME_TABLES, decisions, enrolments, overrides
from aicmo_dagster_tests.samples import NOON, campaign_document, lead_id, raw_leads
from aicmo_dagster_tests.store.rows import texts
from aicmo_dagster_tests.workspaces import apply, open_test_workspace

LEADS = 60
SENIORITIES = ["owner", "vp", "manager", None]
SIZE = {"name": "size", "field": "employees", "op": ">=", "value": 60, "missing": "reject"}
DECIDING = {
    "scoring": {"threshold": 20, "fit": {"seniorities": ["owner", "vp"], "employees": [50, 300]}},
    "qualification": {"rules": [SIZE]},
}


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
    apply(opened, "spring", None, **DECIDING)
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


ROUTES = [{"sequence": "long", "weight": 2, "per_day": 9}, {"sequence": "short", "capacity": 5}]
ROUTING = {"sequences": ROUTES, "overlap": {"per_company": 1}}
MINE = (FRAME_TABLES["routed_leads"], enrolments, decisions)


def routed(workspace: Workspace, at_once: int) -> tuple[list[Report], list[list[tuple[Any, ...]]]]:
    """What two days of routing report and store, where somebody is moved on the second."""
    with workspace.database.write() as connection:
        for table in (*MINE, overrides):
            connection.execute(table.delete().where(table.c.campaign == "spring"))
    reports = [route_leads(workspace, "spring", NOON, at_once)]
    with workspace.database.write() as connection:
        known = read_frame(connection, "routed_leads", "spring").sort_values("position")
        last = known[known["sequence"] == "long"]["lead_id"].tolist()[-3:]
        for lead, target in zip(last, ("long", "short", "nowhere"), strict=True):
            add_override(connection, "spring", lead, f"route:{target}", "better", "me", NOON)
        ended = known[known["sequence"] == "short"]["lead_id"].iloc[0]
        changed = (enrolments.c.campaign == "spring", enrolments.c.lead_id == ended)
        connection.execute(enrolments.update().where(*changed).values(ended_at=NOON))
        gone = (enrolments.c.campaign == "spring", enrolments.c.lead_id == last[0])
        connection.execute(enrolments.delete().where(*gone))  # as after a campaign's pause
    reports.append(route_leads(workspace, "spring", NOON + timedelta(days=1), at_once))
    with workspace.database.read() as connection:
        rows = [
            connection.execute(
                sa.select(*(c for c in table.c if c.name != "id")).where(
                    table.c.campaign == "spring"
                )
            ).all()
            for table in MINE
        ]
    return reports, [sorted(map(tuple, found), key=repr) for found in rows]


def test_who_is_routed_where_does_not_depend_on_how_many_leads_are_held(
    workspace: Workspace,
) -> None:
    """Also where one turns out to be in another campaign's sequence once all have drawn."""
    steps = campaign_document()["sequences"]["everyone"]
    apply(workspace, "autumn", None)
    sequences = dict.fromkeys(("long", "short"), steps)
    apply(workspace, "spring", None, routing=ROUTING, sequences=sequences, **DECIDING)
    made(workspace, LEADS)
    with workspace.database.write() as connection:
        qualified = read_frame(connection, "qualified_leads", "spring")["lead_id"].iloc[9]
        email = read_frame(connection, "raw_leads", "spring", lead_id=qualified)["email"][0]
        person = address_key(workspace.settings.secret_key(), email)
        taken = texts(lead_id=[lead_id(500)], person=[person], last_step=["intro"])
        enrol(connection, "autumn", taken, NOON)

    whole = routed(workspace, 10 * LEADS)

    assert routed(workspace, 7) == whole
    (first, second), (stored, held, _) = whole
    assert len(stored) == len(held) == second.rows_out  # everyone holds a place
    assert (first.rows_out, second.figures["moved"], second.figures["in short"]) == (14, 1, 6)
    assert second.figures["active in short"] == 5
    assert second.reasons["active in another campaign"] == 1


def test_of_decisions_at_once_those_that_keep_leads_out_come_first(workspace: Workspace) -> None:
    """Merged leads have the decisions of both, of which the last is to say where they are."""
    steps = campaign_document()["sequences"]["everyone"]
    short = {"sequences": [{"sequence": "short", "capacity": 5, "per_day": 3}]}
    apply(workspace, "spring", None, routing=short, sequences={"short": steps}, **DECIDING)
    made(workspace, LEADS)
    with workspace.database.write() as connection:
        connection.execute(decisions.delete())

    for day in range(2):
        route_leads(workspace, "spring", NOON + timedelta(days=day), 7)
        with workspace.database.write() as connection:
            told = sa.select(decisions.c.outcome).order_by(decisions.c.id)
            outcomes = connection.scalars(told).all()
            connection.execute(decisions.delete())
        assert sorted(outcomes) == outcomes
        assert outcomes.count("routed") == (3, 5)[day]
        assert "not_routed" in outcomes


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


def test_what_was_set_aside_is_whole_after_some_of_it_was_taken(tmp_path: Path) -> None:
    with chunks.set_aside(tmp_path) as aside:
        for number in range(3):
            aside.put(pd.DataFrame({"number": [number]}))
        assert next(aside.take())["number"].tolist() == [0]
        assert [frame["number"].item() for frame in aside.take()] == [0, 1, 2]
        aside.forget()
        assert (list(aside.take()), aside.rows) == ([], 0)


def test_a_full_disk_is_told_as_what_may_pass(tmp_path: Path) -> None:
    with pytest.raises(Transient, match="make room there"), chunks.set_aside(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")
