import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from aicmo_dagster.store import migrations, provider_calls
from aicmo_dagster.store.database import Database
from aicmo_dagster.store.provider_answers import Answer, put_answers
from aicmo_dagster.store.provider_calls import NoCredits, OpenCall, Spending
from aicmo_dagster.store.tables import instant_text, metadata
from aicmo_dagster_tests.samples import NOON, lead_id

WORKER = "here:1:1.00"
OTHER = "here:2:2.00"
MINUTE = timedelta(minutes=1)


class Calls:
    """The calls of a campaign to Apollo, unless said otherwise."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def begin(self, key: str = "k1", **changes: Any) -> int | NoCredits | None:
        with self.database.write(durable=True) as connection:
            given = {
                "campaign": "spring",
                "provider": "apollo",
                "operation": "match",
                "people": ["p1", "p2"],
                "worker": WORKER,
                "credits_at_most": 2.0,
                "max_credits": 100.0,
                "now": NOON,
            }
            return provider_calls.begin_call(connection, key=key, **{**given, **changes})

    def begun(self, key: str = "k1", **changes: Any) -> int:
        call = self.begin(key, **changes)
        assert isinstance(call, int)
        return call

    def finish(self, call: int, state: Any, credits: float | None = None, **changes: Any) -> bool:
        given = {"request_id": None, "detail": "", "now": NOON, **changes}
        with self.database.write() as connection:
            return provider_calls.finish_call(
                connection, call, state=state, credits=credits, **given
            )

    def open(
        self, ended: tuple[str, ...] = (), now: datetime = NOON, campaign: str = "spring"
    ) -> list[OpenCall]:
        with self.database.read() as connection:
            return provider_calls.open_calls(
                connection, campaign, "apollo", has_ended=ended.__contains__, now=now
            )

    def spent(self, campaign: str = "spring") -> float:
        with self.database.read() as connection:
            return provider_calls.credits_spent(connection, campaign)


@pytest.fixture
def calls(database: Database) -> Calls:
    return Calls(database)


def at_once(work: Callable[[int], Any], workers: int) -> list[Any]:
    """What `work` gives for each number, all started at the same moment."""
    start = threading.Barrier(workers)

    def run(number: int) -> Any:
        start.wait()
        return work(number)

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(run, range(workers)))


def test_a_key_pays_once_whoever_asks(calls: Calls) -> None:
    calls.begun("k1")

    assert calls.begin("k1") is None
    assert calls.begin("k1", worker=OTHER, campaign="autumn") is None


@pytest.mark.parametrize("state", ["done", "unknown", "pending"])
def test_a_key_that_may_have_been_paid_is_not_begun_again(calls: Calls, state: str) -> None:
    calls.finish(calls.begun("k1"), state, request_id="r")

    assert calls.begin("k1") is None


def test_a_refused_call_begins_again_under_its_key_as_new(calls: Calls) -> None:
    """Otherwise a batch refused for want of credits could never be asked for after a top-up."""
    first = calls.begun("k1", worker=OTHER)
    calls.finish(first, "refused", 0.0, request_id="old", detail="no credits left")

    assert calls.begin("k1", credits_at_most=1.0, people=["p3"], now=NOON + MINUTE) == first
    (again,) = calls.open(ended=(WORKER,))
    assert again == OpenCall(
        call_id=first,
        operation="match",
        key="k1",
        state="begun",
        people=("p3",),
        credits_at_most=1.0,
        request_id=None,
        started_at=NOON + MINUTE,
        detail="",
    )


def test_a_refused_call_that_cost_something_keeps_its_key(calls: Calls) -> None:
    calls.finish(calls.begun("k1"), "refused", 1.0)

    assert calls.begin("k1") is None
    assert calls.spent() == 1


def test_a_call_that_could_pass_the_budget_is_not_begun(calls: Calls) -> None:
    calls.finish(calls.begun("k1"), "done", 1.5)

    assert calls.begin("k2", max_credits=3) == NoCredits(left=1.5)
    assert calls.spent() == 1.5
    assert isinstance(calls.begin("k2", max_credits=3.5), int)


def test_fractions_of_credits_that_add_up_to_the_budget_fit_it(calls: Calls) -> None:
    """Ten times 0.1 is less than 1 to a computer, and three times 0.1 is more than 0.3."""
    for number in range(3):
        assert calls.begun(f"k{number}", credits_at_most=0.1, max_credits=0.3)

    assert calls.begin("k3", credits_at_most=0.1, max_credits=0.3) == NoCredits(
        pytest.approx(0, abs=1e-9)
    )


def test_a_call_that_costs_nothing_needs_no_budget(calls: Calls) -> None:
    calls.begun("k1", credits_at_most=5, max_credits=5)

    assert isinstance(calls.begin("k2", credits_at_most=0, max_credits=1), int)


COUNTED = {
    "begun": (None, None, 2.0),
    "unknown": ("unknown", None, 2.0),
    "unknown, whatever it is taken to have cost": ("unknown", 0.0, 2.0),
    "pending": ("pending", None, 2.0),
    "done": ("done", 1.25, 1.25),
    "done for nothing": ("done", 0.0, 0.0),
    "done, cost not told": ("done", None, 2.0),
    "done, dearer than was thought": ("done", 9.0, 9.0),
    "refused": ("refused", None, 0.0),
}


@pytest.mark.parametrize(("state", "credits", "counted"), COUNTED.values(), ids=COUNTED)
def test_what_is_not_known_counts_at_its_ceiling(
    calls: Calls, state: str | None, credits: float | None, counted: float
) -> None:
    call = calls.begun()
    calls.begun("another campaign's", campaign="autumn")
    if state is not None:
        calls.finish(call, state, credits, request_id="r")

    assert calls.spent() == counted


def test_nothing_spent_is_zero(calls: Calls) -> None:
    assert calls.spent() == 0


def test_an_outcome_is_final_and_a_late_doubt_does_not_erase_it(calls: Calls) -> None:
    call = calls.begun()

    assert calls.finish(call, "done", 1.0)
    assert not calls.finish(call, "unknown")
    assert not calls.finish(call, "pending", request_id="r")
    assert not calls.finish(call, "done", 2.0)
    assert calls.spent() == 1
    assert calls.open(ended=(WORKER,)) == []


def test_a_doubtful_call_is_settled_later(calls: Calls) -> None:
    call = calls.begun()

    assert calls.finish(call, "unknown", detail="timed out")
    assert calls.finish(call, "pending", request_id="r")
    assert calls.finish(call, "done", 1.0)
    assert calls.spent() == 1


def test_a_request_id_is_kept_exactly_and_stays_when_none_is_told(calls: Calls) -> None:
    """Apollo's are 64-bit and negative."""
    call = calls.begun()
    calls.finish(call, "pending", request_id="-8039995589705121900")
    calls.finish(call, "unknown")

    assert [c.request_id for c in calls.open()] == ["-8039995589705121900"]


