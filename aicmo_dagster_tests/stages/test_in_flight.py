"""Several requests at once: what is committed together, and when the rest is done."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any

import pytest

from aicmo_dagster.errors import AicmoError
from aicmo_dagster.stages.in_flight import InFlight

NO_CONNECTION: Any = None


class Numbers:
    """Asks about numbers, and keeps what was answered once its transaction has ended well."""

    def __init__(self, *, refused: int | None = None, broken: int | None = None) -> None:
        self.kept: list[tuple[int, object]] = []
        self.under_way: list[tuple[int, bool]] = []
        self._written: list[tuple[int, object]] = []
        self._refused, self._broken = refused, broken
        self.flight: InFlight[int, int] = InFlight(
            2, self._transaction, self._start, self._land, self._settle, self._pause
        )

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        self._written.clear()
        yield NO_CONNECTION
        self.kept += self._written

    def _start(self, connection: Any, items: list[int]) -> list[tuple[int, Callable[[], int]]]:
        if self._refused in items:
            raise AicmoError("no room")
        return [(item, partial(self._answer, item)) for item in items]

    def _answer(self, item: int) -> int:
        return 10 * item // (item != self._broken)

    def _land(self, connection: Any, landed: list[tuple[int, int | AicmoError]]) -> None:
        self._written += landed

    def _settle(self) -> None:
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
