import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from itertools import combinations
from typing import Any

import pytest
import sqlalchemy as sa

from aicmo_dagster.domain.tokens import address_key, domain_key, person_key
from aicmo_dagster.store.database import Database
from aicmo_dagster.store.provider_answers import (
    Answer,
    answers_of_lead,
    fresh_answers,
    put_answers,
)
from aicmo_dagster_tests.samples import NOON, SECRET, lead_id

DAY = timedelta(days=1)
WORD = "zoë 👍 \u2028 \x01 \x00 \ud83d"
"""With half a surrogate pair and NUL, which JSON can carry and PostgreSQL's text cannot."""


def answer(number: int = 1, **changes: Any) -> Answer:
    given: dict[str, Any] = {
        "campaign": "spring",
        "lead_id": lead_id(number),
        "provider": "apollo",
        "person_key": f"p{number}",
        "answer": {"email": f"lead{number}@acme.example", "confidence": 0.5, "phone": None},
        "status": "verified",
        "usable": True,
        "credits": 1.0,
        "answered_at": NOON,
    }
    return Answer(**given | changes)


def put(database: Database, *answers: Answer) -> None:
    with database.write() as connection:
        put_answers(connection, answers)


def fresh(database: Database, *keys: str, **changes: Any) -> dict[str, Answer]:
    with database.read() as connection:
        given = {"provider": "apollo", "since": NOON - DAY, **changes}
        return fresh_answers(connection, keys, **given)


def of_lead(database: Database, number: int = 1, campaign: str = "spring") -> list[Answer]:
    with database.read() as connection:
        return answers_of_lead(connection, campaign, lead_id(number))


def test_an_answer_comes_back_as_it_was_put(database: Database) -> None:
    told = answer(answer={"name": WORD, "employees": [1, 2.5, None, True, {"a": "b"}]})
    put(database, told)

    assert fresh(database, "p1") == {"p1": told}
    assert of_lead(database) == [told]


def test_an_answer_that_the_table_does_not_allow_is_refused_as_on_any_other_way(
    database: Database,
) -> None:
    with pytest.raises(sa.exc.IntegrityError, match="status") as refused:
        put(database, answer(1), answer(2, status=None))
    assert WORD not in str(refused.value)
    assert fresh(database, "p1") == {}


def test_an_answer_serves_every_campaign(database: Database) -> None:
    put(database, answer(campaign="autumn"))

    assert fresh(database, "p1")["p1"].campaign == "autumn"


def test_only_answers_of_the_provider_and_the_period_are_fresh(database: Database) -> None:
    put(
        database,
        answer(1, answered_at=NOON - DAY),
        answer(2, answered_at=NOON - DAY - timedelta(microseconds=1)),
        answer(3, provider="dropcontact"),
        answer(4),
    )

    assert sorted(fresh(database, "p1", "p2", "p3")) == ["p1"]
    assert sorted(fresh(database, "p3", provider="dropcontact")) == ["p3"]


def test_the_newest_answer_counts_whichever_campaign_asked(database: Database) -> None:
    old, new = (answer(campaign=c, answered_at=t) for c, t in [("b", NOON), ("a", NOON + DAY)])
    put(database, new, old)

    assert fresh(database, "p1") == {"p1": new}


def test_a_miss_is_an_answer_too(database: Database) -> None:
    put(database, answer(usable=False, status="no match", answer={}, credits=0.0))

    assert not fresh(database, "p1")["p1"].usable


def test_the_answer_of_a_later_call_replaces_that_of_an_earlier_one(database: Database) -> None:
    later = answer(status="gone", usable=False, answered_at=NOON + DAY)
    put(database, answer())
    put(database, later)

    assert of_lead(database) == [later]


def test_an_answer_that_comes_late_or_twice_changes_nothing(database: Database) -> None:
    put(database, answer())
    put(database, answer(status="late", answered_at=NOON - DAY), answer(status="twice"))

    assert of_lead(database) == [answer()]


def test_of_two_answers_put_at_once_the_newer_is_kept(database: Database) -> None:
    """PostgreSQL would refuse to touch a row twice in one statement."""
    newer = answer(answered_at=NOON + DAY)
    put(database, newer, answer())

    assert of_lead(database) == [newer]


def test_putting_no_answers_is_allowed(database: Database) -> None:
    put(database)

    assert fresh(database) == {}


def test_a_lead_served_from_the_cache_names_the_answer_and_when_it_was_paid(
    database: Database,
) -> None:
    put(database, answer(campaign="autumn"))
    reused = replace(
        fresh(database, "p1")["p1"], campaign="spring", lead_id=lead_id(7), cached=True
    )
    put(database, reused)

    assert of_lead(database, 7) == [reused]
    assert reused.answered_at == NOON


def test_the_cache_does_not_make_an_answer_look_newer_or_unpaid(database: Database) -> None:
    paid = answer(campaign="b")
    put(database, paid)
    put(database, replace(paid, campaign="a", cached=True), replace(paid, cached=True))
    put(database, replace(paid, cached=True))

    assert fresh(database, "p1") == {"p1": paid}
    assert of_lead(database, campaign="b") == [paid]
    assert fresh(database, "p1", since=NOON + timedelta(microseconds=1)) == {}


def test_a_lead_has_the_answers_of_all_providers_in_order(database: Database) -> None:
    told = [
        answer(provider="dropcontact", person_key="q1"),
        answer(answered_at=NOON + DAY),
    ]
    put(database, *reversed(told), answer(2), answer(campaign="autumn"))

    assert of_lead(database) == told


def test_more_people_than_a_statement_takes_are_found(database: Database) -> None:
    put(database, *(answer(number) for number in (1, 20_000, 40_000)))

    keys = [f"p{number}" for number in range(40_001)]
    with database.read() as connection:
        if connection.dialect.name == "sqlite":  # some builds take more than it does by default
            driver = connection.connection.driver_connection
            assert driver is not None
            driver.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 32_766)
        found = fresh_answers(connection, keys, provider="apollo", since=NOON)

    assert sorted(found) == ["p1", "p20000", "p40000"]


def test_workers_that_put_the_same_answers_at_once_do_not_block_each_other(
    database: Database,
) -> None:
    start = threading.Barrier(4)

    def work(turn: int) -> None:
        start.wait()
        for later in range(5):
            when = NOON + later * DAY
            numbers = range(40) if turn % 2 else reversed(range(40))
            put(database, *(answer(number, answered_at=when) for number in numbers))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))

    found = fresh(database, *(f"p{number}" for number in range(40)))
    assert {one.answered_at for one in found.values()} == {NOON + 4 * DAY}


def test_a_person_key_tells_nobody_who_it_is_and_serves_no_other_purpose() -> None:
    made = [
        person_key(SECRET, "apollo", "ida@acme.example"),
        person_key(SECRET, "dropcontact", "ida@acme.example"),
        person_key(SECRET, "apollo", "ola@acme.example"),
        person_key(b"another key", "apollo", "ida@acme.example"),
        address_key(SECRET, "ida@acme.example"),
        domain_key(SECRET, "ida@acme.example"),
    ]

    assert all(one != other for one, other in combinations(made, 2))
    assert made[0] == person_key(SECRET, "apollo", "ida@acme.example")
    assert {len(one) for one in made} == {64}


@pytest.mark.parametrize("field", ["answer", "status"])
def test_what_an_answer_says_is_no_part_of_its_key(database: Database, field: str) -> None:
    put(database, answer())
    put(database, answer(answered_at=NOON + DAY, **{field: {} if field == "answer" else "x"}))

    assert len(of_lead(database)) == 1
