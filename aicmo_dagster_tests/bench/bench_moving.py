"""A database that was lived in for a month moves from SQLite to PostgreSQL, table by table.

The move compares digests itself; here every value is read again from both sides and compared.
"""

import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa

from aicmo_dagster.simulation.behaviour import Behaviour
from aicmo_dagster.simulation.life import Setting, open_world, scratch, settle_in
from aicmo_dagster.sources.campaign_files import CampaignFile
from aicmo_dagster.store.database import Database, open_database
from aicmo_dagster.store.tables import metadata
from aicmo_dagster.store.transfer import open_source, transfer
from aicmo_dagster_tests.bench.bench_mail_killed import postgresql
from aicmo_dagster_tests.bench.measure import Cost, Measured, cost
from aicmo_dagster_tests.simulation.worlds import MONDAY, living, nurture

LEADS, DAYS = 1_000, 30


def run(scratch: Path) -> Iterator[Measured]:
    """Tables and rows that were moved, what that cost, and tables that differ afterwards."""
    with postgresql() as server:
        found: Cost = cost(_move_a_month, server, str(scratch))
    tables, rows, different, seconds = found.value
    size = f"{LEADS:,} leads, {DAYS} days"
    yield Measured("tables with rows", size, tables, "tables", bound=20, at_least=True)
    yield Measured("rows moved", size, rows, "rows")
    yield Measured("moving them, compared by digest", size, seconds, "CPU s")
    yield Measured("tables that differ", size, different, "tables", bound=0)


def _move_a_month(server: str, folder: str) -> tuple[int, int, int, float]:
    document = living(
        schedule={"harvest": "0 6 * * 1-5", "nurture": "*/15 * * * *"},
        nurture=nurture(caps={"per_sender_per_day": 60, "per_domain_per_hour": 10}),
    )
    setting = Setting(CampaignFile(document, {}, Path(folder)), MONDAY, DAYS, LEADS, Behaviour())
    with scratch(1) as workspace:
        settle_in(workspace, setting, 1)
        world = open_world(workspace, setting, 1)
        world.run(setting.start + timedelta(days=DAYS))
        world.journal.close()
        source, target = open_source(workspace.settings.database_url), open_database(server)
        counts, seconds = _moved(source, target)
        pairs = [(_values(source, t), _values(target, t)) for t in metadata.sorted_tables]
        source.close()
        target.close()
    filled = [count for count in counts.values() if count]
    return len(filled), sum(filled), sum(a != b for a, b in pairs), seconds


def _moved(source: Database, target: Database) -> tuple[dict[str, int], float]:
    """Rows by table, and CPU seconds."""
    begun = time.process_time()
    return transfer(source, target), time.process_time() - begun


def _values(database: Database, table: sa.Table) -> Counter[str]:
    with database.read() as connection:
        return Counter(repr(tuple(row)) for row in connection.execute(sa.select(table)))
