"""What a paid call answered is kept, together with its outcome: by whom it is found, for whom.

Not here: the call (`paid_calls`, `batches`), or what becomes of a lead (`enrich`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import chain

import sqlalchemy as sa

from aicmo_dagster.domain.tokens import address_key, normal_address, person_keys
from aicmo_dagster.sources.people import DO_NOT_CONTACT, NOT_ASKED, Answered, Asked
from aicmo_dagster.stages.harvesting.asked import identities_of
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store import provider_calls
from aicmo_dagster.store.erasures import erased_leads
from aicmo_dagster.store.provider_answers import Answer, fresh_answers, put_aliases, put_answers
from aicmo_dagster.store.suppressions import suppress


@dataclass(frozen=True)
class Outcome:
    """What a call gave.

    Args:
        campaign: Who paid.
        provider: Who answered.
        leads: Lead id by person key, of everyone it asked about.
        given: What was answered, by lead id.
        credits: What it cost, if that is known.
        answered_at: When it was asked for: what freshness counts from.
    """

    campaign: str
    provider: str
    leads: Mapping[str, str]
    given: Mapping[str, Answered] = field(repr=False)
    credits: float | None
    answered_at: datetime

    @property
    def answers(self) -> list[Answer]:
        """Those to be kept: not of whom was not asked about after all."""
        each = (self.credits or 0.0) / max(len(self.leads), 1)
        return [
            Answer(
                campaign=self.campaign,
                lead_id=lead_id,
                provider=self.provider,
                person_key=person,
                answer=given.fields,
                status=given.status,
                usable=given.usable,
                credits=each,
                answered_at=self.answered_at,
            )
            for person, lead_id in self.leads.items()
            if (given := self.given.get(lead_id)) is not None and given.status != NOT_ASKED
        ]


def serve_fresh(
    connection: sa.Connection,
    campaign: str,
    provider: str,
    people: dict[str, Asked],
    since: datetime,
) -> list[Answer]:
    """Answers from `since` on about some of `people`, who leave it; they are kept for its leads.

    Args:
        connection: From `Database.write`.
        campaign: Whose leads they are.
        provider: Who answered, in whatever campaign.
        people: By their person key.
        since: Older answers are not fresh.
    """
    known = fresh_answers(connection, people, provider=provider, since=since)
    served = [
        replace(answer, campaign=campaign, lead_id=people.pop(person).key, cached=True)
        for person, answer in known.items()
    ]
    put_answers(connection, served)
    return served


def keep_outcomes(
    connection: sa.Connection,
    workspace: Workspace,
    outcomes: Mapping[int, Outcome],
    now: datetime,
) -> list[Answer]:
    """Each call is done and its answers are kept, unless they are already; gives all answers.

    Whoever told the provider not to be written to is suppressed in every campaign. Of those who
    were erased since they were asked about nothing is kept.

    Args:
        connection: From `Database.write`.
        workspace: Whose secret key hides who is suppressed.
        outcomes: By call, all of one provider.
        now: When they became known.
    """
    asked = {lead_id for outcome in outcomes.values() for lead_id in outcome.leads.values()}
    gone = erased_leads(connection, workspace.settings.secret_key(), asked)
    answers = {
        call: [answer for answer in outcome.answers if answer.lead_id not in gone]
        for call, outcome in outcomes.items()
    }
    first = [call for call in outcomes if _finish(connection, call, outcomes[call], now)]
    put_answers(connection, [answer for call in first for answer in answers[call]])
    for call in first:
        for key in _objectors(workspace, outcomes[call].given):
            reason, provider = "does not want to be contacted", outcomes[call].provider
            suppress(connection, "address", key, reason, provider, now)
    return [answer for call in outcomes for answer in answers[call]]


def _finish(connection: sa.Connection, call: int, outcome: Outcome, now: datetime) -> bool:
    """Whether the call was not done yet."""
    return provider_calls.finish_call(
        connection,
        call,
        state="done",
        credits=outcome.credits,
        request_id=None,
        detail=f"{len(outcome.given)} answers",
        now=now,
    )


def _objectors(workspace: Workspace, given: Mapping[str, Answered]) -> list[str]:
    """What the addresses of those who object are suppressed by."""
    objections = [a.doubtful for a in given.values() if a.status == DO_NOT_CONTACT and a.doubtful]
    if not objections:
        return []
    key = workspace.settings.secret_key()
    return [address_key(key, normal_address(address)) for address in objections]


def name_answers(workspace: Workspace, answers: Sequence[Answer]) -> None:
    """Whoever `answers`, all of one provider, are about is found by all that tells who it is."""
    if not answers:
        return
    provider = answers[0].provider
    known = identities_of([answer.answer for answer in answers])
    persons = [a.person_key for a, found in zip(answers, known, strict=True) for _ in found]
    key = workspace.settings.secret_key()
    pairs = zip(person_keys(key, provider, chain.from_iterable(known)), persons, strict=True)
    aliases = {alias: person for alias, person in sorted(pairs, reverse=True) if alias != person}
    with workspace.database.write() as connection:
        put_aliases(connection, provider, aliases)
