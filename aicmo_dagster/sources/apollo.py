"""Apollo.io: searching people, which is free, and completing them, which costs a credit each.

Not here: which filters there are (`apollo_filters`), paging to the end, budgets and caches.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from aicmo_dagster.errors import BadInput
from aicmo_dagster.sources.apollo_fields import (
    answer_of,
    company_of,
    fields_of,
    identity_of,
    is_made_up,
)
from aicmo_dagster.sources.apollo_filters import filter_problems
from aicmo_dagster.sources.http import (
    Answer,
    BadKey,
    Http,
    OutcomeUnknown,
    OutOfCredits,
    Refused,
    Unavailable,
)
from aicmo_dagster.sources.passages import UNHINDERED, Passage
from aicmo_dagster.sources.people import (
    NOT_ASKED,
    NOT_FOUND,
    Answered,
    Asked,
    Limits,
    Window,
    joined,
    known_of,
    number_of,
    unanswered,
)

BASE_URL = "https://api.apollo.io/api/v1"
LARGEST_PAGE = 100
LARGEST_MATCH = 10
"""People a `match` may ask about."""

ADVICE = "set AICMO_APOLLO_API_KEY to a key that is"
"""What to do about a key that is not known or not allowed something."""

_ID = re.compile(r"[0-9a-f]{24}")
_THRESHOLD = re.compile(r"page number is over threshold", re.IGNORECASE)
_SPENT = re.compile(r"insufficient credits", re.IGNORECASE)
_HEADERS = {
    "minute": (("x-rate-limit-minute", "x-minute-usage", "x-minute-requests-left"),),
    "hour": (("x-rate-limit-hourly", "x-hourly-usage", "x-hourly-requests-left"),),
    "day": (
        ("x-rate-limit-24-hour", "x-24-hour-usage", "x-24-hour-requests-left"),
        ("x-rate-limit-daily", "x-daily-usage", "x-daily-requests-left"),
    ),
}
"""Limit, use and rest of each window, under every name they go by."""


@dataclass(frozen=True)
class SearchPage:
    """One page of a search.

    Args:
        total: How many people the search has by now, if told; it may differ from page to page.
        people: Our fields of each as raw text, `external_id` among them; repeats are possible.
        without_email: The ids of those of whom Apollo says that it has no address.
        truncated: Whether the page lies past the end of what Apollo shows: split the filters.
        limits: The rate limits of searching.
    """

    total: int | None
    people: list[dict[str, str]] = field(repr=False)
    without_email: frozenset[str] = frozenset()
    truncated: bool = False
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Matched:
    """What a match gave.

    Args:
        answers: By key, of everybody who was asked about.
        credits: What it cost, if told.
        unjoined: How many people came back that are nobody who was asked about.
        limits: The rate limits of matching.
    """

    answers: dict[str, Answered] = field(repr=False)
    credits: float | None
    unjoined: int = 0
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Company:
    """What Apollo knows of a company.

    Args:
        fields: Our fields as raw text; None if Apollo does not know it.
        limits: The rate limits of asking about companies.
    """

    fields: dict[str, str] | None
    limits: Limits = field(default_factory=Limits)


def key_headers(key: str) -> dict[str, str]:
    """The headers that carry the key."""
    return {"x-api-key": key, "Cache-Control": "no-cache"}


class Apollo:
    """Apollo's API; stateless, so threads may share it. `http` is made with `key_headers`."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def search(
        self,
        filters: Mapping[str, Any],
        page: int,
        per_page: int,
        passage: Passage = UNHINDERED,
    ) -> SearchPage:
        """The people on one page, without addresses; free.

        Args:
            filters: By Apollo's own names.
            page: From 1 on.
            per_page: 1 to LARGEST_PAGE.
            passage: The request's leave to go.

        Raises:
            BadInput: If a filter is one that Apollo would ignore without a word.
        """
        if not 1 <= per_page <= LARGEST_PAGE:
            raise ValueError(f"{per_page} people on a page; {LARGEST_PAGE} at most")
        if problems := filter_problems(filters, "apollo"):
            raise BadInput(*problems)
        wanted = {**filters, "page": page, "per_page": per_page}
        try:
            answer = self._ask(
                *("POST", "/mixed_people/api_search"),
                json=wanted,
                repeatable=True,
                passage=passage,
            )
        except Refused as refusal:
            if _THRESHOLD.search(refusal.text):
                return SearchPage(None, [], truncated=True)
            raise
        return _search_page(answer)

    def match(self, people: Sequence[Asked], passage: Passage = UNHINDERED) -> Matched:
        """What Apollo knows of up to LARGEST_MATCH people: a credit for each whom it knows.

        Whoever cannot be told by anything that Apollo takes is not sent, since one such record
        would have the whole call refused.

        Raises:
            OutcomeUnknown: If it may have been paid for without an answer.
        """
        if len(people) > LARGEST_MATCH:
            raise ValueError(f"{len(people)} people in one match; {LARGEST_MATCH} at most")
        details = {person.key: _detail(person) for person in people}
        sent = [person for person in people if details[person.key]]
        skipped = {p.key: unanswered(NOT_ASKED) for p in people if not details[p.key]}
        if not sent:
            return Matched(skipped, 0.0)
        body = {"details": [details[person.key] for person in sent]}
        answer = self._ask(
            "POST", "/people/bulk_match", json=body, repeatable=False, passage=passage
        )
        if answer.body.get("status") != "success" and "matches" not in answer.body:
            raise OutcomeUnknown("Apollo answered a match with something else than matches")
        found = [person for person in _dicts(answer.body, "matches") if not is_made_up(person)]
        fields = [fields_of(person) for person in found]
        places = joined(sent, [identity_of(*each) for each in zip(found, fields, strict=True)])
        answers = {key: answer_of(found[at], fields[at]) for key, at in places.items()}
        missed = {p.key: unanswered(NOT_FOUND) for p in sent if p.key not in answers}
        return Matched(
            {**skipped, **missed, **answers},
            number_of(answer.body.get("credits_consumed")),
            len(found) - len(set(places.values())),
            read_limits(answer.headers),
        )

    def organization(self, domain: str, passage: Passage = UNHINDERED) -> Company:
        """The company at `domain`; a credit if Apollo knows it."""
        params = {"domain": domain}
        answer = self._ask(
            "GET", "/organizations/enrich", params=params, repeatable=False, passage=passage
        )
        found = answer.body.get("organization")
        if answer.body and "organization" not in answer.body:
            raise OutcomeUnknown("Apollo answered with something else than an organization")
        fields = company_of(found) if isinstance(found, dict) else {}
        return Company(fields or None, read_limits(answer.headers))

    def credits(self) -> float | None:
        """The balance, if told; free. Where it fell, a match of unknown outcome was paid for."""
        answer = self._ask("POST", "/usage_stats/credit_usage_stats", repeatable=True)
        usage = answer.body.get("credit_usage_stats")
        pool = usage.get("lead_credit") if isinstance(usage, dict) else None
        return number_of(pool.get("left_over")) if isinstance(pool, dict) else None

    def _ask(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, str] | None = None,
        repeatable: bool,
        passage: Passage = UNHINDERED,
    ) -> Answer:
        try:
            return self._http.request(
                method, path, json=json, params=params, repeatable=repeatable, passage=passage
            )
        except Refused as refusal:
            _raise_meant(refusal)


