"""Several requests at once: they wait in threads, and all else happens in the caller's.

So the store sees one writer, whoever is asked, and what is done with an answer needs no locks. Not
here: what is asked (`search`, `paid_calls`), or how often it may be (`providers`).
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from aicmo_dagster.errors import AicmoError

Item = TypeVar("Item")
Given = TypeVar("Given")


@dataclass(frozen=True)
class Later:
    """Nothing may leave before `until`; without it, before something in flight has landed."""

    until: datetime | None = None


Start = Callable[[list[Item]], list[tuple[Item, Callable[[], Given]]] | Later]
Land = Callable[[list[tuple[Item, Given | AicmoError]]], None]


class InFlight(Generic[Item, Given]):
    """A queue of items, each of which is asked about by a request of its own.

    The first goes alone: its answer tells the limits of all others.

    Args:
        width: Requests at once.
        start: Called with the next items, as many as there are places for; gives the requests of
            those that there is something to ask about. It may put others back into the queue.
        land: Called with all that came back meanwhile: items, each with its answer or the error
            that came instead. It may add to the queue, or clear it.
        pause: Waits until an instant, with nothing in flight; may raise to end it all.
    """

    def __init__(
        self,
        width: int,
        start: Start[Item, Given],
        land: Land[Item, Given],
        pause: Callable[[datetime], None],
    ) -> None:
        self.queue: deque[Item] = deque()
        self._places = 1
        self._width, self._start, self._land, self._pause = width, start, land, pause
        self._flying: dict[Future[Given], Item] = {}

    @property
    def idle(self) -> bool:
        """Whether nothing is in flight."""
        return not self._flying

    def run(self) -> None:
        """The queue is empty and every answer has landed, also where an error ends it."""
        with ThreadPoolExecutor(self._width) as pool:
            try:
                while self.queue or self._flying:
                    if not self.queue or len(self._flying) >= self._places:
                        self._land_some()
                    elif (later := self._launch(pool)) is not None:
                        self._wait(later)
            finally:
                while self._flying:
                    self._land_some()

    def _launch(self, pool: ThreadPoolExecutor) -> Later | None:
        """The next of the queue are in flight, unless they are to wait."""
        places = min(self._places - len(self._flying), len(self.queue))
        items = [self.queue.popleft() for _ in range(places)]
        started = self._start(items)
        if isinstance(started, Later):
            self.queue.extendleft(reversed(items))
            return started
        for item, request in started:
            self._flying[pool.submit(request)] = item
        return None

    def _wait(self, later: Later) -> None:
        """What is in flight lands first, so that no answer is lost while nothing happens."""
        if self._flying:
            self._land_some()
        elif later.until is not None:
            self._pause(later.until)

    def _land_some(self) -> None:
        done, _ = wait(self._flying, return_when=FIRST_COMPLETED)
        landed: list[tuple[Item, Given | AicmoError]] = []
        failures = []
        for future in [future for future in self._flying if future in done]:
            item, error = self._flying.pop(future), future.exception()
            if error is None:
                landed.append((item, future.result()))
            elif isinstance(error, AicmoError):
                landed.append((item, error))
            else:
                failures.append(error)
        self._places = self._width
        self._land(landed)
        if failures:
            raise failures[0]
