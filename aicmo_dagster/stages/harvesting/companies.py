"""Companies' fields for leads that lack them: Apollo is asked once about a company.

Not here: addresses (`enrich`), or paying (`paid_calls`).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from aicmo_dagster.sources.apollo import Company
from aicmo_dagster.sources.passages import Passage
from aicmo_dagster.sources.people import NOT_FOUND, Answered, Asked
from aicmo_dagster.stages.harvesting.answers import Outcome, keep_outcomes
from aicmo_dagster.stages.harvesting.doubts import resolve_doubts
from aicmo_dagster.stages.harvesting.paid_calls import Batch, PaidCalls
from aicmo_dagster.stages.harvesting.payer import Payer
from aicmo_dagster.store.provider_answers import Answer, fresh_answers, put_answers

WANTED = ("industry", "employees")
"""A company is asked about if one of its people lacks one of these."""

FOUND = "company"
"""What stands in the place of an address's state."""

_PROVIDER = "apollo"


def ask_companies(payer: Payer, leads: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows for intake: what Apollo knows of the companies of `leads` that they lack.

    Args:
        payer: Who pays, a credit for each company that Apollo knows.
        leads: `lead_id`, `domain` and a company's fields of each, missing ones as None.

    Raises:
        AicmoError: Why Apollo cannot be asked any more; what was answered serves the next run.
    """
    staff: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for lead in leads:
        if lead["domain"] and any(lead[name] is None for name in WANTED):
            staff[lead["domain"]].append(lead)
    domains = sorted(staff)
    companies = payer.persons(_PROVIDER, [f"domain:{domain}" for domain in domains], domains)
    unknown = companies.keys() - _known(payer, companies).keys()
    asked = {
        person: Asked(key=staff[domain][0]["lead_id"], domain=domain)
        for person, domain in companies.items()
        if person in unknown
    }
    if asked:
        resolve_doubts(payer, _PROVIDER)
        _Questions(payer).ask(asked)
    return _rows(payer, staff, {companies[p]: a for p, a in _known(payer, companies).items()})


class _Questions:
    """Apollo is asked about companies, one in a call."""

    def __init__(self, payer: Payer) -> None:
        assert payer.providers.apollo is not None
        self._payer, self._apollo = payer, payer.providers.apollo
        self._calls: PaidCalls[Company] = PaidCalls(
            payer, _PROVIDER, "organization", "apollo/organization", self._request, self._keep
        )

    def ask(self, companies: dict[str, Asked]) -> None:
        self._calls.ask(companies, 1)

    def _request(self, companies: list[Asked], passage: Passage) -> Company:
        return self._apollo.organization(str(companies[0].domain), passage)

    def _keep(
        self, connection: sa.Connection, landed: Sequence[tuple[Batch, Company]]
    ) -> list[Answer]:
        outcomes = {batch.call: self._outcome(batch, company) for batch, company in landed}
        providers = self._payer.providers
        keep_outcomes(connection, providers.workspace, outcomes, providers.time.now())
        return []  # no lead's: `_rows` serves them

    def _outcome(self, batch: Batch, company: Company) -> Outcome:
        fields, payer = company.fields or {}, self._payer
        answered = Answered(fields, FOUND if fields else NOT_FOUND, usable=False)
        payer.outcomes[f"apollo: companies {'found' if fields else 'not found'}"] += 1
        given = dict.fromkeys(batch.leads.values(), answered)
        credits = float(bool(fields))
        return Outcome(payer.campaign, _PROVIDER, batch.leads, given, credits, payer.now)


def _known(payer: Payer, companies: Mapping[str, str]) -> dict[str, Answer]:
    with payer.providers.workspace.database.read() as connection:
        return fresh_answers(connection, companies, provider=_PROVIDER, since=payer.since)


def _rows(
    payer: Payer, staff: Mapping[str, Sequence[Mapping[str, Any]]], known: Mapping[str, Answer]
) -> list[dict[str, Any]]:
    """What each lead lacks of what is known of its company; its answer is kept for it too."""
    served = [
        (lead, replace(answer, campaign=payer.campaign, lead_id=lead["lead_id"], cached=True))
        for domain, answer in known.items()
        for lead in staff[domain]
    ]
    with payer.providers.workspace.database.write() as connection:
        put_answers(connection, [answer for _, answer in served])
    rows = [
        {name: value for name, value in answer.answer.items() if lead.get(name) is None}
        | {"lead_id": answer.lead_id, "file": _PROVIDER}
        for lead, answer in served
    ]
    return sorted((row for row in rows if len(row) > 2), key=lambda row: str(row["lead_id"]))
