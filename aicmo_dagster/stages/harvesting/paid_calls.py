"""One provider's paid calls for one campaign: never beyond its budget, never twice.

An intent is committed before each call and its outcome after it, together with what was answered
and with further intents. What stands ready is told from what has left by a note (`departures`), so
that a kill leaves no more calls in doubt than are in flight or about to be kept.
Not here: whom to ask and in which order (`enrich`), what an answer looks like (`sources`), or whose
budget it is (`payer`).
"""

import hashlib
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Generic, TypeVar

import sqlalchemy as sa

from aicmo_dagster.errors import AicmoError
from aicmo_dagster.sources.http import OutcomeUnknown, OutOfCredits, RateLimited
from aicmo_dagster.sources.passages import NotSent, Passage
from aicmo_dagster.sources.people import Asked
from aicmo_dagster.stages.harvesting.answers import serve_fresh
from aicmo_dagster.stages.harvesting.in_flight import InFlight, Later
from aicmo_dagster.stages.harvesting.payer import Payer
from aicmo_dagster.store import provider_calls
from aicmo_dagster.store.departures import Departures
from aicmo_dagster.store.provider_answers import Answer
from aicmo_dagster.store.provider_calls import NoCredits

_SETBACKS = 5
"""How often in a row a limit or an empty account is met, by as many as are in flight, before it is
taken to be the end."""

_LOST = 5
"""How many calls in a row may have an outcome that nobody knows before that is taken to be the end:
each of them may have been paid for in vain."""

_TOLD_EVERY = 50
"""Calls after which the log tells how far it has come."""

_log = logging.getLogger(__name__)

Given = TypeVar("Given")


@dataclass(eq=False)
class Batch:
    """Whom one call asks about, by their person key; and the call, once it has begun."""

    people: dict[str, Asked]
    call: int = 0

    @property
    def leads(self) -> dict[str, str]:
        """Lead id by person key."""
        return {person: asked.key for person, asked in self.people.items()}


@dataclass(frozen=True)
class _NotedPassage:
    """The leave of a paid call: that it leaves is noted first."""

    passage: Passage
    departures: Departures
    call: int

    def leave(self) -> None:
        self.passage.leave()
        try:
            self.departures.leave(self.call)
        except AicmoError:
            self.passage.land(setback=True)
            raise

    def land(self, setback: bool) -> None:
        self.passage.land(setback)


