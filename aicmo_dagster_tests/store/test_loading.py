from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pandas as pd
import pyarrow as pa
import pytest
import sqlalchemy as sa

from aicmo_dagster.errors import Transient
from aicmo_dagster.store.database import Database, open_database
from aicmo_dagster.store.loading import FEW, RowsRefused, bulk_insert, insert_new, staged
from aicmo_dagster.store.tables import lead_aliases, nurture_sends, overrides, rejects
from aicmo_dagster_tests.store.rows import INSTANT, NOW, TEXT, aliases, lead, stored, texts

AWKWARD = [
    "",
    " ",
    "NULL",
    "\\N",
    "\\.",
    "a\n\\.\nb",
    "line\nline\r\nline\rline",
    "quote \" and '",
    "back\\slash\\",
    "tab\tcomma,semicolon;",
    "æøå 🦊 \u2028",
    "\x01\x7f",
]


@pytest.mark.parametrize("text", AWKWARD, ids=repr)
def test_text_comes_back_as_it_went_in(database: Database, text: str) -> None:
    columns = {"a": text, "b": "plain"}
    frame = texts(alias=list(columns), lead_id=list(columns.values()))
    with database.write() as connection:
        bulk_insert(connection, lead_aliases, frame, campaign=text)

    assert stored(database) == [(text, "a", text), (text, "b", "plain")]


def test_missing_and_empty_text_stay_apart(database: Database) -> None:
    frame = texts(
        lead_id=[lead(1), lead(2)], step=["a", "a"], message_id=["m1", "m2"], reason=["", None]
    )
    with database.write() as connection:
        bulk_insert(connection, nurture_sends, frame, **SEND)
        found = connection.execute(sa.select(nurture_sends.c.reason, nurture_sends.c.worker))

        assert {tuple(row) for row in found} == {("", None), (None, None)}


def test_sqlite_keeps_nul_characters(new_sqlite: Callable[[], str]) -> None:
    database = open_database(new_sqlite())
    with database.write() as connection:
        bulk_insert(connection, lead_aliases, aliases("a", of="x\0y"), campaign="c")

    assert stored(database) == [("c", "a", "x\0y")]
    database.close()


INSTANTS = [
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC),
    datetime(2026, 2, 3, 4, 5, 6, 7, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
]

PERSON = {"action": "pause", "reason": "r", "decided_by": "d"}


def test_bulk_insert_stores_instants_just_as_sqlalchemy_does(database: Database) -> None:
    keys = [f"c{number}" for number in range(len(INSTANTS))]
    in_utc = pd.Series([instant.astimezone(UTC) for instant in INSTANTS], dtype=INSTANT)
    frame = texts(campaign=keys).assign(decided_at=in_utc)
    with database.write() as connection:
        bulk_insert(connection, overrides, frame, lead_id="bulk", expires_at=INSTANTS[3], **PERSON)
        for key, instant in zip(keys, INSTANTS, strict=True):
            values = {"decided_at": instant, "expires_at": INSTANTS[3], **PERSON}
            connection.execute(overrides.insert().values(campaign=key, lead_id="one", **values))
        texts_of = sa.text(
            "SELECT lead_id, campaign, CAST(decided_at AS TEXT), CAST(expires_at AS TEXT) "
            "FROM overrides ORDER BY campaign"
        )
        found = [tuple(row) for row in connection.execute(texts_of)]

        assert {row[1:] for row in found if row[0] == "bulk"} == {
            row[1:] for row in found if row[0] == "one"
        }
        assert len(found) == 2 * len(INSTANTS)


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([pd.Timestamp("2026-01-01")]),
        pd.Series([datetime(2026, 1, 1)], dtype=pd.ArrowDtype(pa.timestamp("us"))),
        pd.Series([datetime(2026, 1, 1, tzinfo=UTC)], dtype=object),
    ],
    ids=lambda column: str(column.dtype),
)
def test_a_column_of_instants_without_a_zone_is_refused(
    database: Database, column: pd.Series
) -> None:
    frame = texts(campaign=["c"]).assign(decided_at=column)
    with pytest.raises(ValueError, match="time zone"), database.write() as connection:
        bulk_insert(connection, overrides, frame, lead_id="x", **PERSON)


def test_a_constant_instant_without_a_zone_is_refused(database: Database) -> None:
    naive = datetime(2026, 1, 1)
    with pytest.raises(ValueError, match="time zone"), database.write() as connection:
        bulk_insert(connection, overrides, texts(campaign=["c"]), decided_at=naive, **PERSON)


def test_an_empty_frame_adds_nothing(database: Database) -> None:
    with database.write() as connection:
        bulk_insert(connection, lead_aliases, aliases(), campaign="c")
        assert insert_new(connection, lead_aliases, aliases(), campaign="c") == 0

    assert stored(database) == []


