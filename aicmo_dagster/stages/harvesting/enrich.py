"""Addresses for leads that have none, and companies' fields: the campaign's waterfall of providers.

Not here: the providers themselves (`sources`), paying them (`paid_calls`, `batches`), or who a lead
is (`domain.intake`).
"""

import logging
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pandas as pd
import pyarrow
import sqlalchemy as sa

from aicmo_dagster.domain.records import text_rows
from aicmo_dagster.domain.sections.sources import Enrich
from aicmo_dagster.errors import AicmoError
from aicmo_dagster.sources.apollo import LARGEST_MATCH, Matched
from aicmo_dagster.sources.people import Asked
from aicmo_dagster.stages.harvesting.answers import (
    Outcome,
    keep_outcomes,
    name_answers,
    serve_fresh,
)
from aicmo_dagster.stages.harvesting.asked import (
    IDENTIFYING,
    Known,
    asked_about,
    identity_of,
    knows_by_id,
)
from aicmo_dagster.stages.harvesting.batches import Batches
from aicmo_dagster.stages.harvesting.companies import ask_companies
from aicmo_dagster.stages.harvesting.doubts import doubts_left, resolve_doubts
from aicmo_dagster.stages.harvesting.paid_calls import Batch, PaidCalls
from aicmo_dagster.stages.harvesting.payer import Payer
from aicmo_dagster.stages.harvesting.providers import Providers, key_of
from aicmo_dagster.store.frames import read_after
from aicmo_dagster.store.provider_answers import Answer

NO_CREDITS = "not_tried: no_credits"

_NAMED_TOGETHER = 100
"""Fewer would cost more, since patterns are read anew each time; more would hold up the requests
that are under way meanwhile."""

_ASKED_BY = ("lead_id", "email", "external_id", "source", "origins", *IDENTIFYING)
"""The columns of a lead that tell whom to ask about it, and how."""

_log = logging.getLogger(__name__)

People = dict[str, Asked]
"""Whom to ask about, by their person key."""


