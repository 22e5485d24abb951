from datetime import UTC, datetime

import pandas as pd
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aicmo_dagster.domain.schemas import LEAD_ID, STAGES, dtypes, typed
from aicmo_dagster.store.database import Database
from aicmo_dagster.store.frames import FrameInvalid, count_rows, read_frame, replace_frame
from aicmo_dagster.store.loading import bulk_insert
from aicmo_dagster.store.tables import FRAME_TABLES, nurture_sends
from aicmo_dagster_tests.store.rows import NOW, lead, raw, scored, texts


def replaced(database: Database, stage: str, campaign: str, frame: pd.DataFrame) -> pd.DataFrame:
    with database.write() as connection:
        replace_frame(connection, stage, campaign, frame)
    with database.read() as connection:
        return read_frame(connection, stage, campaign)


# PostgreSQL stores no NUL characters, and UTF-8 knows no lone surrogates; intake strips both.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
AWKWARD = TEXTS | st.sampled_from(["", "\\.", "\n\\.\n", "\\N", '"', "a,\r\nb"])
WHOLES = st.integers(0, 2**63 - 1)
REALS = st.floats(min_value=0, allow_nan=False)
INSTANTS = st.datetimes(timezones=st.just(UTC))
LEADS = st.fixed_dictionaries(
    {
        "lead_id": st.from_regex(LEAD_ID, fullmatch=True),
        "first_name": st.none() | AWKWARD,
        "company": st.none() | AWKWARD,
        "employees": st.none() | WHOLES,
        "annual_revenue": st.none() | REALS,
        "last_engaged_at": st.none() | INSTANTS,
        "won": st.none() | st.booleans(),
        "source": AWKWARD,
        "sources": AWKWARD,
        "origins": AWKWARD,
        "custom": AWKWARD,
        "first_seen_at": INSTANTS,
        "last_seen_at": INSTANTS,
    }
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=st.lists(LEADS, max_size=6, unique_by=lambda row: row["lead_id"]))
def test_a_frame_comes_back_as_it_went_in(
    database: Database, rows: list[dict[str, object]]
) -> None:
    wanted = dtypes("raw_leads")
    frame = pd.DataFrame(
        {
            name: pd.Series([row.get(name) for row in rows], dtype=dtype)
            for name, dtype in wanted.items()
        }
    )

    found = replaced(database, "raw_leads", "c", frame)

    expected = frame.sort_values("lead_id", ignore_index=True)
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


def test_nan_is_stored_as_missing(database: Database) -> None:
    frame = raw(2, annual_revenue=pd.Series([float("nan"), 1.5]).to_numpy())

    found = replaced(database, "raw_leads", "c", frame)

    assert found["annual_revenue"].isna().tolist() == [True, False]


def test_replacing_takes_the_place_of_that_campaign_and_stage_alone(database: Database) -> None:
    replaced(database, "scored_leads", "other", scored([1]))
    replaced(database, "raw_leads", "c", raw(2))
    replaced(database, "scored_leads", "c", scored([1, 2, 3]))

    found = replaced(database, "scored_leads", "c", scored([7], first=2))

    assert found[["lead_id", "score"]].values.tolist() == [[lead(2), 7.0]]
    with database.read() as connection:
        assert count_rows(connection, "scored_leads", "c") == 1
        assert count_rows(connection, "scored_leads", "other") == 1
        assert count_rows(connection, "raw_leads", "c") == 2


def test_replacing_with_nothing_empties_the_stage(database: Database) -> None:
    replaced(database, "scored_leads", "c", scored([1]))

    found = replaced(database, "scored_leads", "c", scored([]))

    pd.testing.assert_frame_equal(found, scored([]), check_index_type=False)


@pytest.mark.parametrize("stage", STAGES)
def test_an_empty_stage_is_read_with_its_types(database: Database, stage: str) -> None:
    with database.read() as connection:
        found = read_frame(connection, stage, "c")

    assert found.dtypes.to_dict() == dtypes(stage)
    assert len(found) == 0


