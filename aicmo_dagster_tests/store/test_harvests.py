import pandas as pd

from aicmo_dagster.store.database import Database
from aicmo_dagster.store.harvests import put_aliases, read_aliases, reject_counts, replace_rejects
from aicmo_dagster_tests.store.rows import TEXT, lead, texts


def refused(*reasons: str) -> pd.DataFrame:
    count = len(reasons)
    return texts(
        source=["csv-1"] * count,
        file=["leads.csv"] * count,
        reason=list(reasons),
        content=['{"Name": "x"}'] * count,
        cause=["not stored"] * count,
    ).assign(row=range(2, count + 2))


def test_an_alias_leads_to_the_lead_it_was_last_given_to(database: Database) -> None:
    first = texts(alias=["email:a", "email:b"], lead_id=[lead(1), lead(1)])
    second = texts(alias=["email:b", "email:c"], lead_id=[lead(2), lead(2)])
    with database.write() as connection:
        put_aliases(connection, "c", first)
        put_aliases(connection, "c", second)
        put_aliases(connection, "d", first)
        found = read_aliases(connection, "c")

    expected = texts(alias=["email:a", "email:b", "email:c"], lead_id=[lead(1), lead(2), lead(2)])
    pd.testing.assert_frame_equal(found, expected)


def test_a_campaign_without_aliases_has_an_empty_frame_of_text(database: Database) -> None:
    with database.read() as connection:
        found = read_aliases(connection, "c")

    assert found.dtypes.to_dict() == {"alias": TEXT, "lead_id": TEXT}
    assert len(found) == 0


def test_rejects_are_replaced_for_that_campaign_and_counted_by_reason(database: Database) -> None:
    with database.write() as connection:
        replace_rejects(connection, "c", [refused("no identity")])
        replace_rejects(connection, "d", [refused("no identity")])
        frames = [refused("bad address"), refused("bad address", "negative")]
        replace_rejects(connection, "c", frames)

        assert reject_counts(connection, "c") == {"bad address": 2, "negative": 1}
        assert reject_counts(connection, "d") == {"no identity": 1}
        assert reject_counts(connection, "e") == {}
