from aicmo_dagster.store.audit import list_changes, record_change
from aicmo_dagster.store.database import Database
from aicmo_dagster_tests.store.rows import NOW


def test_changes_are_listed_the_latest_first_and_in_pages(database: Database) -> None:
    with database.write() as connection:
        for number in range(5):
            record_change(
                connection,
                "token:1",
                "campaign.apply",
                NOW,
                campaign="a" if number % 2 else "b",
                before={"version": number} if number else None,
                after={"version": number + 1},
            )
        first = list_changes(connection, 2)
        rest = list_changes(connection, 9, before_id=first[-1].id)

        assert [each.after for each in first + rest] == [{"version": n} for n in (5, 4, 3, 2, 1)]
        assert rest[-1].before is None
        assert len(list_changes(connection, 9, campaign="a")) == 2
        assert len(list_changes(connection, 9, campaigns=["a", "c"])) == 2
        assert list_changes(connection, 9, campaigns=[]) == []
        assert first[0].who == "token:1"
