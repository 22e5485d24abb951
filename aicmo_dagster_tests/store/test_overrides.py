from datetime import datetime, timedelta

import pytest

from aicmo_dagster.errors import BadInput
from aicmo_dagster.store.database import Database
from aicmo_dagster.store.overrides import active_overrides, add_override, withdraw
from aicmo_dagster_tests.store.rows import NOW, TEXT, lead

HOUR = timedelta(hours=1)


def added(
    database: Database,
    action: str,
    number: int = 1,
    *,
    campaign: str = "c",
    expires_at: datetime | None = None,
) -> int:
    with database.write() as connection:
        return add_override(
            connection, campaign, lead(number), action, "asked", "ida", NOW, expires_at
        )


def in_force(database: Database, now: datetime = NOW) -> list[tuple[str, str]]:
    with database.read() as connection:
        found = active_overrides(connection, "c", now)
    told = ["lead_id", "action", "reason", "decided_by"]
    assert list(found.columns) == [*told, "decided_at", "expires_at"]
    assert set(found[told].dtypes) == {TEXT}
    return list(zip(found["lead_id"], found["action"], strict=True))


def test_the_latest_of_each_kind_holds(database: Database) -> None:
    for action in ("qualify", "pause", "route:a", "reject", "route:b", "resume", "route:b-2"):
        added(database, action)
    added(database, "pause", 2)
    added(database, "pause", 3, campaign="d")

    assert in_force(database) == [
        (lead(1), "reject"),
        (lead(1), "resume"),
        (lead(1), "route:b-2"),
        (lead(2), "pause"),
    ]


def test_an_expired_override_gives_way_to_the_one_before(database: Database) -> None:
    added(database, "reject")
    added(database, "qualify", expires_at=NOW + HOUR)

    assert in_force(database, NOW + HOUR / 2) == [(lead(1), "qualify")]
    assert in_force(database, NOW + HOUR) == [(lead(1), "reject")]


def test_withdrawing_ends_all_of_that_kind_and_lead(database: Database) -> None:
    for action in ("qualify", "reject", "pause"):
        added(database, action)
    added(database, "reject", 2)
    added(database, "reject", expires_at=NOW)
    with database.write() as connection:
        assert withdraw(connection, "c", lead(1), "verdict", NOW + HOUR) == 2
        assert withdraw(connection, "c", lead(1), "verdict", NOW + HOUR) == 0

    assert in_force(database, NOW + HOUR) == [(lead(1), "pause"), (lead(2), "reject")]


def test_ids_tell_overrides_apart(database: Database) -> None:
    assert added(database, "pause") < added(database, "resume")


@pytest.mark.parametrize("action", ["", "promote", "route:", "route:a b", "qualify\n"])
def test_an_unknown_action_is_refused(database: Database, action: str) -> None:
    with pytest.raises(BadInput, match="route:SEQUENCE"):
        added(database, action)
    assert in_force(database) == []
