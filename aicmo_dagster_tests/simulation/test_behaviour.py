from collections import Counter
from dataclasses import fields
from datetime import timedelta

import pytest

from aicmo_dagster.errors import BadInput
from aicmo_dagster.mail.inbound.recognition import recognise
from aicmo_dagster.simulation.answers import message
from aicmo_dagster.simulation.behaviour import (
    SOURCES,
    Behaviour,
    Letter,
    Reaction,
    lift,
    reactions,
    with_rates,
)
from aicmo_dagster_tests.samples import NOON

CALM = Behaviour(
    **dict.fromkeys(("opens", "clicks", "replies", "away", "unsubscribes", "complains"), 0.0),
    **dict.fromkeys(("dead", "scanners", "proxies", "greylists"), 0.0),
)


def letter(number: int = 0, **changes: object) -> Letter:
    told = {
        "message_id": f"<{number:032x}@acme.example>",
        "recipient": f"p{number}@firm{number}.example",
        "sender": "ida@acme.example",
        "arrived_at": NOON,
        "number": 0,
        "pixel": "pixel",
        "links": ("one", "two", "three"),
        "unsubscribe": "leave",
    }
    return Letter(**{**told, **changes})  # type: ignore[arg-type]


def kinds(behaviour: Behaviour, count: int = 2000, fit: float = 0.5) -> Counter[str]:
    found = (reactions(behaviour, 1, letter(number), fit) for number in range(count))
    return Counter(each.kind for some in found for each in some)


def test_the_same_letter_always_meets_the_same_reactions() -> None:
    lively = Behaviour(replies=0.9, clicks=0.9, opens=0.9)
    assert reactions(lively, 1, letter(), 0.5) == reactions(lively, 1, letter(), 0.5)
    others = [reactions(lively, seed, letter(), 0.5) for seed in range(9)]
    assert len({str(each) for each in others}) > 1


def test_rates_are_those_that_were_asked_for_on_average() -> None:
    told = kinds(Behaviour(**{**vars(CALM), "replies": 0.1, "away": 0.2, "pull": 0.0}))
    assert told["reply"] + told["objection"] == pytest.approx(200, abs=45)
    assert told["out_of_office"] == pytest.approx(400, abs=60)
    assert set(told) == {"reply", "objection", "out_of_office"}


def test_a_better_fit_replies_more_often_and_the_average_stays() -> None:
    eager = Behaviour(**{**vars(CALM), "replies": 0.05})
    assert kinds(eager, fit=1.0)["reply"] > 3 * kinds(eager, fit=0.0)["reply"]
    assert sum(lift(eager, n / 1000) for n in range(1000)) / 1000 == pytest.approx(1, abs=0.01)


def test_a_scanner_follows_every_link_within_two_seconds() -> None:
    scanned = reactions(Behaviour(**{**vars(CALM), "scanners": 1.0}), 1, letter(), 0.5)
    clicks = [each for each in scanned if each.kind == "click"]
    assert {each.token for each in clicks} == {"one", "two", "three"}
    assert max(c.at for c in clicks) - min(c.at for c in clicks) <= timedelta(seconds=2)


def test_nothing_can_be_clicked_or_seen_in_a_message_that_asks_for_none() -> None:
    plain = letter(pixel="", links=())
    eager = Behaviour(**{**vars(CALM), "clicks": 1.0, "opens": 1.0, "scanners": 1.0})
    assert reactions(eager, 1, plain, 1.0) == []


def test_a_dead_address_only_bounces() -> None:
    assert kinds(Behaviour(dead=1.0, replies=1.0), 20) == {"bounce": 20}


@pytest.mark.parametrize(
    ("kind", "read_as"),
    [
        *(("reply", "reply"), ("objection", "objection"), ("bounce", "bounce")),
        *(("complaint", "complaint"), ("out_of_office", "out_of_office")),
    ],
)
def test_messages_that_come_back_are_read_as_what_they_are(kind: str, read_as: str) -> None:
    back = NOON + timedelta(days=5) if kind == "out_of_office" else None
    written = message(Reaction(NOON, kind, "key", letter(), returns_on=back))  # type: ignore[arg-type]
    found = recognise(written, NOON.date())
    assert found.kind == read_as
    assert letter().message_id in found.traces.message_ids
    assert found.returns_on == (back.date() if back else None)


def test_every_default_says_where_it_is_from() -> None:
    assert set(SOURCES) == {each.name for each in fields(Behaviour)}


@pytest.mark.parametrize(("name", "value"), [("replies", 1.5), ("pull", -1.0), ("reply", 0.1)])
def test_a_rate_that_is_none_is_refused(name: str, value: float) -> None:
    with pytest.raises(BadInput, match=name):
        with_rates(Behaviour(), {name: value})