def test_rows_come_by_lead_and_columns_as_asked(database: Database) -> None:
    shuffled = scored([3, 1, 2]).iloc[[2, 0, 1]]
    replaced(database, "scored_leads", "c", shuffled)
    with database.write() as connection:
        # Knowing the table to be small, PostgreSQL reads it as it lies, not by the key's index.
        connection.execute(sa.text("ANALYZE"))
        found = read_frame(connection, "scored_leads", "c", ["score", "lead_id"])

    assert list(found.columns) == ["score", "lead_id"]
    assert found["score"].tolist() == [3, 1, 2]


def test_the_ledger_is_read_by_lead_and_step_without_its_inner_columns(database: Database) -> None:
    ids = [lead(2), lead(1), lead(1)]
    steps = ["a", "b-2", "b"]
    frame = texts(lead_id=ids, step=steps, message_id=["m1", "m2", "m3"])
    with database.write() as connection:
        bulk_insert(
            connection,
            nurture_sends,
            frame,
            campaign="c",
            sequence="s",
            campaign_version=1,
            recipient_domain="d.example",
            state="planned",
            due_at=NOW,
            sender="ida@acme.example",
            deadline_at=NOW,
        )
        found = read_frame(connection, "nurture_sends", "c")

    assert found["message_id"].tolist() == ["m3", "m2", "m1"]
    assert found.dtypes.to_dict() == dtypes("nurture_sends")
    assert found["due_at"].tolist() == [pd.Timestamp(NOW)] * 3


def test_the_ledger_is_never_replaced(database: Database) -> None:
    sends = typed("nurture_sends", {"lead_id": [lead(1)], "step": ["a"]})
    with database.write() as connection, pytest.raises(KeyError):
        replace_frame(connection, "nurture_sends", "c", sends)


def test_an_invalid_frame_is_refused_with_rules_and_counts_and_no_value(database: Database) -> None:
    replaced(database, "raw_leads", "c", raw(1))
    broken = raw(4, email=["ada secret", "bob secret", "c@d.example", None]).assign(source=None)
    broken = broken.astype(dtypes("raw_leads"))

    with pytest.raises(FrameInvalid) as refused:
        replaced(database, "raw_leads", "c", broken)

    text = str(refused.value)
    assert "raw_leads" in text
    assert "'c'" in text
    assert "email: str_matches (2)" in text
    assert "source: not_nullable (4)" in text
    assert "secret" not in text
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None
    with database.read() as connection:
        assert count_rows(connection, "raw_leads", "c") == 1


@pytest.mark.parametrize(
    ("frame", "rule"),
    [
        (scored([1, 2]).assign(lead_id=lead(1)), "lead_id: field_uniqueness (2)"),
        (scored([101]), "score: less_than_or_equal_to (1)"),
        (scored([1]).drop(columns="model"), "frame: column_in_dataframe (1)"),
        (scored([1]).assign(secret="x"), "frame: column_in_schema (1)"),
        (scored([1]).astype({"score": str}), "score: dtype (1)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_kind_of_rule_is_named(database: Database, frame: pd.DataFrame, rule: str) -> None:
    if frame["lead_id"].nunique() != len(frame):
        frame = frame.astype({"lead_id": dtypes("scored_leads")["lead_id"]})
    with pytest.raises(FrameInvalid) as refused:
        replaced(database, "scored_leads", "c", frame)

    assert rule in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_stored_instant_can_be_compared_in_the_database(database: Database) -> None:
    """SQLite holds text: it must sort as the instants do."""
    early, late = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, microsecond=1, tzinfo=UTC)
    seen = pd.Series([early, late])
    replaced(database, "raw_leads", "c", raw(2, last_seen_at=seen))
    column = FRAME_TABLES["raw_leads"].c.last_seen_at
    with database.read() as connection:
        found = connection.execute(sa.select(column).where(column > early)).scalars().all()

    assert found == [late]
