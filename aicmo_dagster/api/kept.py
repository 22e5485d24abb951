"""Answers that take long to make, kept for a time that grows with what they cost.

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

from fastapi import Request, Response

LEAST_SECONDS = 1.0
"""How long an answer is fresh at least."""

TIMES_ITS_COST = 20
"""An answer stays fresh for so many times as long as it took: making it takes 5 % of a core."""

STALE = 5
"""An answer may be shown for so many times as long as it is fresh, while the next is made."""

MOST = 4_000

Make = Callable[[], bytes]


@dataclass(frozen=True)
class Answer:
    """A body with its entity tag, when it was made (monotonic seconds), how long it is fresh."""

    body: bytes
    etag: str
    made_at: float
    fresh_for: float

    def response(self, request: Request, media_type: str) -> Response:
        """The body, or 304 where the client has it already."""
        headers = {"ETag": self.etag, "Cache-Control": "private, no-cache", "Vary": "Cookie"}
        known = [tag.strip() for tag in request.headers.get("if-none-match", "").split(",")]
        if self.etag in known or "*" in known:
            return Response(status_code=304, headers=headers)
        return Response(self.body, headers=headers, media_type=media_type)


class Kept:
    """The answers of one process, by what they answer."""

    def __init__(self) -> None:
        self._answers: OrderedDict[Hashable, Answer] = OrderedDict()
        self._under_way: dict[Hashable, Future[Answer]] = {}
        self._lock = threading.Lock()
        self._refreshing = ThreadPoolExecutor(1, thread_name_prefix="figures")

    def stop(self) -> None:
        """Nothing is made any more."""
        self._refreshing.shutdown(wait=True, cancel_futures=True)

    def answer(self, what: Hashable, make: Make) -> Answer:
        """The answer to `what`, made by `make` if there is none that is fresh enough."""
        with self._lock:
            known = self._answers.get(what)
        if known is None or (age := time.monotonic() - known.made_at) > STALE * known.fresh_for:
            return self._made(what, make)
        if age > known.fresh_for and what not in self._under_way:
            self._refreshing.submit(self._made, what, make)
        return known

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
        except BaseException as error:
            mine.set_exception(error)
        finally:
            with self._lock:
                del self._under_way[what]
        return mine.result()

    def _keep(self, what: Hashable, make: Make) -> Answer:
        begun = time.monotonic()
        body = make()
        now = time.monotonic()
        etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        made = Answer(body, etag, now, max(LEAST_SECONDS, TIMES_ITS_COST * (now - begun)))
        with self._lock:
            self._answers[what] = made
            self._answers.move_to_end(what)
            while len(self._answers) > MOST:
                self._answers.popitem(last=False)
        return made


def kept(request: Request) -> Kept:
    """The kept answers of the application that was asked."""
    found = request.app.state.kept
    assert isinstance(found, Kept)
    return found
