"""Several requests at once: what is committed together, and when the rest is done."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from queue import SimpleQueue
from threading import Event
from typing import Any

import pytest

from aicmo_dagster.errors import AicmoError
from aicmo_dagster.sources.passages import NotSent, Passage
from aicmo_dagster.stages.harvesting.gate import Gate
from aicmo_dagster.stages.harvesting.in_flight import InFlight

NO_CONNECTION: Any = None


class Numbers:
    """Asks about numbers, and keeps what was answered once its transaction has ended well."""

    def __init__(
        self,
        ready: int = 0,
        *,
        refused: int | None = None,
        broken: int | None = None,
        refusing: int | None = None,
        slow: int | None = None,
    ) -> None:
        self.kept: list[tuple[int, object]] = []
        self.under_way: list[tuple[int, bool]] = []
        self._written: list[tuple[int, object]] = []
        self._refused, self._broken = refused, broken
        self.asked: list[int] = []
        self.kept_back: list[int] = []
        self.now = 0.0
        self._refusing, self._slow = refusing, slow
        self._ready = Event()  # all others
        self._awaited = Event()  # the refusal, or the slow answer, by all others but the first
        self.turns = 0
        self.most_in_doubt = 0
        self._beyond = Event()  # more have left than may be in doubt
        self.flight: InFlight[int, int] = InFlight(
            2,
            ready,
            lambda: self.now,
            transaction=self._transaction,
            start=self._start,
            land=self._land,
            settle=self._settle,
            pause=self._pause,
        )

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        self._written.clear()
        self.turns += 1
        if self.kept_back:
            self._beyond.wait(0.02)  # the store is slow, and whoever may leave has time to
        yield NO_CONNECTION
        self.kept += self._written

    def _start(
        self, connection: Any, items: list[int]
    ) -> list[tuple[int, Callable[[Passage], int]]]:
        if self._refused in items:
            raise AicmoError("no room")
        return [(item, partial(self._answer, item)) for item in items]

    def _answer(self, item: int, passage: Passage) -> int:
        special = {self._refusing, self._slow} - {None}
        if item in special:
            assert self._ready.wait(10)
        elif special and item != 1:
            assert self._awaited.wait(10)
        passage.leave()
        self.asked.append(item)
        self.most_in_doubt = max(self.most_in_doubt, len(self.asked) - len(self.kept))
        if self.most_in_doubt > 4:
            self._beyond.set()
        self.now += 2 * (item == self._slow)
        passage.land(setback=item == self._refusing)
        if item in special:
            self._awaited.set()
        return 10 * item // (item != self._broken)

    def _land(self, connection: Any, landed: list[tuple[int, int | AicmoError]]) -> None:
        kept_back = [item for item, given in landed if isinstance(given, NotSent)]
        self.kept_back += kept_back
        self.flight.queue.extendleft(reversed(kept_back))
        self._written += [one for one in landed if one[0] not in kept_back]

    def _settle(self) -> None:
        if self.turns > 1:
            self._ready.set()
        self.under_way.append((len(self.kept), not self.flight.idle))

    def _pause(self, until: datetime) -> None:
        raise AssertionError("nothing waits")


def test_the_next_is_under_way_while_an_answer_that_is_kept_is_settled() -> None:
    numbers = Numbers()
    numbers.flight.queue.extend([1, 2])
    numbers.flight.run()
    assert numbers.kept == [(1, 10), (2, 20)]
    assert numbers.under_way == [(0, True), (1, True), (2, False)]


def test_what_came_back_is_kept_even_where_another_request_breaks() -> None:
    numbers = Numbers(broken=3)
    numbers.flight.queue.extend([1, 2, 3, 4, 5])
    with pytest.raises(ZeroDivisionError):
        numbers.flight.run()
    assert {1, 2} <= {number for number, _ in numbers.kept}
    assert numbers.flight.idle


def test_what_came_back_is_kept_even_where_the_next_cannot_start() -> None:
    """Both share a transaction, which then comes to nothing: it was paid for all the same."""
    numbers = Numbers(refused=2)
    numbers.flight.queue.extend([1, 2])
    with pytest.raises(AicmoError, match="no room"):
        numbers.flight.run()
    assert numbers.kept == [(1, 10)]


class Interrupted(SimpleQueue[Any]):
    """Somebody cancels the run just when word has come."""

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        word = super().get(block, timeout)
        if self.empty():
            raise KeyboardInterrupt
        return word


def test_what_came_back_is_kept_even_where_word_of_it_is_interrupted() -> None:
    numbers = Numbers()
    numbers.flight._done = Interrupted()
    numbers.flight.queue.extend([1, 2])
    with pytest.raises(KeyboardInterrupt):
        numbers.flight.run()
    assert numbers.kept == [(1, 10)]


class InterruptedGate(Gate):
    """Somebody cancels the run while others leave in the place of what is kept."""

    def settle(self, count: int) -> None:
        super().settle(count)
        if count:
            raise KeyboardInterrupt


def test_what_is_kept_is_not_kept_again_where_letting_others_leave_is_interrupted() -> None:
    numbers = Numbers()
    numbers.flight._gate = InterruptedGate(2, lambda: numbers.now)
    numbers.flight.queue.extend([1, 2])
    with pytest.raises(KeyboardInterrupt):
        numbers.flight.run()
    assert numbers.kept == [(1, 10)]


def test_those_that_stand_ready_leave_without_a_turn_of_their_own() -> None:
    numbers = Numbers(ready=4)
    numbers.flight.queue.extend(range(1, 8))
    numbers.flight.run()
    assert sorted(numbers.asked) == list(range(1, 8))
    assert numbers.turns < 7
    assert not numbers.kept_back


@pytest.mark.parametrize("held_up", [{"refusing": 2}, {"slow": 2}], ids=["refused", "slow"])
def test_those_that_stand_ready_are_kept_back_after_a_setback_or_when_it_is_late(
    held_up: dict[str, int],
) -> None:
    """A refusal may be a limit, or a key that is not known any more.

    And limits of requests count those that stand ready as if they had left at once. When they leave
    after all, no more are in doubt than at other times.
    """
    numbers = Numbers(ready=4, **held_up)
    numbers.flight.queue.extend(range(1, 8))
    numbers.flight.run()
    assert sorted(numbers.kept_back) == [3, 4, 5, 6, 7]
    assert sorted(numbers.asked) == list(range(1, 8))
    assert sorted(number for number, _ in numbers.kept) == list(range(1, 8))
    assert numbers.most_in_doubt <= 4
