"""What a balance proves of calls whose outcome nobody knows."""

from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from aicmo_dagster.store.balances import SETTLED, heed_balance
from aicmo_dagster.store.database import Database
from aicmo_dagster.store.provider_calls import LEASE, begin_call, finish_call
from aicmo_dagster.store.tables import provider_calls
from aicmo_dagster_tests.samples import NOON

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


class Account:
    """A provider's account as its balance and our calls tell of it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.calls = 0

    def tells(self, balance: float, now: datetime, key: str = "a key") -> int:
        with self.database.write() as connection:
            return heed_balance(
                connection,
                "apollo",
                key,
                balance=balance,
                now=now,
                has_ended=lambda worker: worker == "gone",
            )

    def call(self, state: str, credits: float | None, at: datetime, worker: str = "here") -> None:
        self.calls += 1
        with self.database.write() as connection:
            begun = begin_call(
                connection,
                campaign="spring",
                provider="apollo",
                operation="match",
                key=str(self.calls),
                people=[],
                worker=worker,
                credits_at_most=10,
                max_credits=1000,
                now=at,
            )
            known: dict[str, Any] = {"credits": credits, "request_id": "r", "detail": "", "now": at}
            if state != "begun":
                assert isinstance(begun, int)
                finish_call(connection, begun, state=state, **known)  # type: ignore[arg-type]

    def states(self) -> list[str]:
        with self.database.read() as connection:
            return list(connection.scalars(sa.select(provider_calls.c.state)))


@pytest.fixture
def account(database: Database) -> Account:
    """One that has told 100 at noon, when nothing was under way."""
    account = Account(database)
    assert account.tells(100, NOON) == 0
    return account


def test_a_balance_that_fell_by_what_is_known_clears_what_is_not(account: Account) -> None:
    account.call("done", 7, NOON + SECOND)
    account.call("unknown", None, NOON + SECOND)
    account.call("refused", 0, NOON + SECOND)
    assert account.tells(93, NOON + HOUR) == 1
    assert account.states() == ["done", "refused", "refused"]


@pytest.mark.parametrize("balance", [92.0, 90.0, 83.0, 94.0, 200.0])
def test_any_other_balance_proves_nothing(account: Account, balance: float) -> None:
    account.call("done", 7, NOON + SECOND)
    account.call("unknown", None, NOON + SECOND)
    assert account.tells(balance, NOON + HOUR) == 0
    assert account.states() == ["done", "unknown"]


def test_a_call_that_never_told_its_cost_proves_nothing(account: Account) -> None:
    account.call("done", None, NOON + SECOND)
    account.call("unknown", None, NOON + SECOND)
    assert account.tells(100, NOON + HOUR) == 0


def test_a_call_of_a_worker_that_is_gone_is_cleared_too(account: Account) -> None:
    account.call("begun", None, NOON + SECOND, worker="gone")
    assert account.tells(100, NOON + HOUR) == 1


@pytest.mark.parametrize(
    ("state", "at"),
    [
        ("begun", NOON + HOUR - LEASE + SECOND),
        ("pending", NOON + SECOND),
        ("done", NOON + HOUR - SETTLED + SECOND),
        ("unknown", NOON + HOUR - SETTLED + SECOND),
    ],
)
def test_while_anything_is_under_way_nothing_is_proven(
    account: Account, state: str, at: datetime
) -> None:
    account.call("unknown", None, NOON + SECOND)
    account.call(state, 0 if state == "done" else None, at)
    assert account.tells(100, NOON + HOUR) == 0
    assert account.states()[0] == "unknown"


def test_another_key_has_another_balance(account: Account) -> None:
    account.call("unknown", None, NOON + SECOND)
    assert account.tells(100, NOON + HOUR, "another key") == 0
    assert account.tells(100, NOON + 2 * HOUR, "a key") == 0
    assert account.tells(100, NOON + 3 * HOUR, "a key") == 0


def test_what_was_in_doubt_at_a_mark_stays_so(account: Account) -> None:
    """Its cost is in the mark already."""
    account.call("unknown", None, NOON + SECOND)
    assert account.tells(90, NOON + HOUR) == 0
    account.call("unknown", None, NOON + HOUR + SECOND)
    assert account.tells(90, NOON + 2 * HOUR) == 1
    assert account.states() == ["unknown", "refused"]
