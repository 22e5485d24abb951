"""Answers that take long to make, kept until the database changes, and for longer the dearer.

One is made once at a time, however many ask; a stale one is shown while the next is made, unless it
is too old for that. Not here: what the answers are.
"""

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response

from aicmo_dagster.store.changes import Changes

LEAST_SECONDS = 1.0
"""How long an answer is fresh at least."""

TIMES_ITS_COST = 10
"""An answer stays fresh for so many times as long as it took: at most a tenth of a core each."""

STALE = 5
"""An answer may be shown for so many times as long as it is fresh, while the next is made."""

UNCHANGED_SECONDS = 300.0
"""How long an answer is good while nothing is written: some of it depends on the time of day."""

MARK_SECONDS = 0.25
"""How often the database is asked whether anything was written."""

MOST = 5_000
MOST_BYTES = 1 << 26
"""Of all bodies together: who asks may make as many different ones as they like."""

Make = Callable[[], Any]


@dataclass(frozen=True)
class Answer:
    """What was made, when (monotonic seconds), of which database, and how long it is fresh."""

    value: Any
    made_at: float
    mark: object
    fresh_for: float


@dataclass(frozen=True)
class Body:
    """A body with its entity tag."""

    content: bytes
    etag: str

    def response(self, request: Request, media_type: str) -> Response:
        """The body, or 304 where the client has it already."""
        headers = {"ETag": self.etag, "Cache-Control": "private, no-cache", "Vary": "Cookie"}
        known = [tag.strip() for tag in request.headers.get("if-none-match", "").split(",")]
        if self.etag in known or "*" in known:
            return Response(status_code=304, headers=headers)
        return Response(self.content, headers=headers, media_type=media_type)


def body(content: bytes) -> Body:
    """`content`, tagged by what it is."""
    return Body(content, f'"{hashlib.sha256(content).hexdigest()[:32]}"')


class Kept:
    """The answers of one process, by what they answer; close it before the database."""

    def __init__(self, changes: Changes, clock: Callable[[], float] = time.monotonic) -> None:
        self._changes = changes
        self._clock = clock
        self._answers: OrderedDict[Hashable, Answer] = OrderedDict()
        self._size = 0
        self._under_way: dict[Hashable, Future[Answer]] = {}
        self._lock = threading.Lock()
        self._refreshing = ThreadPoolExecutor(1, thread_name_prefix="figures")
        self._mark: object = None
        self._marked_at = float("-inf")

    def stop(self) -> None:
        """Nothing is made any more."""
        self._refreshing.shutdown(wait=True, cancel_futures=True)
        self._changes.close()

    def answer(self, what: Hashable, make: Make) -> Any:
        """The answer to `what`, made by `make` if there is none that is fresh enough."""
        with self._lock:
            known = self._answers.get(what)
        age = self._clock() - known.made_at if known else 0.0
        if known is None or age > max(UNCHANGED_SECONDS, STALE * known.fresh_for):
            return self._made(what, make).value
        if age <= known.fresh_for or (age <= UNCHANGED_SECONDS and self._now() == known.mark):
            return known.value
        if age > STALE * known.fresh_for:
            return self._made(what, make).value
        if what not in self._under_way:
            self._refreshing.submit(self._made, what, make)
        return known.value

    def _now(self) -> object:
        """What stands for the database as it is, or was a moment ago."""
        if self._clock() - self._marked_at > MARK_SECONDS:
            self._mark, self._marked_at = self._changes.mark(), self._clock()
        return self._mark

    def _made(self, what: Hashable, make: Make) -> Answer:
        """The answer made now; whoever asks meanwhile waits for the same."""
        with self._lock:
            waited_for = self._under_way.get(what)
            if waited_for is None:
                mine = self._under_way[what] = Future()
        if waited_for is not None:
            return waited_for.result()
        try:
            mine.set_result(self._keep(what, make))
        except BaseException as error:  # those who wait get what stopped us, whatever it is
            mine.set_exception(error)
        finally:
            with self._lock:
                del self._under_way[what]
        return mine.result()

    def _keep(self, what: Hashable, make: Make) -> Answer:
        mark, begun = self._changes.mark(), self._clock()
        value = make()
        now = self._clock()
        made = Answer(value, now, mark, max(LEAST_SECONDS, TIMES_ITS_COST * (now - begun)))
        with self._lock:
            self._size += _size(value) - _size(getattr(self._answers.get(what), "value", None))
            self._answers[what] = made
            self._answers.move_to_end(what)
            while len(self._answers) > MOST or (self._size > MOST_BYTES and len(self._answers) > 1):
                self._size -= _size(self._answers.popitem(last=False)[1].value)
        return made


def _size(value: Any) -> int:
    return len(value.content) if isinstance(value, Body) else 0


async def kept(request: Request) -> Kept:
    """The kept answers of the application that was asked."""
    found = request.app.state.kept
    assert isinstance(found, Kept)
    return found
