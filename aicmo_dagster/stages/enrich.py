"""Addresses for leads that have none: the campaign's waterfall of providers, within its budget.

What is paid for is paid for once: an intent is committed before each call and its outcome after it,
and an answer younger than the campaign's `fresh_days` serves every campaign.

Not here: the providers themselves (`sources`), or who a lead is (`domain.intake`).
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

import pandas as pd
import pyarrow
import sqlalchemy as sa

from aicmo_dagster.domain import normalise
from aicmo_dagster.domain.campaigns import Enrich
from aicmo_dagster.domain.tokens import address_key, normal_address, person_key
from aicmo_dagster.errors import AicmoError
from aicmo_dagster.sources.apollo import LARGEST_MATCH
from aicmo_dagster.sources.dropcontact import LARGEST_BATCH, Collected
from aicmo_dagster.sources.http import OutcomeUnknown
from aicmo_dagster.sources.people import DO_NOT_CONTACT, NOT_ASKED, Answered, Asked
from aicmo_dagster.stages.providers import Providers, key_of
from aicmo_dagster.store import provider_calls
from aicmo_dagster.store.frames import read_frame
from aicmo_dagster.store.provider_answers import Answer, fresh_answers, put_answers
from aicmo_dagster.store.suppressions import suppress
from aicmo_dagster.store.workers import has_ended, this_worker

TEXT = pd.ArrowDtype(pyarrow.string())
BATCHES = {"apollo": LARGEST_MATCH, "dropcontact": LARGEST_BATCH}
POLLS = 20
"""How often one run asks for a batch that is not ready; a later run collects it."""

IDENTIFYING = ("linkedin_url", "first_name", "last_name", "company", "domain")
"""The fields that a provider may find somebody by."""

NO_CREDITS = "not_tried: no_credits"


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
    worker: str = field(default_factory=this_worker)
    outcomes: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)

    def run(self) -> pd.DataFrame:
        """Rows for intake: what the providers answered about leads without an address."""
        with self.providers.workspace.database.read() as connection:
            leads = read_frame(connection, "raw_leads", self.key)
        missing = {row["lead_id"]: row for row in _without_address(leads)}
        for provider in self.wanted.waterfall:
            try:
                self._ask_provider(provider, missing)
            except AicmoError as error:
                self.notes.append(f"{provider}: {error}")
        self.outcomes["no provider has an address"] += len(missing)
        return self._rows()

    def _ask_provider(self, provider: str, missing: dict[str, dict[str, Any]]) -> None:
        """Everyone of `missing` that `provider` has an address for leaves it."""
        key_of(self.providers.workspace.settings, provider)
        self._collect_pending(provider, missing)
        people = {}
        for lead in missing.values():
            asked = _asked(provider, lead)
            if identity := _identity(asked):
                people[self._person(provider, identity)] = asked
            else:
                self.outcomes[f"{provider}: nothing to ask by"] += 1
        self._use_fresh(provider, people, missing)
        for batch in _batches(people, BATCHES[provider]):
            if not self._ask_batch(provider, batch, missing):
                self.outcomes[NO_CREDITS] += len(missing)
                break

    def _person(self, provider: str, identity: str) -> str:
        return person_key(self.providers.workspace.settings.secret_key(), provider, identity)

    def _use_fresh(
        self, provider: str, people: dict[str, Asked], missing: dict[str, dict[str, Any]]
    ) -> None:
        """Those of `people` that were answered lately, in any campaign, are not asked about."""
        since = self.now - timedelta(days=self.wanted.fresh_days)
        with self.providers.workspace.database.write() as connection:
            known = fresh_answers(connection, people, provider=provider, since=since)
            served = [
                replace(answer, campaign=self.key, lead_id=people.pop(person).key, cached=True)
                for person, answer in known.items()
            ]
            put_answers(connection, served)
        self.outcomes[f"{provider}: cache hits"] += len(served)
        self._settle(served, missing)

    def _ask_batch(
        self, provider: str, batch: dict[str, Asked], missing: dict[str, dict[str, Any]]
    ) -> bool:
        """Asks about `batch`, each person once over all campaigns; false if no credit is left."""
        begun = self._begin(provider, batch)
        if isinstance(begun, provider_calls.NoCredits):
            if begun.left < 1:
                return False
            fewer = dict(islice(batch.items(), int(begun.left)))
            self._ask_batch(provider, fewer, missing)
            return False
        if begun is None:
            return True
        try:
            self._pay(provider, begun, batch, missing)
        except OutcomeUnknown as error:
            self._finish(begun, state="unknown", detail=str(error))
            self.outcomes[f"{provider}: outcome unknown"] += len(batch)
        except AicmoError as error:
            self._finish(begun, state="refused", credits=0.0, detail=type(error).__name__)
            raise
        return True

    def _begin(
        self, provider: str, batch: dict[str, Asked]
    ) -> int | provider_calls.NoCredits | None:
        """The intent to pay, committed; people whom an open call asks about leave `batch`."""
        database = self.providers.workspace.database
        since = self.now - timedelta(days=self.wanted.fresh_days)
        with database.write(durable=True) as connection:
            busy = provider_calls.asked_elsewhere(
                connection, batch, provider=provider, campaign=self.key, since=since
            )
            busy |= self._open_people(connection, provider)
            for person in busy.intersection(batch):
                del batch[person]
                self.outcomes[f"{provider}: asked already, no answer yet"] += 1
            if not batch:
                return None
            digest = hashlib.sha256("".join(sorted(batch)).encode()).hexdigest()[:32]
            return provider_calls.begin_call(
                connection,
                campaign=self.key,
                provider=provider,
                operation="enrich",
                key=f"{provider}/{digest}/{self.now.isoformat()}",
                people=list(batch),
                worker=self.worker,
                credits_at_most=float(len(batch)),
                max_credits=float(self.wanted.max_credits),
                now=self.now,
            )

    def _open_people(self, connection: sa.Connection, provider: str) -> set[str]:
        calls = provider_calls.open_calls(
            connection, self.key, provider, has_ended=has_ended, now=self.now
        )
        return {person for call in calls for person in call.people}

    def _pay(
        self,
        provider: str,
        call: int,
        batch: dict[str, Asked],
        missing: dict[str, dict[str, Any]],
    ) -> None:
        asked = list(batch.values())
        key = key_of(self.providers.workspace.settings, provider)
        if provider == "apollo":
            apollo = self.providers.apollo
            assert apollo is not None
            matched = self.providers.within_limits("apollo/match", key, lambda: apollo.match(asked))
            self._store(provider, call, batch, matched.answers, matched.credits, missing)
            return
        dropcontact = self.providers.dropcontact
        assert dropcontact is not None
        submitted = self.providers.within_limits(
            "dropcontact/submit", key, lambda: dropcontact.submit(asked)
        )
        if submitted.request_id is None:
            self._store(provider, call, batch, submitted.refused, 0.0, missing)
            return
        # Ids only; a later run tells by them whom the answers are for.
        people = {person: asked.key for person, asked in batch.items()}
        request_id, detail = submitted.request_id, json.dumps(people)
        self._finish(call, state="pending", request_id=request_id, detail=detail)
        self._collect(call, request_id, people, missing)

    def _collect_pending(self, provider: str, missing: dict[str, dict[str, Any]]) -> None:
        """Batches that earlier runs submitted and did not collect."""
        with self.providers.workspace.database.read() as connection:
            calls = provider_calls.open_calls(
                connection, self.key, provider, has_ended=has_ended, now=self.now
            )
        for call in calls:
            if call.request_id is not None:
                self._collect(call.call_id, call.request_id, json.loads(call.detail), missing)

    def _collect(
        self,
        call: int,
        request_id: str,
        people: Mapping[str, str],
        missing: dict[str, dict[str, Any]],
    ) -> None:
        """Asks for a submitted batch until it is ready, or leaves it to a later run."""
        client = self.providers.dropcontact
        assert client is not None
        key = key_of(self.providers.workspace.settings, "dropcontact")
        for _ in range(POLLS):
            found = self.providers.within_limits(
                "dropcontact/collect", key, lambda: client.collect(request_id)
            )
            if isinstance(found, Collected):
                batch = {person: Asked(key=lead_id) for person, lead_id in people.items()}
                # The credit of whoever has no address is given back.
                paid = [a for a in found.answers.values() if a.usable or a.doubtful]
                self._store("dropcontact", call, batch, found.answers, float(len(paid)), missing)
                return
            self.providers.time.sleep(found.seconds)
        self.outcomes["dropcontact: not ready, collected by a later run"] += len(people)

    def _store(
        self,
        provider: str,
        call: int,
        batch: Mapping[str, Asked],
        answers: Mapping[str, Answered],
        credits: float | None,
        missing: dict[str, dict[str, Any]],
    ) -> None:
        """The answers and the outcome of their call, in one transaction."""
        each = (credits or 0.0) / max(len(batch), 1)
        stored = [
            Answer(
                self.key,
                asked.key,
                provider,
                person,
                answers[asked.key].fields,
                answers[asked.key].status,
                answers[asked.key].usable,
                each,
                self.now,
            )
            for person, asked in batch.items()
            if asked.key in answers and answers[asked.key].status != NOT_ASKED
        ]
        with self.providers.workspace.database.write() as connection:
            put_answers(connection, stored)
            self._suppress_objectors(connection, provider, answers)
            provider_calls.finish_call(
                connection,
                call,
                state="done",
                credits=credits,
                request_id=None,
                detail=f"{len(stored)} answers",
                now=self.now,
            )
        self._settle(stored, missing)

    def _suppress_objectors(
        self, connection: sa.Connection, provider: str, answers: Mapping[str, Answered]
    ) -> None:
        """Whoever told the provider not to be written to is not, by any campaign."""
        secret_key = self.providers.workspace.settings.secret_key()
        for answer in answers.values():
            if answer.status == DO_NOT_CONTACT and answer.doubtful:
                hashed = address_key(secret_key, normal_address(answer.doubtful))
                reason = "does not want to be contacted"
                suppress(connection, "address", hashed, reason, provider, self.now)

    def _finish(self, call: int, *, state: Any, detail: str = "", **known: Any) -> None:
        values = {"credits": None, "request_id": None, **known}
        with self.providers.workspace.database.write(durable=True) as connection:
            provider_calls.finish_call(
                connection, call, state=state, detail=detail, now=self.now, **values
            )

    def _settle(self, answers: list[Answer], missing: dict[str, dict[str, Any]]) -> None:
        """Leads with a usable address are not asked about any more.

        What else was answered about the others helps the next provider to find them.
        """
        self.answers += answers
        for answer in answers:
            self.outcomes[f"{answer.provider}: {answer.status}"] += 1
            if answer.usable:
                missing.pop(answer.lead_id, None)
            elif lead := missing.get(answer.lead_id):
                lead |= {k: v for k, v in answer.answer.items() if k in IDENTIFYING and not lead[k]}

    def _rows(self) -> pd.DataFrame:
        rows = [{**answer.answer, "lead_id": answer.lead_id} for answer in self.answers]
        # The provider's id is its own; only what a search gave is an identity here.
        frame = pd.DataFrame(rows).drop(columns="external_id", errors="ignore")
        names = [answer.provider for answer in self.answers]
        described = frame.assign(file=names, custom="{}").astype(TEXT)
        return described.assign(row=range(1, len(rows) + 1))


def _without_address(leads: pd.DataFrame) -> list[dict[str, Any]]:
    """The leads to complete, as plain values, in order of their ids."""
    frame = leads[leads["email"].isna()].sort_values("lead_id")
    plain = frame.astype(object).where(frame.notna(), None)
    return [{str(k): v for k, v in row.items()} for row in plain.to_dict("records")]


def _asked(provider: str, lead: Mapping[str, Any]) -> Asked:
    own = str(lead["source"]).startswith(provider)
    return Asked(
        key=lead["lead_id"],
        external_id=lead["external_id"] if own else None,
        **{name: _spelled(name, lead[name]) for name in IDENTIFYING},
    )


def _spelled(name: str, text: str | None) -> str | None:
    """`text` as intake spells the field, so that a person has one identity in all runs."""
    cleaned = normalise.texts(pyarrow.array([text], pyarrow.string()))
    readers = {"linkedin_url": normalise.linkedin_urls, "domain": normalise.domains}
    spelled = readers[name](cleaned) if name in readers else cleaned
    return spelled[0].as_py()


def _identity(asked: Asked) -> str | None:
    """What the person is known by, in all campaigns."""
    if asked.external_id:
        return f"id:{asked.external_id}"
    if asked.linkedin_url:
        return f"linkedin:{asked.linkedin_url}"
    firm = asked.domain or asked.company
    if asked.first_name and asked.last_name and firm:
        return f"name:{asked.first_name}|{asked.last_name}|{firm}".casefold()
    return None


def _batches(people: Mapping[str, Asked], size: int) -> Iterator[dict[str, Asked]]:
    items = iter(people.items())
    while batch := dict(islice(items, size)):
        yield batch