class PaidCalls(Generic[Given]):
    """The calls of one kind.

    Args:
        payer: Who pays.
        provider: Who is asked.
        operation: For what.
        endpoint: Whose limits count.
        request: Asks about people; costs a credit for each at most.
        keep: Writes what became of batches by what was answered about each; gives the answers.
        settle: Told of the answers, after they are kept.
    """

    def __init__(
        self,
        payer: Payer,
        provider: str,
        operation: str,
        endpoint: str,
        request: Callable[[list[Asked], Passage], Given],
        keep: Callable[[sa.Connection, Sequence[tuple[Batch, Given]]], list[Answer]],
        settle: Callable[[Collection[Answer]], None] = lambda answers: None,
    ) -> None:
        self._payer, self._providers = payer, payer.providers
        self._provider, self._operation, self._endpoint = provider, operation, endpoint
        self._request, self._keep, self._settle = request, keep, settle
        self._width = getattr(payer.providers.workspace.settings, provider).at_once
        self._flight: InFlight[Batch, Given] = InFlight(
            self._width,
            self._providers.ready(endpoint, self._width),
            self._providers.time.monotonic,
            transaction=partial(self._providers.turn, endpoint, durable=True),
            start=self._start,
            land=self._land,
            settle=self._settle_all,
            pause=self._providers.pause,
        )
        self._setbacks, self._lost, self._landed, self._told = 0, 0, 0, 0
        self._kept: list[Answer] = []
        self._served: list[Answer] = []
        self._error: AicmoError | None = None

    def ask(self, people: Mapping[str, Asked], size: int) -> None:
        """Everyone of `people` is asked about, `size` in a call, while there are credits.

        Whoever there was no credit for is among the payer's `untried` afterwards.

        Raises:
            AicmoError: Why the provider cannot be asked any more; what was answered is kept.
        """
        self._flight.queue.extend(_batches(people, size))
        try:
            self._flight.run()
        except RateLimited as error:
            self._error = error
        if self._error is not None:
            raise self._error

    def _start(
        self, connection: sa.Connection, batches: list[Batch]
    ) -> list[tuple[Batch, Callable[[Passage], Given]]] | Later:
        """The intents to pay, and the requests."""
        begun: list[Batch] = []
        refusal = None
        taken = self._providers.take(connection, self._endpoint, len(batches))
        if not isinstance(taken, int):
            return Later(taken)
        self._served = self._leave_out_known(connection, batches[:taken])
        most = float(self._payer.wanted.max_credits)
        left = provider_calls.credits_left(connection, self._payer.campaign, most)
        for batch in batches[:taken]:
            refusal = self._begin(connection, batch, left)
            if refusal is not None:
                break
            left -= len(batch.people) if batch.call else 0
            begun.append(batch)
        if refusal is not None and not begun and not self._flight.idle:
            return Later()  # the budget is asked again when all outcomes are known
        self._flight.queue.extendleft(reversed(batches[len(begun) :]))
        if refusal is not None and not begun:
            self._spend_the_rest(refusal)
        asked = [batch for batch in begun if batch.call]
        self._payer.departures.begin([batch.call for batch in asked])
        return [
            (batch, partial(self._send, batch.call, list(batch.people.values()))) for batch in asked
        ]

    def _send(self, call: int, people: list[Asked], passage: Passage) -> Given:
        return self._request(people, _NotedPassage(passage, self._payer.departures, call))

    def _spend_the_rest(self, refusal: NoCredits) -> None:
        """The budget is spent to its last credit."""
        batch = self._flight.queue.popleft()
        if refusal.left >= 1:
            self._split(batch, int(refusal.left))
        else:
            self._give_up(batch)

    def _leave_out_known(self, connection: sa.Connection, batches: Sequence[Batch]) -> list[Answer]:
        """People leave their batch whom an open call asks about, or who were answered meanwhile.

        Exact, since the calls begin in the same transaction.
        """
        payer = self._payer
        rest = {person: asked for batch in batches for person, asked in batch.people.items()}
        busy = provider_calls.asked_elsewhere(
            connection,
            rest,
            provider=self._provider,
            campaign=None,  # another run of this one may be under way as well
            since=payer.since,
        )
        served = serve_fresh(connection, payer.campaign, self._provider, rest, payer.since)
        payer.outcomes[f"{self._provider}: asked already, no answer yet"] += len(busy & rest.keys())
        for batch in batches:
            batch.people = {p: a for p, a in batch.people.items() if p in rest and p not in busy}
        return served

    def _begin(self, connection: sa.Connection, batch: Batch, left: float) -> NoCredits | None:
        """The intent to pay, unless there are no credits; its call, unless it was paid before."""
        batch.call = 0
        if not batch.people:
            return None
        payer = self._payer
        digest = hashlib.sha256("".join(sorted(batch.people)).encode()).hexdigest()[:32]
        begun = provider_calls.begin_call(
            connection,
            campaign=payer.campaign,
            provider=self._provider,
            operation=self._operation,
            key=f"{self._provider}/{digest}/{payer.now.isoformat()}",
            people=list(batch.people),
            worker=payer.worker,
            credits_at_most=float(len(batch.people)),
            max_credits=float(payer.wanted.max_credits),
            now=self._providers.time.now(),
            left=left,
        )
        if isinstance(begun, NoCredits):
            return begun
        batch.call = begun or 0
        return None

    def _split(self, batch: Batch, first: int) -> None:
        items = iter(batch.people.items())
        parts = [dict(islice(items, first)), dict(items)]
        self._flight.queue.extendleft(Batch(part) for part in reversed(parts) if part)

    def _give_up(self, *batches: Batch) -> None:
        """Nobody else is asked."""
        for batch in (*batches, *self._flight.queue):
            self._payer.untried.update(asked.key for asked in batch.people.values())
        self._flight.queue.clear()

    def _land(
        self, connection: sa.Connection, landed: list[tuple[Batch, Given | AicmoError]]
    ) -> None:
        kept_back = [batch for batch, given in landed if isinstance(given, NotSent)]
        self._providers.give_back(connection, self._endpoint, len(kept_back))
        for batch in reversed(kept_back):
            self._payer.finish(connection, batch.call, "refused", "never sent", credits=0.0)
            if self._error is None:
                self._flight.queue.appendleft(batch)
        landed = [(batch, given) for batch, given in landed if not isinstance(given, NotSent)]
        answered = [(b, given) for b, given in landed if not isinstance(given, AicmoError)]
        if answered:
            self._setbacks, self._lost = 0, 0
            self._kept = self._keep(connection, answered)
        for batch, given in landed:
            self._providers.heed(connection, self._endpoint, given)
            if isinstance(given, AicmoError):
                self._failed(connection, batch, given)
        self._landed += len(landed)

    def _settle_all(self) -> None:
        """What is known by now is told to whom it concerns."""
        kept, served = self._kept, self._served
        self._kept, self._served = [], []
        self._settle(kept)
        self._payer.serve(self._provider, served)
        self._tell()

    def _failed(self, connection: sa.Connection, batch: Batch, error: AicmoError) -> None:
        if isinstance(error, OutcomeUnknown):
            self._payer.finish(connection, batch.call, "unknown", str(error))
            self._payer.outcomes[f"{self._provider}: outcome unknown"] += len(batch.people)
            self._lost += 1
            if self._lost > _LOST:
                self._end(error)
        else:
            name = type(error).__name__
            self._payer.finish(connection, batch.call, "refused", name, credits=0.0)
            self._refused(batch, error)

    def _refused(self, batch: Batch, error: AicmoError) -> None:
        """A limit is waited for and an account emptied to the last credit; all else is the end."""
        self._setbacks += 1
        goes_on = self._error is None and self._setbacks <= _SETBACKS * self._width
        if goes_on and isinstance(error, RateLimited):
            self._flight.queue.appendleft(batch)
        elif goes_on and isinstance(error, OutOfCredits) and error.left and error.left >= 1:
            self._split(batch, int(error.left))
        elif isinstance(error, OutOfCredits):
            self._error = self._error or error
            self._give_up(batch)
        else:
            self._end(error)

    def _end(self, error: AicmoError) -> None:
        """Nobody else is asked now; a later run asks."""
        self._error = self._error or error
        self._flight.queue.clear()

    def _tell(self) -> None:
        is_over = self._flight.idle and not self._flight.queue
        if self._landed >= self._told + (1 if is_over else _TOLD_EVERY):
            self._told = self._landed
            waiting = len(self._flight.queue)
            _log.info(
                "%s: %s %s: %d calls answered, %d waiting",
                *(self._payer.campaign, self._provider, self._operation, self._landed, waiting),
            )


def _batches(people: Mapping[str, Asked], size: int) -> Iterator[Batch]:
    items = iter(people.items())
    while part := dict(islice(items, size)):
        yield Batch(part)
