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


Start = Callable[[Item], Callable[[], Given] | Later | None]
Land = Callable[[Item, Given | AicmoError], None]


class InFlight(Generic[Item, Given]):
    """A queue of items, each of which is asked about by a request of its own.

    The first goes alone: its answer tells the limits of all others.

    Args:
        width: Requests at once.
        start: Called with an item when there is a place for it; gives its request, or None if
            there is nothing to ask after all.
        land: Called with an item and its answer, or the error that came instead. It may add to
            the queue, or clear it.
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
        """The next of the queue is in flight, unless it is to wait."""
        item = self.queue.popleft()
        request = self._start(item)
        if isinstance(request, Later):
            self.queue.appendleft(item)
            return request
        if request is not None:
            self._flying[pool.submit(request)] = item
        return None

    def _wait(self, later: Later) -> None:
        """What is in flight lands first, so that no answer is lost while nothing happens."""
        if self._flying:
            self._land_some()
        elif later.until is not None:
            self._pause(later.until)

    def _land_some(self) -> None:
        landed, _ = wait(self._flying, return_when=FIRST_COMPLETED)
        for future in [future for future in self._flying if future in landed]:
            item = self._flying.pop(future)
            error = future.exception()
            if error is not None and not isinstance(error, AicmoError):
                raise error
            self._places = self._width
            self._land(item, error if isinstance(error, AicmoError) else future.result())
