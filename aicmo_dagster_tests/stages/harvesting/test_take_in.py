"""A harvest holds a few leads at a time, and ends in the rows that it makes of all at once."""

import json
import random
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from aicmo_dagster.domain.tokens import address_key
from aicmo_dagster.stages import chunks
from aicmo_dagster.stages.harvesting.harvest import harvest
from aicmo_dagster.stages.leads.erase import erase
from aicmo_dagster.stages.report import Report
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.tables import FRAME_TABLES, lead_aliases, rejects, suppressions
from aicmo_dagster_tests.samples import NOON
from aicmo_dagster_tests.workspaces import apply

COLUMNS = {
    **{"email": "Email", "external_id": "Id", "linkedin_url": "Profile", "first_name": "First"},
    **{"last_name": "Last", "company": "Firm", "title": "Title", "employees": "Size"},
}
HEADER = [*COLUMNS.values(), "Note"]
PEOPLE = 24
MADE = (FRAME_TABLES["raw_leads"], lead_aliases, rejects)


def messy(seed: int, rows: int) -> str:
    """A CSV of a few people in many rows, each telling some of what tells who they are."""
    chance = random.Random(seed)
    lines = [",".join(HEADER)]
    for _ in range(rows):
        who, other = chance.randrange(PEOPLE), chance.randrange(PEOPLE)
        if chance.random() < 0.9:  # else it is of two people, who are one then
            other = who
        cells = [
            chance.choice(["", f"P{who}@x{who % 3}.example", f" p{who}@X{who % 3}.example", "p@"]),
            chance.choice(["", "", str(other)]),
            chance.choice(["", f"https://linkedin.com/in/p{who}/"]),
            chance.choice(["", "Ada", "Bo"]),
            chance.choice(["", "Berg"]),
            chance.choice(["", f"Firm {who}"]),
            chance.choice(["", "CEO", "Intern"]),
            chance.choice(["", "51-200", "about 7"]),
            chance.choice(["", "a", "b", "ø"]),
        ]
        lines.append(",".join(cells if chance.random() < 0.95 else cells[:4]))
    return "\n".join(lines) + "\n"


def harvested(workspace: Workspace, seed: int, at_once: int) -> tuple[list[Report], list[Any]]:
    """What harvests of two sources on two days report and leave behind."""
    with workspace.database.write() as connection:
        for table in MADE:
            connection.execute(table.delete().where(table.c.campaign == "spring"))
    described = [{"type": "csv", "path": f"{n}.csv", "columns": COLUMNS} for n in (1, 2)]
    folder = apply(workspace, "spring", None, sources=described).parent
    reports = []
    for day in range(2):
        for place in (1, 2):
            text = messy(100 * seed + 10 * day + place, 30)
            (folder / f"{place}.csv").write_text(text, encoding="utf-8")
        reports.append(harvest(workspace, "spring", NOON + timedelta(days=day), at_once=at_once))
    with workspace.database.read() as connection:
        rows = [
            connection.execute(
                sa.select(*(column for column in table.c if column.name != "id"))
                .where(table.c.campaign == "spring")
                .order_by(*table.primary_key)
            ).all()
            for table in MADE
        ]
    return reports, rows


@pytest.mark.parametrize("seed", range(5))
def test_the_rows_do_not_depend_on_how_many_leads_are_held(workspace: Workspace, seed: int) -> None:
    whole = harvested(workspace, seed, chunks.LEADS)
    assert harvested(workspace, seed, 9 + 4 * seed) == whole
    [first, second], [leads, aliases, refused] = whole
    assert first.reasons["merged with another record of the same person"] > 10
    assert len(leads) == second.rows_out < len({row.alias for row in aliases})
    assert {row.reason for row in refused} > {"email: not an address"}
    assert any(len(json.loads(row.origins)) > 1 for row in leads)


def test_whoever_was_erased_stays_away_in_every_range(embedded: Workspace) -> None:
    harvested(embedded, 1, 11)
    gone = ["p1@x1.example", "p2@x2.example", "p9@x0.example"]
    for address in gone:
        erase(embedded, address, "they asked", NOON, who="me")
    _, made = harvested(embedded, 1, 11)
    assert harvested(embedded, 1, chunks.LEADS)[1] == made
    leads, aliases, refused = made
    assert {row.lead_id for row in aliases} == {row.lead_id for row in leads}
    assert {row.email for row in leads}.isdisjoint(gone)
    assert not any(address in row.content.lower() for row in refused for address in gone)
    secret = embedded.settings.secret_key()
    with embedded.database.read() as connection:
        kept = set(connection.scalars(sa.select(suppressions.c.key)))
    assert {address_key(secret, address) for address in gone} <= kept