@dataclass
class Enrichment:
    """The waterfall of one campaign in one run.

    Args:
        providers: The clients.
        key: The campaign.
        wanted: Its `enrich` section.
        now: The instant that freshness counts from.
    """

    providers: Providers
    key: str
    wanted: Enrich
    now: datetime
    notes: list[str] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    _answers: dict[tuple[str, str], Answer] = field(default_factory=dict, repr=False)
    _missing: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False)
    _unnamed: list[Answer] = field(default_factory=list, repr=False)
    _ended: set[tuple[str, str]] = field(default_factory=set)
    _has_collected: bool = False

    def __post_init__(self) -> None:
        self._payer = Payer(
            self.providers, self.key, self.wanted, self.now, self.outcomes, self._serve
        )

    def run(self, at_once: int) -> Iterator[pd.DataFrame]:
        """Rows for intake: what the providers answered about leads that lack something.

        Args:
            at_once: How many of the campaign's leads are held at once.
        """
        with self._payer.departures.kept():
            for leads in self._leads(at_once):
                yield _frame(self._asked_for(leads))
        asked = dict.fromkeys([*self.wanted.waterfall, *["apollo"] * self.wanted.companies])
        self.notes += filter(None, (doubts_left(self._payer, provider) for provider in asked))

    def _leads(self, at_once: int) -> Iterator[list[dict[str, Any]]]:
        """The leads that may lack something, in order of their ids; no transaction stays open."""
        wanted = None if self.wanted.companies else _ASKED_BY
        last, read = "", at_once
        while read == at_once:
            with self.providers.workspace.database.read() as connection:
                frame = read_after(connection, "raw_leads", self.key, last, at_once, wanted)
            read = len(frame)
            if read:
                last = frame["lead_id"].iloc[-1]
                yield _plain(frame if self.wanted.companies else frame[frame["email"].isna()])

    def _asked_for(self, leads: Sequence[Known]) -> list[dict[str, Any]]:
        """What the providers answered about `leads`, in rows."""
        self._answers.clear()
        self._missing = {lead["lead_id"]: dict(lead) for lead in leads if lead["email"] is None}
        for provider in self.wanted.waterfall:
            with self._noted(provider, "addresses") as may_ask:
                if may_ask:
                    self._ask_provider(provider)
        self.outcomes["no provider has an address"] += len(self._missing)
        self.outcomes[NO_CREDITS] += len(self._payer.untried & self._missing.keys())
        rows = self._rows()
        if self.wanted.companies:
            with self._noted("apollo", "companies") as may_ask:
                if may_ask:
                    key_of(self.providers.workspace.settings, "apollo")
                    rows += ask_companies(self._payer, self._completed(leads))
        return rows

    @contextmanager
    def _noted(self, provider: str, what: str) -> Iterator[bool]:
        """What ends the asking of one provider does not end that of the others.

        Tells whether it may still be asked: not if that has ended before.
        """
        try:
            yield (provider, what) not in self._ended
        except AicmoError as error:
            self._ended.add((provider, what))
            self.notes.append(f"{provider}: {error}")

    def _ask_provider(self, provider: str) -> None:
        """Everyone that `provider` has an address for is not missing any more."""
        key_of(self.providers.workspace.settings, provider)
        batches = Batches(self._payer, self._settle)
        if provider == "dropcontact" and not self._has_collected:
            batches.collect_earlier()
            self._has_collected = True
        # Those whom the provider told us of first: the others may turn out to be among them.
        for told in (True, False):
            people = self._people(provider, told)
            self._use_fresh(provider, people)
            if not people:
                continue
            resolve_doubts(self._payer, provider)
            _log.info("%s: %s is asked about %d leads", self.key, provider, len(people))
            self._pay(provider, batches, people)
            self._name()
            _log.info("%s: %d leads lack an address", self.key, len(self._missing))

    def _people(self, provider: str, told: bool) -> People:
        """Everyone of the missing whom `provider` can be asked about and has not been yet.

        Either whom it told us of, or the others.
        """
        leads = [one for one in self._missing.values() if knows_by_id(provider, one) is told]
        asked = asked_about(provider, leads)
        identities = [identity_of(person) for person in asked]
        people = self._payer.persons(provider, identities, asked)
        self.outcomes[f"{provider}: nothing to ask by"] += identities.count(None)
        done = {answer.lead_id for answer in self._answers_of(provider)}
        return {key: person for key, person in people.items() if person.key not in done}

    def _use_fresh(self, provider: str, people: People) -> None:
        """Those of `people` that were answered lately, in any campaign, are not asked about."""
        with self.providers.workspace.database.write() as connection:
            served = serve_fresh(connection, self.key, provider, people, self._payer.since)
        self._serve(provider, served)

    def _serve(self, provider: str, served: Collection[Answer]) -> None:
        self.outcomes[f"{provider}: cache hits"] += len(served)
        self._settle(served)

    def _pay(self, provider: str, batches: Batches, people: People) -> None:
        if provider == "dropcontact":
            batches.submit_and_collect(people)
            answered = {answer.lead_id for answer in self._answers_of(provider)}
            # A webhook may have been faster.
            self._use_fresh(provider, {k: p for k, p in people.items() if p.key not in answered})
            return
        apollo = self.providers.apollo
        assert apollo is not None
        calls: PaidCalls[Matched] = PaidCalls(
            *(self._payer, "apollo", "match", "apollo/match"),
            *(apollo.match, self._matched, self._settle),
        )
        calls.ask(people, LARGEST_MATCH)

    def _matched(
        self, connection: sa.Connection, landed: Sequence[tuple[Batch, Matched]]
    ) -> list[Answer]:
        outcomes = {
            batch.call: Outcome(
                self.key, "apollo", batch.leads, matched.answers, matched.credits, self.now
            )
            for batch, matched in landed
        }
        now = self.providers.time.now()
        return keep_outcomes(connection, self.providers.workspace, outcomes, now)

    def _settle(self, answers: Collection[Answer]) -> None:
        """Leads with a usable address are not asked about any more.

        What else was answered about the others helps the next provider to find them.
        """
        self._unnamed += answers
        if len(self._unnamed) >= _NAMED_TOGETHER:
            self._name()
        for answer in answers:
            self._answers[answer.provider, answer.lead_id] = answer
            self.outcomes[f"{answer.provider}: {answer.status}"] += 1
            if answer.usable:
                self._missing.pop(answer.lead_id, None)
            elif lead := self._missing.get(answer.lead_id):
                lead |= {k: v for k, v in answer.answer.items() if k in IDENTIFYING and not lead[k]}

    def _name(self) -> None:
        """Whoever was answered about is found by that in all campaigns."""
        name_answers(self.providers.workspace, self._unnamed)
        self._unnamed.clear()

    def _answers_of(self, provider: str) -> list[Answer]:
        return [answer for answer in self._answers.values() if answer.provider == provider]

    def _completed(self, leads: Sequence[Known]) -> list[dict[str, Any]]:
        """`leads` with what the answers of this run add to them."""
        completed = {lead["lead_id"]: dict(lead) for lead in leads}
        for _, answer in sorted(self._answers.items()):
            lead = completed.get(answer.lead_id, {})
            lead |= {k: v for k, v in answer.answer.items() if lead.get(k) is None}
        return list(completed.values())

    def _rows(self) -> list[dict[str, Any]]:
        """What was answered, in the order of the waterfall, whenever it was."""
        place = {str(provider): n for n, provider in enumerate(self.wanted.waterfall)}
        answers = sorted(self._answers.values(), key=lambda a: (place[a.provider], a.lead_id))
        return [{**a.answer, "lead_id": a.lead_id, "file": a.provider} for a in answers]


def _plain(leads: pd.DataFrame) -> list[dict[str, Any]]:
    """The leads as plain values."""
    return pyarrow.Table.from_pandas(leads, preserve_index=False).to_pylist()


def _frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    # The provider's id is its own; only what a search gave is an identity here.
    return text_rows(rows, custom="{}").drop(columns="external_id", errors="ignore")
