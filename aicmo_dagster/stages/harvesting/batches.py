"""Batches at Dropcontact, which are submitted, remembered and collected: now, later, or on a call.

A batch that was submitted is paid for, so that whatever goes wrong afterwards leaves it pending.
Not here: whom to ask (`enrich`), or submitting within a budget (`paid_calls`).
"""

import json
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import chain

import sqlalchemy as sa

from aicmo_dagster.errors import AicmoError
from aicmo_dagster.sources.dropcontact import LARGEST_BATCH, Collected, Pending, Submitted
from aicmo_dagster.sources.http import Refused
from aicmo_dagster.sources.people import NOT_FOUND, Answered, Asked, unanswered
from aicmo_dagster.stages.harvesting.answers import Outcome, keep_outcomes
from aicmo_dagster.stages.harvesting.in_flight import InFlight
from aicmo_dagster.stages.harvesting.paid_calls import Batch, PaidCalls
from aicmo_dagster.stages.harvesting.payer import Payer
from aicmo_dagster.stages.harvesting.providers import free_requests
from aicmo_dagster.store.provider_answers import Answer, put_answers
from aicmo_dagster.store.provider_calls import OpenCall

POLLS = 20
"""How often one run asks for a batch that is not ready; a later run collects it."""

KEPT = timedelta(days=30)
"""How long Dropcontact keeps what it found."""

_PROVIDER = "dropcontact"
_log = logging.getLogger(__name__)


@dataclass
class Batches:
    """A campaign's batches.

    Args:
        payer: Who pays.
        settle: Told what was answered.
    """

    payer: Payer
    settle: Callable[[Collection[Answer]], None]

    def collect_earlier(self) -> None:
        """What earlier runs submitted and did not collect is asked for, once."""
        self._poll(self._pending())

    def submit_and_collect(self, people: dict[str, Asked]) -> None:
        """Everyone of `people` is submitted, and collected if it is ready in time."""
        client = self.payer.providers.dropcontact
        assert client is not None
        calls = PaidCalls(
            *(self.payer, _PROVIDER, "submit", _PROVIDER),
            *(client.submit, self._remember, self.settle),
        )
        known = {call.call_id for call in self._pending()}
        try:
            calls.ask(people, LARGEST_BATCH)
        finally:  # whatever ends it, those that were submitted are paid for
            self._collect_new(known)

    def _remember(
        self, connection: sa.Connection, landed: Sequence[tuple[Batch, Submitted]]
    ) -> list[Answer]:
        kept = [self._remember_one(connection, batch, submitted) for batch, submitted in landed]
        return list(chain.from_iterable(kept))

    def _remember_one(
        self, connection: sa.Connection, batch: Batch, submitted: Submitted
    ) -> list[Answer]:
        """How to collect the batch is kept; who was refused is known."""
        leads = batch.leads
        workspace = self.payer.providers.workspace
        refused = Outcome(
            self.payer.campaign, _PROVIDER, leads, submitted.refused, 0.0, self.payer.now
        )
        if submitted.request_id is None:
            now = self.payer.providers.time.now()
            return keep_outcomes(connection, workspace, {batch.call: refused}, now)
        # Ids only; a later run tells by them whom the answers are for.
        awaited = {person: lead for person, lead in leads.items() if lead in submitted.keys}
        request_id, detail = submitted.request_id, json.dumps(awaited)
        self.payer.finish(connection, batch.call, "pending", detail, request_id=request_id)
        put_answers(connection, refused.answers)
        return refused.answers

    def _collect_new(self, known: Collection[int]) -> None:
        """All batches are asked for until none of those that are new is pending."""
        for _ in range(POLLS):
            new = [call for call in self._pending() if call.call_id not in known]
            wait = self._poll(new)
            if wait is None:
                return
            _log.info(
                "%s: dropcontact: up to %d batches are not ready; asking again in %.0f s",
                *(self.payer.campaign, len(new), wait),
            )
            self.payer.providers.time.sleep(wait)
        people = sum(len(call.people) for call in self._pending())
        self.payer.outcomes["dropcontact: not ready, collected by a later run"] += people

    def _pending(self) -> list[OpenCall]:
        return [call for call in self.payer.open_calls(_PROVIDER) if call.state == "pending"]

    def _poll(self, calls: Collection[OpenCall]) -> float | None:
        """Each batch is asked for once, several at a time.

        Returns:
            After how many seconds to ask again; None if nothing is waited for any more.
        """
        waits: list[float] = []
        errors: list[AicmoError] = []

        kept: list[Answer] = []

        def land(
            connection: sa.Connection, call: OpenCall, given: Collected | Pending | AicmoError
        ) -> None:
            if isinstance(given, Collected):
                kept.extend(self._collected(connection, call, given))
            elif isinstance(given, AicmoError):
                self._failed(connection, call, given, errors)
            else:
                waits.extend(self._pended(connection, call, given))

        def settle() -> None:
            self.settle(kept)
            kept.clear()

        providers = self.payer.providers
        width = providers.workspace.settings.dropcontact.at_once
        client = providers.dropcontact
        assert client is not None
        flight: InFlight[OpenCall, Collected | Pending] = free_requests(
            providers,
            _PROVIDER,
            width,
            lambda call: partial(client.collect, str(call.request_id)),
            land,
            settle,
        )
        flight.queue.extend(calls)
        flight.run()
        if errors:
            raise errors[0]
        return min(waits, default=None)

    def _collected(
        self, connection: sa.Connection, call: OpenCall, given: Collected
    ) -> list[Answer]:
        """The answers of a batch, which are kept."""
        providers = self.payer.providers
        outcome = collected_outcome(self.payer.campaign, call, given, self.payer.now)
        outcomes, now = {call.call_id: outcome}, providers.time.now()
        return keep_outcomes(connection, providers.workspace, outcomes, now)

    def _pended(self, connection: sa.Connection, call: OpenCall, given: Pending) -> list[float]:
        """The seconds to wait for a batch that is not ready, unless it is too old."""
        if call.started_at < self.payer.providers.time.now() - KEPT:
            self._lose(connection, call, "never became ready while Dropcontact kept it")
            return []
        return [given.seconds]

    def _failed(
        self,
        connection: sa.Connection,
        call: OpenCall,
        error: AicmoError,
        errors: list[AicmoError],
    ) -> None:
        """Whatever keeps us from collecting, a batch stays pending; one that is gone is lost."""
        if isinstance(error, Refused):
            self._lose(connection, call, str(error))
        else:
            errors.append(error)

    def _lose(self, connection: sa.Connection, call: OpenCall, reason: str) -> None:
        """Nobody can tell any more what the batch found, or what it cost."""
        self.payer.finish(connection, call.call_id, "unknown", reason)
        self.payer.outcomes["dropcontact: outcome unknown"] += len(call.people)


def collected_outcome(
    campaign: str, call: OpenCall, collected: Collected, answered_at: datetime
) -> Outcome:
    """What a batch gave: whoever no row is about has no address, and the credit is given back."""
    leads: dict[str, str] = json.loads(call.detail)
    missed = {lead: unanswered(NOT_FOUND) for lead in leads.values()}
    given: dict[str, Answered] = {**missed, **collected.answers}
    paid = sum(answer.usable or answer.doubtful is not None for answer in given.values())
    return Outcome(campaign, _PROVIDER, leads, given, float(paid), answered_at)