def test_a_pending_call_without_request_id_is_refused(calls: Calls) -> None:
    call = calls.begun()

    with pytest.raises(ValueError, match="request id"):
        calls.finish(call, "pending")


def test_a_call_in_the_hands_of_a_living_worker_is_not_open(calls: Calls) -> None:
    calls.begun("k1", worker=WORKER)
    calls.begun("k2", worker=OTHER)

    assert [c.key for c in calls.open(ended=(OTHER,))] == ["k2"]


def test_a_call_of_a_worker_nobody_can_ask_about_is_open_after_the_lease(calls: Calls) -> None:
    calls.begun()
    lease = provider_calls.LEASE

    assert calls.open(now=NOON + lease) == []
    assert [c.key for c in calls.open(now=NOON + lease + MINUTE)] == ["k1"]


def test_pending_and_unknown_calls_are_open_whoever_holds_them(calls: Calls) -> None:
    calls.finish(calls.begun("k1", now=NOON + MINUTE), "unknown", detail="timed out")
    calls.finish(calls.begun("k2", people=["p9"]), "pending", request_id="r")
    calls.finish(calls.begun("k3"), "done", 1.0)
    calls.finish(calls.begun("k4"), "refused")
    calls.begun("k5", campaign="autumn", worker=OTHER)
    calls.begun("k6", provider="dropcontact", worker=OTHER)

    found = calls.open(ended=(OTHER,), now=NOON + 2 * MINUTE)

    assert [(c.key, c.state, c.people, c.request_id, c.detail) for c in found] == [
        ("k2", "pending", ("p9",), "r", ""),
        ("k1", "unknown", ("p1", "p2"), None, "timed out"),
    ]