def read_limits(headers: Mapping[str, str]) -> Limits:
    """The rate limits that the headers of an answer tell."""
    return Limits(**{name: _window(headers, families) for name, families in _HEADERS.items()})


def _raise_meant(refusal: Refused) -> NoReturn:
    """What Apollo means by a refusal; its status alone does not tell."""
    spent = refusal.status in (402, 403, 422) and _SPENT.search(refusal.text)
    if refusal.code == "BILLING.LIMIT.CREDITS_EXHAUSTED" or spent:
        raise OutOfCredits(f"{refusal.place}: credits are used up") from None
    if refusal.status == 403:
        reason = f"the key is not allowed this ({refusal.text or 403})"
        raise BadKey(f"{refusal.place}: {reason}; {ADVICE}") from None
    raise refusal


def _window(headers: Mapping[str, str], families: Sequence[Sequence[str]]) -> Window | None:
    for names in families:
        if any(name in headers for name in names):
            limit, used, left = (_whole(headers.get(name, "")) for name in names)
            return Window(limit, used, left)
    return None


def _whole(text: str) -> int | None:
    """A number; an empty header is how Apollo says that there is no limit."""
    return int(text) if re.fullmatch(r" *\d{1,15} *", text) else None


def _detail(person: Asked) -> dict[str, str]:
    """How Apollo is asked about `person`; empty if it cannot be."""
    known = known_of(person)
    theirs = {
        "id": known.get("external_id", ""),
        "email": known.get("email", ""),
        "linkedin_url": known.get("linkedin_url", ""),
        "first_name": known.get("first_name", ""),
        "last_name": known.get("last_name", ""),
        "domain": known.get("domain", ""),
        "organization_name": known.get("company", ""),
    }
    if not _ID.fullmatch(theirs["id"]):  # another's id would have the whole call refused
        theirs.pop("id")
    named = theirs["first_name"] and theirs["last_name"]
    firm = theirs["domain"] or theirs["organization_name"]
    told = theirs.get("id") or theirs["email"] or theirs["linkedin_url"] or (named and firm)
    return {name: value for name, value in theirs.items() if value} if told else {}


def _search_page(answer: Answer) -> SearchPage:
    total = _total(answer.body)
    if total is None and not isinstance(answer.body.get("people"), list):
        raise Unavailable("Apollo answered a search with something else than people")
    people = [(p, fields) for p in _dicts(answer.body, "people") if (fields := fields_of(p))]
    without = {str(p["id"]) for p, _ in people if p.get("has_email") is False and p.get("id")}
    found = [fields for _, fields in people]
    return SearchPage(total, found, frozenset(without), limits=read_limits(answer.headers))


def _total(body: Mapping[str, Any]) -> int | None:
    """How many people a search has, wherever Apollo says it."""
    pagination = body.get("pagination")
    totals = [body.get("total_entries")]
    totals += [pagination.get("total_entries")] if isinstance(pagination, dict) else []
    return next((int(n) for n in map(number_of, totals) if n is not None), None)


def _dicts(body: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The objects listed under `name`, if it is there; Apollo puts null where it has nothing."""
    listed = body.get(name)
    rows = listed if isinstance(listed, list) else []
    return [row for row in rows if isinstance(row, dict)]