def test_ordinary_columns_are_stored_like_arrow_ones(database: Database) -> None:
    frame = pd.DataFrame(
        {"source": ["s"], "file": ["f"], "row": [7], "reason": ["r"], "content": ["{}"]}
    )
    with database.write() as connection:
        bulk_insert(connection, rejects, frame, campaign="c")

    assert stored(database, rejects) == [(1, "c", "s", "f", 7, "r", "{}")]


def test_insert_new_adds_only_rows_whose_key_is_not_there(database: Database) -> None:
    with database.write() as connection:
        assert insert_new(connection, lead_aliases, aliases("a", "b"), campaign="c") == 2
        more = aliases("b", "c", of="y")
        assert insert_new(connection, lead_aliases, more, campaign="c") == 1
        assert insert_new(connection, lead_aliases, more, campaign="d") == 2

    assert [row for row in stored(database) if row[0] == "c"] == [
        ("c", "a", "x"),
        ("c", "b", "x"),
        ("c", "c", "y"),
    ]


SEND = {
    "campaign": "c",
    "sequence": "s",
    "campaign_version": 1,
    "recipient_domain": "d.example",
    "state": "planned",
    "due_at": NOW,
    "sender": "ida@acme.example",
    "deadline_at": NOW,
}


def test_insert_new_leaves_defaults_to_the_table(database: Database) -> None:
    with database.write() as connection:
        frame = texts(lead_id=[lead(1)], step=["a"], message_id=["m"])
        assert insert_new(connection, nurture_sends, frame, **SEND) == 1
        assert connection.scalar(sa.select(nurture_sends.c.attempts)) == 0


@pytest.mark.parametrize("insert", [bulk_insert, insert_new])
def test_a_refused_row_is_reported_without_its_values(
    database: Database, insert: Callable[..., object]
) -> None:
    """Another key with the same Message-ID: a clash that insert_new must not pass over."""
    frame = texts(lead_id=[lead(1), lead(2)], step=["a", "a"], message_id=["<secret@x>"] * 2)
    with pytest.raises(RowsRefused) as refused, database.write() as connection:
        insert(connection, nurture_sends, frame, **SEND)

    assert "nurture_sends" in str(refused.value)
    assert "message_id" in str(refused.value)
    assert "secret" not in str(refused.value)
    assert refused.value.__context__ is None


@pytest.mark.parametrize("insert", [bulk_insert, insert_new])
def test_a_server_that_goes_while_rows_are_written_has_refused_none(
    new_postgresql: Callable[[], str], insert: Callable[..., object]
) -> None:
    database = open_database(new_postgresql())

    def insert_meanwhile(connection: sa.Connection) -> None:
        mine = connection.scalar(sa.select(sa.func.pg_backend_pid()))
        with database.write() as other:
            other.execute(sa.select(sa.func.pg_terminate_backend(mine)))
        insert(connection, lead_aliases, aliases("a"), campaign="c")

    with pytest.raises(Transient, match="cannot be used"), database.write() as connection:
        insert_meanwhile(connection)
    assert stored(database) == []
    database.close()


@pytest.mark.parametrize("insert", [bulk_insert, insert_new])
def test_a_full_disk_is_told_as_one_and_refuses_no_row(
    new_sqlite: Callable[[], str], insert: Callable[..., object]
) -> None:
    database = open_database(new_sqlite())
    many = aliases(*(f"{number:0400}" for number in range(2000)))
    with database.read() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")  # as many as there are
    with pytest.raises(Transient, match="the disk is full"), database.write() as connection:
        insert(connection, lead_aliases, many, campaign="c")
    one_by_one = [{"campaign": "c", "alias": name, "lead_id": "x"} for name in many["alias"]]
    with pytest.raises(Transient, match="the disk is full"), database.write() as connection:
        connection.execute(sa.insert(lead_aliases), one_by_one)
    assert stored(database) == []
    database.close()


def test_a_staged_frame_is_gone_afterwards(database: Database) -> None:
    with database.write() as connection:
        for _ in range(2):
            with staged(connection, lead_aliases, aliases("a"), campaign="c") as incoming:
                assert connection.execute(sa.select(incoming)).one() == ("a", "x", "c")
        assert stored(database) == []


@pytest.mark.parametrize("insert", [bulk_insert, insert_new])
def test_postgresql_plans_for_rows_as_soon_as_they_are_there(
    new_postgresql: Callable[[], str], insert: Callable[..., object]
) -> None:
    """By itself it looks a minute after the commit; a run that reads at once hung for as long."""
    database = open_database(new_postgresql())
    many = pd.DataFrame(
        {"alias": [f"{n:020}" for n in range(FEW)], "lead_id": [f"{n:020}" for n in range(FEW)]},
        dtype=TEXT,
    )
    with database.write() as connection:
        connection.exec_driver_sql("ANALYZE lead_aliases")
        insert(connection, lead_aliases, many, campaign="spring")
        known = sa.text("SELECT reltuples FROM pg_class WHERE relname = 'lead_aliases'")
        assert connection.scalar(known) == FEW
    database.close()
