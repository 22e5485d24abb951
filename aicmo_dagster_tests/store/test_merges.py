"""When two leads turn out to be one person, what was kept under one id follows to the other."""

import pandas as pd
import pytest
import sqlalchemy as sa

from aicmo_dagster.domain.schemas import typed
from aicmo_dagster.store import ledger
from aicmo_dagster.store.database import Database
from aicmo_dagster.store.frames import read_frame, replace_frame
from aicmo_dagster.store.harvests import put_aliases
from aicmo_dagster.store.merges import follow_aliases
from aicmo_dagster.store.overrides import add_override, overrides_of_lead
from aicmo_dagster.store.recipients import recipient
from aicmo_dagster.store.tables import nurture_sends
from aicmo_dagster_tests.samples import NOON, lead_id, routed_leads
from aicmo_dagster_tests.store.rows import texts

LEAD, OTHER = lead_id(1), lead_id(2)


def plan(connection: sa.Connection, **states: str) -> None:
    """One send of the step `intro` for each lead, in its state."""
    leads = {"lead": LEAD, "other": OTHER}
    frame = pd.DataFrame(
        {
            "lead_id": [leads[name] for name in states],
            "sequence": "everyone",
            "step": "intro",
            "campaign_version": 1,
            "message_id": [f"<{name}@acme.example>" for name in states],
            "recipient_domain": "company.example",
            "state": list(states.values()),
            "due_at": pd.Timestamp(NOON),
        }
    )
    sends = typed("nurture_sends", {name: frame[name] for name in frame})
    ledger.plan_sends(connection, "spring", sends, sender="ida@acme.example")


def merge(connection: sa.Connection) -> int:
    put_aliases(connection, "spring", texts(alias=[OTHER], lead_id=[LEAD]))
    return follow_aliases(connection, "spring")


def sends(connection: sa.Connection) -> dict[str, str]:
    columns = nurture_sends.c
    rows = connection.execute(sa.select(columns.message_id, columns.lead_id, columns.state))
    return {row.message_id.strip("<>").split("@")[0]: f"{row.lead_id} {row.state}" for row in rows}


def test_what_was_sent_to_the_other_counts_as_sent_to_the_lead(database: Database) -> None:
    with database.write() as connection:
        plan(connection, other="accepted")
        assert merge(connection) == 1
        assert sends(connection) == {"other": f"{LEAD} accepted"}


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (("planned", "accepted"), ("cancelled", "accepted")),
        (("accepted", "planned"), ("accepted", "cancelled")),
        (("planned", "planned"), ("planned", "cancelled")),
        (("unknown", "accepted"), ("unknown", "accepted")),
    ],
)
def test_of_two_sends_of_one_step_at_most_one_is_still_to_come(
    database: Database, states: tuple[str, str], expected: tuple[str, str]
) -> None:
    with database.write() as connection:
        plan(connection, lead=states[0], other=states[1])
        merge(connection)
        found = sends(connection)
    assert found == {"lead": f"{LEAD} {expected[0]}", "other": f"{OTHER} {expected[1]}"}


def test_each_message_stays_with_the_address_it_went_to(database: Database) -> None:
    with database.write() as connection:
        plan(connection, lead="accepted", other="accepted")
        for name in (LEAD, OTHER):
            its = sa.update(nurture_sends).where(nurture_sends.c.lead_id == name)
            connection.execute(its.values(address_key=f"key of {name}"))
        merge(connection)

        assert recipient(connection, "spring", OTHER, "intro").sent_to == (f"key of {OTHER}",)
        assert recipient(connection, "spring", LEAD, "intro").sent_to == (f"key of {LEAD}",)
        both = (f"key of {LEAD}", f"key of {OTHER}")
        assert recipient(connection, "spring", OTHER).sent_to == tuple(sorted(both))


@pytest.mark.parametrize("routed", [[LEAD, OTHER], [OTHER], [LEAD]])
def test_the_person_is_in_one_sequence(database: Database, routed: list[str]) -> None:
    with database.write() as connection:
        frame = routed_leads(len(routed)).assign(lead_id=routed)
        replace_frame(connection, "routed_leads", "spring", typed("routed_leads", dict(frame)))
        merge(connection)
        left = read_frame(connection, "routed_leads", "spring")
    assert list(left["lead_id"]) == [LEAD]


def test_overrides_follow_and_a_second_time_nothing_moves(database: Database) -> None:
    with database.write() as connection:
        add_override(connection, "spring", OTHER, "reject", "a rival", "me", NOON)
        assert merge(connection) == 1
        assert len(overrides_of_lead(connection, "spring", LEAD)) == 1
        assert merge(connection) == 0


def test_nobody_else_is_touched(database: Database) -> None:
    with database.write() as connection:
        plan(connection, lead="planned", other="planned")
        assert follow_aliases(connection, "spring") == 0
        assert merge_in(connection, "autumn") == 0
        assert set(sends(connection).values()) == {f"{LEAD} planned", f"{OTHER} planned"}


def merge_in(connection: sa.Connection, campaign: str) -> int:
    put_aliases(connection, campaign, texts(alias=[OTHER], lead_id=[LEAD]))
    return follow_aliases(connection, campaign)
