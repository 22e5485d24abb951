"""Kept answers: made once for many, shown while they are made anew, and 304 to who has them."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from aicmo_dagster.api.kept import Kept


@pytest.fixture
def kept() -> Iterator[Kept]:
    made = Kept()
    yield made
    made.stop()


def test_one_answer_is_made_however_many_ask(kept: Kept) -> None:
    begun, go, calls = threading.Event(), threading.Event(), []

    def make() -> bytes:
        calls.append(1)
        begun.set()
        go.wait(10)
        return b"figures"

    with ThreadPoolExecutor(8) as asking:
        first = asking.submit(kept.answer, "a", make)
        begun.wait(10)
        others = [asking.submit(kept.answer, "a", make) for _ in range(7)]
        go.set()
        bodies = {each.result().body for each in (first, *others)}

    assert bodies == {b"figures"}
    assert len(calls) == 1
    assert kept.answer("a", make).body == b"figures"
    assert len(calls) == 1
    assert kept.answer("b", lambda: b"others").body == b"others"


def test_what_cannot_be_made_fails_for_who_asks_and_is_tried_again(kept: Kept) -> None:
    def fail() -> bytes:
        raise LookupError("no such campaign")

    for _ in range(2):
        with pytest.raises(LookupError):
            kept.answer("a", fail)

    assert kept.answer("a", lambda: b"there").body == b"there"


def test_a_dear_answer_is_fresh_for_longer_and_its_tag_tells_its_content(kept: Kept) -> None:
    cheap = kept.answer("cheap", lambda: b"same")
    dear = kept.answer("dear", lambda: b"same" if not threading.Event().wait(0.2) else b"")

    assert dear.fresh_for > 2 * cheap.fresh_for
    assert dear.etag == cheap.etag
    assert kept.answer("other", lambda: b"else").etag != dear.etag