def test_people_asked_about_by_another_campaign_are_named_until_it_knows(calls: Calls) -> None:
    call = calls.begun(people=["p1", "p2"])
    calls.begun("old", people=["p3"], now=NOON - 2 * MINUTE)
    calls.begun("own", people=["p4"], campaign="autumn")
    calls.begun("elsewhere", people=["p5"], provider="dropcontact")

    def asked() -> set[str]:
        with calls.database.write() as connection:
            return provider_calls.asked_elsewhere(
                connection,
                ["p2", "p3", "p4", "p5", "p6"],
                provider="apollo",
                campaign="autumn",
                since=NOON - MINUTE,
            )

    assert asked() == {"p2"}
    calls.finish(call, "done", 1.0)
    assert asked() == set()


def test_two_campaigns_at_once_do_not_both_ask_about_a_person(calls: Calls) -> None:
    people = [f"p{number}" for number in range(12)]

    def ask(number: int) -> int:
        campaign, begun = f"campaign-{number}", 0
        for person in people:
            with calls.database.write() as connection:
                if not provider_calls.asked_elsewhere(
                    connection, [person], provider="apollo", campaign=campaign, since=NOON
                ):
                    provider_calls.begin_call(
                        connection,
                        campaign=campaign,
                        provider="apollo",
                        operation="match",
                        key=f"{campaign} {person}",
                        people=[person],
                        worker=WORKER,
                        credits_at_most=1.0,
                        max_credits=100.0,
                        now=NOON,
                    )
                    begun += 1
        return begun

    assert sum(at_once(ask, 4)) == len(people)


def test_workers_at_once_never_spend_more_than_the_last_credit(calls: Calls) -> None:
    def spend(number: int) -> list[int | NoCredits | None]:
        ask = {"credits_at_most": 1.0, "max_credits": 10.0, "worker": f"here:{number}:0.00"}
        return [calls.begin(f"{number}-{turn}", **ask) for turn in range(6)]

    results = [one for many in at_once(spend, 6) for one in many]

    assert sum(isinstance(one, int) for one in results) == 10
    assert results.count(NoCredits(left=0.0)) == 26
    assert calls.spent() == 10


def test_workers_at_once_with_one_key_pay_once(calls: Calls) -> None:
    """In campaigns of their own, so that no campaign's lock keeps them apart."""

    def pay(number: int) -> list[int | NoCredits | None]:
        return [calls.begin(f"k{turn}", campaign=f"campaign-{number}") for turn in range(10)]

    results = at_once(pay, 4)

    assert [sum(one is not None for one in turn) for turn in zip(*results, strict=True)] == [1] * 10


def test_workers_at_once_begin_a_refused_call_again_once(calls: Calls) -> None:
    for turn in range(10):
        calls.finish(calls.begun(f"k{turn}"), "refused")

    def pay(number: int) -> list[int | NoCredits | None]:
        return [calls.begin(f"k{turn}", campaign=f"campaign-{number}") for turn in range(10)]

    results = at_once(pay, 4)

    assert [sum(one is not None for one in turn) for turn in zip(*results, strict=True)] == [1] * 10


