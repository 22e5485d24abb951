"""Several requests at once: they wait in threads, and all else happens in the caller's.

So the store sees one writer, whoever is asked, and what is done with an answer needs no locks. What
came back and what leaves next is committed together, and only then the next may leave. Some may
stand ready, committed, beside those that are under way: each leaves as soon as another has come
back, and does not wait for the store. After a setback they are kept back, since it may concern them
as well, and so are those that have stood ready for long.

Not here: what is asked (`search`, `paid_calls`), how often it may be (`providers`), or which of
those that stand ready may leave (`gate`).
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from queue import SimpleQueue
from typing import Generic, TypeVar

import sqlalchemy as sa

from aicmo_dagster.errors import AicmoError
from aicmo_dagster.sources.passages import Passage
from aicmo_dagster.stages.harvesting.gate import Gate, OnePassage
from aicmo_dagster.stages.harvesting.switching import quick_turns

Item = TypeVar("Item")
Given = TypeVar("Given")


@dataclass(frozen=True)
class Later:
    """Nothing may leave before `until`; without it, before something in flight has landed."""

    until: datetime | None = None


Transaction = Callable[[], AbstractContextManager[sa.Connection]]
Start = Callable[[sa.Connection, list[Item]], list[tuple[Item, Callable[[Passage], Given]]] | Later]
Land = Callable[[sa.Connection, list[tuple[Item, Given | AicmoError]]], None]


class InFlight(Generic[Item, Given]):
    """A queue of items, each of which is asked about by a request of its own.

    The first goes alone: its answer tells the limits of all others.

    Args:
        width: Requests at once.
        ready: Requests that stand ready beside them.
        clock: Seconds that never go back.
        transaction: What landing and starting happen in; it ends before the requests leave.
        start: Called with the next items, as many as there are places for; gives the requests of
            those that there is something to ask about. It may put others back into the queue.
        land: Called with all that came back meanwhile: items, each with its answer or the error
            that came instead, `NotSent` if it was kept back. It may add to the queue, or clear it.
        settle: Called after that, with the next requests under way and no transaction open.
        pause: Waits until an instant, with nothing in flight; may raise to end it all.
    """

    def __init__(
        self,
        width: int,
        ready: int,
        clock: Callable[[], float],
        *,
        transaction: Transaction,
        start: Start[Item, Given],
        land: Land[Item, Given],
        settle: Callable[[], None],
        pause: Callable[[datetime], None],
    ) -> None:
        self.queue: deque[Item] = deque()
        self._places = 1
        self._width, self._ready = width, ready
        self._gate = Gate(width, clock)
        self._transaction = transaction
        self._start, self._land, self._settle, self._pause = start, land, settle, pause
        self._flying: dict[Future[Given], tuple[Item, OnePassage]] = {}
        self._done: SimpleQueue[Future[Given]] = SimpleQueue()
        self._landed: list[tuple[Item, Given | AicmoError]] = []
        self._unsettled = 0
        self._failure: BaseException | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing is in flight, nor stands ready."""
        return not self._flying

    def run(self) -> None:
        """The queue is empty and every answer has landed, also where an error ends it."""
        with quick_turns(), ThreadPoolExecutor(self._width + self._ready) as pool:
            try:
                while self._failure is None and (self.queue or self._flying or self._landed):
                    if self._flying and self._is_early:
                        self._await()
                    elif (later := self._turn(pool)) is not None:
                        self._wait(later)
            finally:
                self._land_all()

    @property
    def _is_early(self) -> bool:
        """Whether something is to come back before the next turn."""
        if self._gate.is_shut or not self.queue:
            return self._gate.is_shut or not self._landed
        # Not while enough stand ready: a turn costs much, and little more for each that landed.
        return len(self._flying) > self._places - max(1, self._ready // 2)

    def _turn(self, pool: ThreadPoolExecutor) -> Later | None:
        """What came back has landed and the next are in flight, unless they are to wait."""
        if not self._flying:
            self._gate.is_shut = False
        with self._transaction() as connection:
            if self._landed:
                self._land(connection, self._landed)
            free = self._places - len(self._flying)
            items = [self.queue.popleft() for _ in range(min(free, len(self.queue)))]
            started = self._start(connection, items) if items else []
        self._forget_landed()
        if isinstance(started, Later):
            self.queue.extendleft(reversed(items))
        else:
            for item, request in started:
                self._launch(pool, item, request)
        self._settle()
        return started if isinstance(started, Later) else None

    def _launch(
        self, pool: ThreadPoolExecutor, item: Item, request: Callable[[Passage], Given]
    ) -> None:
        passage = OnePassage(self._gate, self._gate.clock())
        future = pool.submit(request, passage)
        self._flying[future] = item, passage
        future.add_done_callback(self._done.put)

    def _wait(self, later: Later) -> None:
        """What is in flight lands first, so that no answer is lost while nothing happens."""
        if self._flying:
            self._await()
        elif later.until is not None:
            self._pause(later.until)

    def _await(self) -> None:
        """Something has come back, also if an interrupt has lost the word of it."""
        while not (done := [future for future in self._flying if future.done()]):
            self._done.get()
        while not self._done.empty():
            self._done.get()
        for future in done:
            (item, passage), error = self._flying.pop(future), future.exception()
            self._unsettled += passage.has_left
            if error is None:
                self._landed.append((item, future.result()))
            elif isinstance(error, AicmoError):
                self._landed.append((item, error))
            else:
                self._failure = self._failure or error
        self._places = self._width + self._ready

    def _forget_landed(self) -> None:
        """What has landed is in the store."""
        count, self._landed, self._unsettled = self._unsettled, [], 0
        self._gate.settle(count)  # last, since it takes a moment, in which an interrupt may come

    def _land_all(self) -> None:
        """Nothing leaves any more, and nothing that came back is lost."""
        self._gate.is_shut = True
        while self._flying:
            self._await()
        if self._landed:
            with self._transaction() as connection:
                self._land(connection, self._landed)
            self._forget_landed()
            self._settle()
        if self._failure is not None:
            raise self._failure
