"""By what a database shows which secret key it was used with."""

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from aicmo_dagster.domain.links import link_name
from aicmo_dagster.domain.tokens import address_key, message_id
from aicmo_dagster.domain.tracking import Link
from aicmo_dagster.store.database import Database
from aicmo_dagster.store.frames import replace_frame
from aicmo_dagster.store.key_traces import was_used_with
from aicmo_dagster.store.links import keep_links
from aicmo_dagster.store.loading import bulk_insert
from aicmo_dagster.store.tables import enrolments, nurture_sends
from aicmo_dagster_tests.samples import NOON, lead_id, raw_leads
from aicmo_dagster_tests.store.rows import texts

KEY, URL = b"ours", "https://acme.example/"
LEAD = lead_id(1)


def add_send(connection: sa.Connection, key: bytes) -> None:
    named = message_id(key, "spring", LEAD, "intro", "mail.acme.example")
    told = {"sequence": "s", "campaign_version": 1, "state": "planned", "sender": "a@acme.example"}
    frame = texts(lead_id=[LEAD], step=["intro"], message_id=[named])
    times = {"due_at": NOON, "deadline_at": NOON}
    domain = {"recipient_domain": "acme.example"}
    bulk_insert(connection, nurture_sends, frame, campaign="spring", **told, **times, **domain)


def add_link(connection: sa.Connection, key: bytes) -> None:
    keep_links(connection, "spring", {link_name(key, "spring", URL, LEAD): Link(URL, LEAD)}, NOON)


def add_person(connection: sa.Connection, key: bytes) -> None:
    raw = raw_leads(1)
    replace_frame(connection, "raw_leads", "spring", raw)
    person = address_key(key, raw["email"].iloc[0])
    row = {"campaign": "spring", "lead_id": LEAD, "person": person, "last_step": "intro"}
    connection.execute(sa.insert(enrolments).values(**row, since=NOON))


def test_nothing_tells_where_nothing_was_made_with_a_key(database: Database) -> None:
    with database.read() as connection:
        assert was_used_with(connection, KEY) is None


@pytest.mark.parametrize("add", [add_send, add_link, add_person])
def test_a_name_made_with_a_key_tells_it_from_another(
    database: Database, add: Callable[[sa.Connection, bytes], None]
) -> None:
    with database.write() as connection:
        add(connection, KEY)
        assert was_used_with(connection, KEY) is True
        assert was_used_with(connection, b"another") is False


def test_one_name_that_fits_is_enough(database: Database) -> None:
    with database.write() as connection:
        add_link(connection, KEY)
        add_send(connection, b"of a lead that was merged")
        assert was_used_with(connection, KEY) is True
