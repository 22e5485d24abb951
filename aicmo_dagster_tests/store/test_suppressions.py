from datetime import timedelta

import sqlalchemy as sa

from aicmo_dagster.domain.tokens import address_key, domain_key
from aicmo_dagster.store.database import Database
from aicmo_dagster.store.suppressions import any_suppressed, suppress, suppressed
from aicmo_dagster.store.tables import suppressions
from aicmo_dagster_tests.store.rows import NOW

ADDRESS = address_key(b"key", "ada@acme.example")
DOMAIN = domain_key(b"key", "acme.example")


def test_what_is_suppressed_is_found_among_others(database: Database) -> None:
    with database.write() as connection:
        assert not any_suppressed(connection)
        assert suppress(connection, "address", ADDRESS, "unsubscribed", "lead", NOW)
        assert suppress(connection, "domain", DOMAIN, "competitor", "ida", NOW)

        assert any_suppressed(connection)
        assert suppressed(connection, [ADDRESS, "other", DOMAIN]) == {ADDRESS, DOMAIN}
        assert suppressed(connection, ["other"]) == set()
        assert suppressed(connection, []) == set()


def test_the_first_record_is_kept(database: Database) -> None:
    with database.write() as connection:
        suppress(connection, "address", ADDRESS, "complaint", "provider", NOW)
        later = NOW + timedelta(days=1)
        assert not suppress(connection, "address", ADDRESS, "unsubscribed", "lead", later)
        row = connection.execute(sa.select(suppressions)).one()

    assert (row.reason, row.decided_by, row.since) == ("complaint", "provider", NOW)


def test_more_keys_than_a_statement_takes_are_looked_up(database: Database) -> None:
    """SQLite refuses a statement with more than 250,000 values, or 32,766 as it comes."""
    keys = [f"{number:064x}" for number in range(260_000)]
    with database.write() as connection:
        for key in (keys[0], keys[-1]):
            suppress(connection, "address", key, "unsubscribed", "lead", NOW)

        assert suppressed(connection, keys) == {keys[0], keys[-1]}