def test_spending_tells_by_provider_what_was_paid_and_got(calls: Calls) -> None:
    calls.finish(calls.begun("k1"), "done", 1.5)
    calls.finish(calls.begun("k2"), "unknown")
    calls.finish(calls.begun("k3"), "refused")
    calls.begun("k4", provider="dropcontact", credits_at_most=4)
    calls.begun("k5", campaign="autumn")
    one = {"provider": "apollo", "credits": 1.0, "answered_at": NOON, "answer": {}, "status": "ok"}
    kept = [
        {"lead_id": lead_id(1), "person_key": "p1", "usable": True},
        {"lead_id": lead_id(1), "person_key": "p1 by another name", "usable": True},
        {"lead_id": lead_id(2), "person_key": "p2", "usable": False},
        {"lead_id": lead_id(3), "person_key": "p3", "usable": True, "cached": True},
    ]
    with calls.database.write() as connection:
        put_answers(connection, [Answer(campaign="spring", **one, **own) for own in kept])
        put_answers(connection, [Answer(campaign="autumn", **one, **kept[0])])
        put_answers(connection, [Answer(campaign="spring", **one | {"provider": "x"}, **kept[3])])
        found = provider_calls.spending(connection, "spring")

    assert found == {
        "apollo": Spending(calls=3, credits=3.5, answers=3, usable=2, cache_hits=1),
        "dropcontact": Spending(calls=1, credits=4.0),
        "x": Spending(answers=1, usable=1, cache_hits=1),
    }


def test_a_campaign_that_asked_nobody_spent_nothing(database: Database) -> None:
    with database.read() as connection:
        assert provider_calls.spending(connection, "spring") == {}


def test_an_upgrade_from_the_foundation_keeps_every_row_of_every_table(database: Database) -> None:
    with database.write() as connection:
        _back_to_foundation(connection)
        # `models` is made anew: nothing wrote to it before models were learned.
        tables = [table for table in _reflected(connection) if table.name != "models"]
        for table in tables:
            connection.execute(table.insert(), [_filled(table, n) for n in (1, 2)])
        before = {table.name: _rows(connection, table) for table in tables}

        migrations.upgrade(connection)

        after = {table.name: _rows(connection, table) for table in tables}
        assert {len(rows) for rows in before.values()} == {2}
        assert after == before
        assert migrations.is_current(connection)


def test_a_call_from_before_the_upgrade_counts_as_what_it_cost(database: Database) -> None:
    with database.write() as connection:
        _back_to_foundation(connection)
        (table,) = (t for t in _reflected(connection) if t.name == "provider_calls")
        known = {"campaign": "spring", "provider": "apollo", "credits": 3.0}
        states = ({"state": "done"}, {"state": "unknown"})
        for number, state in enumerate(states):
            connection.execute(table.insert(), _filled(table, number) | known | state)
        migrations.upgrade(connection)

        (left,) = provider_calls.open_calls(
            connection, "spring", "apollo", has_ended=lambda _: False, now=NOON
        )
        assert (left.people, left.credits_at_most) == ((), 0)
        assert provider_calls.credits_spent(connection, "spring") == 3


def _back_to_foundation(connection: sa.Connection) -> None:
    """The database has the tables of revision 0001, empty."""
    metadata.drop_all(connection)
    connection.execute(sa.text("DROP TABLE alembic_version"))
    config = Config()
    config.set_main_option("script_location", "aicmo_dagster.store:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "0001")


def _reflected(connection: sa.Connection) -> list[sa.Table]:
    """The tables as they are in the database, those referred to first."""
    found = sa.MetaData()
    found.reflect(connection)
    return [table for table in found.sorted_tables if table.name != "alembic_version"]


def _filled(table: sa.Table, number: int) -> dict[str, Any]:
    """A row that has a value in every column."""
    instant = NOON + number * MINUTE

    def text(name: str) -> str:
        if name.endswith("_at"):  # SQLite's instants are text
            return instant_text(instant)
        if name == "document":
            return f'{{"number": {number}}}'
        return f"campaign {number}" if name == "campaign" else f"{table.name} {name} {number}"

    made: dict[type, Callable[[str], object]] = {
        str: text,
        int: lambda _: number,
        float: lambda _: number + 0.5,
        bool: lambda _: True,
        datetime: lambda _: instant,
    }
    return {c.name: made[c.type.python_type](c.name) for c in table.columns}


def _rows(connection: sa.Connection, table: sa.Table) -> list[tuple[object, ...]]:
    query = sa.select(table).order_by(*table.primary_key)
    return [tuple(row) for row in connection.execute(query)]
