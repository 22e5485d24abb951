from datetime import timedelta

import pytest
import sqlalchemy as sa

from aicmo_dagster.errors import AicmoError
from aicmo_dagster.store.database import Database
from aicmo_dagster.store.models import (
    StoredModel,
    changes,
    find_model,
    list_models,
    promote,
    promoted_model,
    put_model,
    roll_back,
    rolled_back,
)
from aicmo_dagster_tests.samples import NOON


def stored(version: str, campaign: str = "spring", *, minutes: int = 0) -> StoredModel:
    at = NOON + timedelta(minutes=minutes)
    return StoredModel(version, campaign, "anchored", "candidate", "{}", "{}", at)


def put(connection: sa.Connection, *models: StoredModel) -> list[bool]:
    return [put_model(connection, m, reason="learned", decided_by="a job") for m in models]


def put_in_charge(connection: sa.Connection, version: str, campaign: str = "spring") -> None:
    promote(connection, campaign, version, reason="better", decided_by="Ida", now=NOON)


def take_back(connection: sa.Connection) -> tuple[str, str | None]:
    return roll_back(connection, "spring", reason="worse", decided_by="Ida", now=NOON)


def in_charge(connection: sa.Connection, campaign: str = "spring") -> str | None:
    found = promoted_model(connection, campaign)
    return found.version if found else None


def test_a_model_is_kept_once_as_a_candidate(database: Database) -> None:
    with database.write() as connection:
        assert put(connection, stored("aaaa1111"), stored("aaaa1111", minutes=5)) == [True, False]
        assert list_models(connection, "spring") == [stored("aaaa1111")]
        assert [change.state for change in changes(connection, "spring")] == ["trained"]


def test_two_campaigns_may_learn_the_same(database: Database) -> None:
    with database.write() as connection:
        assert put(connection, stored("aaaa1111"), stored("aaaa1111", "autumn")) == [True, True]
        put_in_charge(connection, "aaaa1111", "autumn")
        assert (in_charge(connection), in_charge(connection, "autumn")) == (None, "aaaa1111")


def test_models_are_listed_newest_first(database: Database) -> None:
    with database.write() as connection:
        put(connection, stored("aaaa1111"), stored("bbbb2222", minutes=1), stored("cccc", "autumn"))
        assert [m.version for m in list_models(connection, "spring")] == ["bbbb2222", "aaaa1111"]


def test_a_version_may_be_given_by_its_beginning(database: Database) -> None:
    with database.write() as connection:
        put(connection, stored("aaaa1111"), stored("aaaa2222"))
        assert find_model(connection, "spring", "aaaa1").version == "aaaa1111"
        for unknown, trouble in (("aaaa", "several"), ("aaa", "no"), ("%aaa", "no"), ("ff", "no")):
            with pytest.raises(AicmoError, match=f"has {trouble} model"):
                find_model(connection, "spring", unknown)


def test_one_model_is_in_charge_and_what_was_is_retired(database: Database) -> None:
    with database.write() as connection:
        put(connection, stored("aaaa1111"), stored("bbbb2222", minutes=1), stored("cccc3333"))
        assert in_charge(connection) is None
        put_in_charge(connection, "aaaa1111")
        put_in_charge(connection, "bbbb2222")
        states = {m.version: m.state for m in list_models(connection, "spring")}
        assert states == {"aaaa1111": "retired", "bbbb2222": "promoted", "cccc3333": "candidate"}


def test_rollbacks_take_promotions_back_one_by_one_down_to_the_scorecard(
    database: Database,
) -> None:
    with database.write() as connection:
        put(connection, stored("aaaa1111"), stored("bbbb2222"))
        for version in ("aaaa1111", "bbbb2222", "aaaa1111"):
            put_in_charge(connection, version)
        assert take_back(connection) == ("aaaa1111", "bbbb2222")
        assert in_charge(connection) == "bbbb2222"
        assert take_back(connection) == ("bbbb2222", "aaaa1111")
        assert take_back(connection) == ("aaaa1111", None)
        assert in_charge(connection) is None
        assert rolled_back(changes(connection, "spring")) == {"aaaa1111", "bbbb2222"}
        with pytest.raises(AicmoError, match="no promoted model"):
            take_back(connection)
        put_in_charge(connection, "bbbb2222")
        assert rolled_back(changes(connection, "spring")) == {"aaaa1111"}
        last = changes(connection, "spring")[-1]
        assert (last.state, last.reason, last.decided_by, last.decided_at) == (
            "promoted",
            "better",
            "Ida",
            NOON,
        )
