"""A tick of planning and claiming: it must cost what is due, not what is enrolled."""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from aicmo_dagster.stages.nurturing.planning import plan_due
from aicmo_dagster.store import claiming
from aicmo_dagster.store.campaigns import apply_campaign, load_campaign
from aicmo_dagster.store.database import Database, open_database
from aicmo_dagster.store.tables import instant_text
from aicmo_dagster_tests.bench.measure import Measured, cost, least
from aicmo_dagster_tests.samples import NOON, SECRET, campaign

DUE = 100
FEW, MANY = 1_000, 1_000_000
TICKS = 20
DAY = timedelta(days=1)

_NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :leads) "
_LEADS = (
    "INSERT INTO raw_leads (campaign, lead_id, email, source, sources, origins, custom,"
    " first_seen_at, last_seen_at) SELECT 'spring', printf('%020x', i),"
    " 'lead' || i || '@company' || i % 5000 || '.example', 'csv-1', 'csv-1',"
    " '{}', '{}', :noon, :noon FROM n",
    "INSERT INTO routed_leads (campaign, lead_id, sequence, campaign_version, seed, position,"
    " score, reason, routed_at) SELECT 'spring', printf('%020x', i), 'everyone', 1, i % 10000, i,"
    " 50, 'its turn', :noon FROM n",
    "INSERT INTO agenda (campaign, lead_id, position, state, changed_at)"
    " SELECT 'spring', printf('%020x', i), i, 'active', :noon FROM n",
    "INSERT INTO nurture_sends (campaign, lead_id, sequence, step, campaign_version, message_id,"
    " recipient_domain, state, due_at, sent_at, claimed_at, followed_at, sender, deadline_at)"
    " SELECT 'spring', printf('%020x', i), 'everyone', 'intro', 1, '<' || i || '@acme.example>',"
    " 'company.example', 'accepted', :before, :before, :before,"
    " CASE WHEN i <= :due THEN NULL ELSE :before END, 'ida@acme.example', :later FROM n",
    "INSERT INTO nurture_sends (campaign, lead_id, sequence, step, campaign_version, message_id,"
    " recipient_domain, state, due_at, sender, deadline_at)"
    " SELECT 'spring', printf('%020x', i), 'everyone', 'nudge', 1, '<' || i || '.2@acme.example>',"
    " 'company.example', 'planned', :later, 'ida@acme.example', :later FROM n WHERE i > :due",
)


def run(scratch: Path) -> Iterator[Measured]:
    """The same tick, `DUE` leads of it due, among few enrolled and among many."""
    for leads in (FEW, MANY):
        _fill(scratch, leads)
    many, few = least(*(partial(cost, _ticks, scratch, leads) for leads in (MANY, FEW)))
    yield Measured(
        what=f"planning and claiming a tick, {DUE} due",
        size=f"{MANY:,} enrolled",
        ours=many.cpu / TICKS,
        unit="CPU s",
        reference=few.cpu / TICKS,
        against=f"{FEW:,} enrolled",
        bound=3,
    )


def _open(scratch: Path, leads: int) -> Database:
    return open_database(f"sqlite:///{scratch / f'{leads}.db'}")


def _fill(scratch: Path, leads: int) -> None:
    """A database with so many leads that have got their first message; `DUE` of them just now."""
    steps = [
        {"id": "intro", "subject": "Hello", "body": "Hi"},
        {"id": "nudge", "wait": {"days": 1, "if_clicked": 0}, "body": "Again"},
    ]
    document = campaign(sequences={"everyone": {"steps": steps}})
    database = _open(scratch, leads)
    told = {
        "leads": leads,
        "due": DUE,
        "noon": instant_text(NOON),
        "before": instant_text(NOON - 2 * DAY),
        "later": instant_text(NOON + 9 * DAY),
    }
    with database.write() as connection:
        apply_campaign(connection, document, {}, scratch, NOON)
        for statement in _LEADS:
            into, _, select = statement.partition(" SELECT ")
            names = {name: value for name, value in told.items() if f":{name}" in statement}
            complete = sa.text(f"{into} {_NUMBERS} SELECT {select}")
            connection.execute(complete, {"leads": leads} | names)
        connection.execute(sa.text("ANALYZE"))
    database.close()


def _ticks(scratch: Path, leads: int) -> None:
    """The tick, again and again from the same state."""
    database = _open(scratch, leads)
    for _ in range(TICKS):
        with database.engine.connect() as connection, connection.begin() as transaction:
            stored = load_campaign(connection, "spring")
            assert plan_due(connection, stored, SECRET, NOON) == DUE
            claimed = claiming.claim(
                connection, stored.campaign, worker="w", secret_key=SECRET, now=NOON, limit=DUE
            )
            assert len(claimed.sends) == DUE
            transaction.rollback()
    database.close()
