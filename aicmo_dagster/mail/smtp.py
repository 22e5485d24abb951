"""Handing messages to an SMTP server over several connections at once, in one thread.

Each connection carries one message at a time, and its `attempting` mark is committed before the
message leaves: when this process is killed, at most one message a connection is in doubt. Marks of
messages that are ready at the same time share a transaction. Not here: the exchange itself
(`conversations`), what a reply means (`replies`), or what follows (`store.outcomes`).
"""

import selectors
import time
from collections import deque
from collections.abc import Iterable, Iterator

from aicmo_dagster.errors import AicmoError
from aicmo_dagster.mail.lines import Line
from aicmo_dagster.mail.parcels import Book, Parcel, until_failure
from aicmo_dagster.mail.replies import Delivery
from aicmo_dagster.mail.servers import STANDARD, Timeouts, open_session, read_smtp_url

_LINGER = 0.05
"""Seconds that an outcome may wait for company before it is recorded."""


class Smtp:
    """Connections to an SMTP server, kept from message to message; for one thread.

    Args:
        url: As in AICMO_SMTP_URL.
        timeouts: How long each phase may take.
    """

    def __init__(self, url: str, timeouts: Timeouts = STANDARD) -> None:
        self._server = read_smtp_url(url)
        self.name = f"smtp {self._server.host}"
        self._timeouts = timeouts
        self._selector = selectors.DefaultSelector()
        self._lines: list[Line] = []
        self._settled: list[tuple[Parcel, Delivery]] = []
        self._again: deque[Parcel] = deque()
        self._tried_again: set[str] = set()
        self._full = False

    def deliver(self, parcels: Iterable[Parcel], book: Book) -> None:
        """Every parcel is handed over if `book` allows it, and what came of it is in `book`.

        A parcel is asked for only when a connection is free to take it, or will be when the server
        has taken the message that is about to leave: where it takes that, the next is announced
        behind it. One that a connection failed to take after it had served others is tried once on
        another.

        Raises:
            AicmoError: If the server cannot be reached or does not let us in.
            Exception: What `parcels` raises, once what is under way has come to its end.
        """
        failures: list[Exception] = []
        queue = until_failure(parcels, failures)
        try:
            while self._assign(queue, book):
                # What has arrived by now comes first, so that more marks share a transaction.
                if not self._take_in(0) and not self._let_go(queue, book):
                    self._wait(book)
            self._record(book)
        except AicmoError:
            try:
                self._record(book)
            finally:
                self._abandon()
            raise
        except BaseException:  # an interrupt too must not leave half a message to be gone on with
            self._abandon()
            raise
        if failures:
            raise failures[0]

    def was_delivered(self, message_id: str) -> None:
        """Nothing: SMTP has no way to ask."""
        return

    def close(self) -> None:
        """The connections are ended politely, if there are any."""
        for line in list(self._lines):
            self._forget(line)
            line.quit()

    def _assign(self, queue: Iterator[Parcel], book: Book) -> bool:
        """Parcels are under way on all connections there may be; says whether any is.

        What was refused is recorded first, since the next parcel may be spared for it.
        """
        self._tend()
        if any(delivery.state != "accepted" for _, delivery in self._settled):
            self._record(book)
        idle = [line for line in self._lines if line.finished()]
        while idle or (len(self._lines) < self._server.connections and not self._full):
            parcel = self._again.popleft() if self._again else next(queue, None)
            if parcel is None:
                break
            line = idle.pop() if idle else self._open(parcel)
            if line is not None:
                self._begin(line, parcel)
        return any(not line.finished() for line in self._lines) or bool(self._again)

    def _tend(self) -> None:
        """Connections that ended, or have carried enough, are gone, and what they carried noted."""
        now = time.monotonic()
        for line in list(self._lines):
            if line.ended is None and line.deadline < now:
                line.ended = "timed out"
            while line.conversation is not None and (line.finished() or line.ended is not None):
                self._conclude(line)
            if line.ended is not None or line.carried >= self._server.messages:
                if line.finished():
                    self._forget(line)
                    line.quit()
                elif line.ended is not None:
                    self._forget(line)
                    line.close()

    def _conclude(self, line: Line) -> None:
        """What came of the line's parcel is to be recorded, or it is to be tried again."""
        conversation = line.conversation
        assert conversation is not None
        if line.finished() and conversation.delivery is not None:
            delivery = conversation.delivery
            if not conversation.reusable:
                line.ended = line.ended or "closed by us"
        else:
            delivery = conversation.lost(line.ended or "closed by us")
            if conversation.leaving and line.leaving and conversation.delivery is None:
                # The final dot has not left, so that no server can have accepted the message.
                delivery = Delivery(
                    "planned", f"the connection failed before the end: {line.ended}"
                )
        parcel = conversation.parcel
        stale = line.carried > 0 and delivery.state == "planned" and not conversation.leaving
        if stale and parcel.message_id not in self._tried_again:
            self._tried_again.add(parcel.message_id)
            self._again.append(parcel)
        else:
            self._settled.append((parcel, delivery))
        line.carried += 1
        line.proceed()
        self._watch(line)

    def _open(self, parcel: Parcel) -> Line | None:
        """One connection more; none if the server wants no more, and `parcel` must wait."""
        try:
            line = Line(open_session(self._server, self._timeouts), self._timeouts)
        except AicmoError:
            if not self._lines:
                raise
            self._full = True
            self._again.appendleft(parcel)
            return None
        self._lines.append(line)
        self._selector.register(line.socket, selectors.EVENT_READ, line)
        return line

    def _begin(self, line: Line, parcel: Parcel) -> None:
        line.begin(parcel)
        self._watch(line)

    def _let_go(self, queue: Iterator[Parcel], book: Book) -> bool:
        """Messages that only wait for leave go, their attempts being recorded; any did?

        What follows them is known before: nothing stands between the record and the leaving.
        """
        ready = [line for line in self._lines if line.awaits_leave and line.ended is None]
        if not ready:
            return False
        behind = [(line, self._following(line, queue)) for line in ready]
        allowed = self._record(book, ready)
        for line, following in behind:
            conversation = line.conversation
            assert conversation is not None
            if conversation.parcel.message_id in allowed:
                line.allow(following)
                self._watch(line)
            else:  # the server waits for a message, and must not take the end of one for it
                self._forget(line)
                line.close()
                self._again.extendleft([following] if following else ())
        return True

    def _following(self, line: Line, queue: Iterator[Parcel]) -> Parcel | None:
        """The parcel after the one that is about to leave, if the connection may carry both."""
        if not line.pipelines or line.carried + 2 > self._server.messages:
            return None
        return self._again.popleft() if self._again else next(queue, None)

    def _record(self, book: Book, ready: Iterable[Line] = ()) -> set[str]:
        attempts = [line.conversation.parcel for line in ready if line.conversation]
        if not self._settled and not attempts:
            return set()
        allowed = book.write(self._settled, attempts)
        self._settled = []  # not before: what the book cannot take now it is told once more
        return allowed

    def _wait(self, book: Book) -> None:
        """Until something arrives, leaves or takes too long."""
        pending = [line.deadline for line in self._lines]
        if not pending:
            return
        longest = max(min(pending) - time.monotonic(), 0)
        lingering = min(longest, _LINGER) if self._settled else longest
        if not self._take_in(None if lingering == float("inf") else lingering) and self._settled:
            self._record(book)

    def _take_in(self, seconds: float | None) -> bool:
        """What arrives within `seconds` is taken in, and what can leave leaves; was there any?"""
        events = self._selector.select(seconds)
        for key, event in events:
            line: Line = key.data
            if event & selectors.EVENT_WRITE:
                line.send()
            if event & selectors.EVENT_READ:
                line.receive()
            self._watch(line)
        return bool(events)

    def _watch(self, line: Line) -> None:
        """The line is watched for what it waits for."""
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if line.sending else 0)
        if line.watched != wanted:
            line.watched = wanted
            self._selector.modify(line.socket, wanted, line)

    def _forget(self, line: Line) -> None:
        self._lines.remove(line)
        self._selector.unregister(line.socket)
        self._full = False

    def _abandon(self) -> None:
        """Nothing more is said to anybody, no dot can leave by mistake, nothing is left over."""
        self._settled, self._again = [], deque()
        for line in list(self._lines):
            self._forget(line)
            line.close()
