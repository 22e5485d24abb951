"""Apollo as providers.md, section 1, describes it."""

import json
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aicmo_dagster_tests.providers import windows
from aicmo_dagster_tests.providers.accounts import BAD_JSON, BAD_TEXT, NO_SCOPE, Accounts
from aicmo_dagster_tests.providers.apollo_bodies import organization, person_body, teaser
from aicmo_dagster_tests.providers.market import SYNTHETIC, TWIN, Person
from aicmo_dagster_tests.providers.wire import Reply, Request, reply

_BAD_KEY = (
    "Invalid API key. See https://docs.apollo.io/reference/authentication for how to authenticate."
)
_OUT_OF_CREDITS = {
    "error": "You have insufficient credits! <a href='https://app.apollo.io/#/settings'>Upgrade"
    " your plan</a> to increase your number of lead credits.",
}
_SPENT_DETAILS = {
    "code": "BILLING.LIMIT.CREDITS_EXHAUSTED",
    "message": "Your team has used all of its credits for this billing cycle.",
    "suggestions": [{"label": "Upgrade your plan to get more API credits"}],
    "context": {"credit_balance": {"value": 0, "description": "Credits currently available"}},
}


@dataclass
class ApolloModes:
    """How it behaves where providers.md leaves it open, or clients met several ways.

    Args:
        bulk_miss: `null`, `drop` or `shuffle`: what becomes of people who are not matched.
        search_total: `top`, `pagination` or `both`.
        search_drift: How many rows of a page reappear on the next.
        errors: `old` or `new` generation of bodies.
        retry_after: `int`, `date`, `zero`, `body` or `none`.
        locked: Whether matches show the placeholder instead of a locked address.
        with_contact: Whether a person carries somebody else as its `contact`.
        limits: Of requests, by window, for each endpoint.
        limit_names: The family of headers.
    """

    bulk_miss: str = "null"
    search_total: str = "top"
    search_drift: int = 0
    errors: str = "new"
    retry_after: str = "int"
    locked: bool = False
    with_contact: bool = False
    limits: dict[str, int] | None = None
    limit_names: dict[str, tuple[str, str, str]] | None = None


class ApolloStandIn:
    """Its endpoints over a market, with accounts and limits."""

    def __init__(
        self, people: list[Person], accounts: Accounts, modes: ApolloModes, now: Callable[[], float]
    ) -> None:
        self.people = people
        self.accounts = accounts
        self.modes = modes
        self._now = now
        self._by_id = {person.id: person for person in people}
        self._by_email = {person.email: person for person in people}
        self._by_profile = {person.linkedin: person for person in people}
        self._by_name = {(p.first_name, p.last_name, p.domain): p for p in people}
        names = modes.limit_names or windows.NEW_NAMES
        self.windows = windows.Windows(modes.limits or {}, names)
        self._chance = random.Random(11)
        self._lock = threading.Lock()

    def handle(self, request: Request) -> Reply:
        """What Apollo answers."""
        key = request.headers.get("x-api-key", "")
        if denied := self._denied(key, request.path):
            return denied
        endpoints = {
            ("POST", "/mixed_people/api_search"): self._search,
            ("POST", "/people/bulk_match"): self._bulk_match,
            ("GET", "/organizations/enrich"): self._organization,
            ("POST", "/usage_stats/credit_usage_stats"): self._usage,
        }
        endpoint = endpoints.get((request.method, request.path))
        if endpoint is None:
            return self._gone(request.path)
        admission = self.windows.admit(key, request.path, self._now())
        if admission.spent:
            return self._limited(request.path, admission)
        answer = endpoint(key, request.values)
        return Reply(**{**vars(answer), "headers": {**answer.headers, **admission.headers}})

    def _denied(self, key: str, path: str) -> Reply | None:
        if key == NO_SCOPE:
            error = f"This API key is not authorized to access api/v1{path}. Request an API key"
            return reply(403, {"error": error, "error_code": "API_INACCESSIBLE"})
        if key == BAD_JSON:
            details = {"code": "AUTH.AUTHENTICATION.API_KEY_INVALID", "message": "Not valid."}
            return reply(401, {"error": _BAD_KEY, "error_details": details})
        if key in ("", BAD_TEXT) or key not in self.accounts.left:
            return reply(401, _BAD_KEY)
        return None

    def _gone(self, path: str) -> Reply:
        if path == "/mixed_people/search":
            text = "This endpoint is deprecated for API callers. Please use the new"
            return reply(422, {"error": f"{text} mixed_people/api_search endpoint"})
        return reply(404, {"error": "Not found"})

    def _limited(self, path: str, admission: windows.Admission) -> Reply:
        assert admission.spent is not None
        window, limit = admission.spent
        text = f"The maximum number of api calls allowed for api/v1{path} is {limit} times per"
        body: dict[str, Any] = {"message": f"{text} {window}. Please upgrade your plan."}
        if path.endswith("api_search"):  # as in the documentation's own example
            body = {"message": json.dumps(body)}
        headers, mode = dict(admission.headers), self.modes.retry_after
        if mode == "int":
            headers["retry-after"] = str(int(admission.wait))
        elif mode == "zero":
            headers["retry-after"] = "0"
        elif mode == "date":
            headers["retry-after"] = windows.http_date(self._now() + admission.wait)
        elif mode == "body":
            body["retry_after_seconds"] = int(admission.wait)
        return reply(429, body, headers=headers)

    def _search(self, key: str, values: dict[str, Any]) -> Reply:
        page, per_page = int(values.get("page", 1)), min(int(values.get("per_page", 10)), 100)
        if page * per_page > 50_000:
            return reply(422, {"error": "Page * per page number is over threshold."})
        if isinstance(values.get("revenue_range"), str):
            return reply(422, {"error": "no implicit conversion of String into Integer"})
        titles = values.get("person_titles")
        found = [person for person in self.people if not titles or person.title in titles]
        drift = self.modes.search_drift if page > 1 else 0
        start = (page - 1) * per_page
        rows = [
            teaser(person) for person in found[max(0, start - drift) : start + per_page - drift]
        ]
        total = len(found) - drift
        body: dict[str, Any] = {"people": rows}
        if self.modes.search_total in ("top", "both"):
            body = {"total_entries": total, **body}
        if self.modes.search_total in ("pagination", "both"):
            body["pagination"] = {"page": page, "per_page": per_page, "total_entries": total}
        return reply(200, body)

    def _bulk_match(self, key: str, values: dict[str, Any]) -> Reply:
        details = values.get("details")
        failed = {"status": "failed", "error_code": "INVALID_REQUEST"}
        if not details:
            return reply(400, json.dumps({**failed, "error_message": "missing details"}))
        if len(details) > 10:
            code, text = "RECORD_LIMIT_EXCEEDED", "cannot enrich more than 10 in a single request"
            return reply(400, {"status": "failed", "error_code": code, "error_message": text})
        if not all(isinstance(detail, dict) and self._is_askable(detail) for detail in details):
            text = "no implicit conversion of Symbol into Integer"
            return reply(422, {**failed, "error_code": "UNKNOWN_ERROR", "error_message": text})
        matches = [self._match(detail) for detail in details]
        paid = {m["id"] for m in matches if m and m.get("match_confidence") != "none"}
        if not self.accounts.take(key, len(paid)):
            new = {"error_details": _SPENT_DETAILS} if self.modes.errors == "new" else {}
            return reply(422, {**_OUT_OF_CREDITS, **new})
        return self._matched(details, matches, paid)

    def _matched(self, details: list[Any], matches: list[Any], paid: set[str]) -> Reply:
        missing = sum(match is None for match in matches)
        if self.modes.bulk_miss != "null":
            matches = [match for match in matches if match is not None]
        if self.modes.bulk_miss == "shuffle":
            matches = matches[1:] + matches[:1]
        body = {
            "status": "success",
            "error_code": None,
            "error_message": None,
            "total_requested_enrichments": len(details),
            "unique_enriched_records": len(paid),
            "missing_records": missing,
            "credits_consumed": float(len(paid)),
            "matches": matches,
        }
        return reply(200, body, charged=len(paid), people=tuple(sorted(paid)))

    def _is_askable(self, detail: dict[str, Any]) -> bool:
        """A UUID for an id has the whole call refused."""
        return len(detail.get("id", "0" * 24)) == 24

    def _match(self, detail: dict[str, Any]) -> dict[str, Any] | None:
        named = tuple(detail.get(name) for name in ("first_name", "last_name", "domain"))
        person = (
            self._by_id.get(detail.get("id", ""))
            or self._by_email.get(detail.get("email", ""))
            or self._by_profile.get(detail.get("linkedin_url", ""))
            or self._by_name.get(named)  # type: ignore[arg-type]
        )
        if person is None:
            return None
        if person.id == SYNTHETIC:
            return {**detail, "match_confidence": "none"}
        if person.id == TWIN:
            person = self.people[7]
        return person_body(person, locked=self.modes.locked, with_contact=self.modes.with_contact)

    def _organization(self, key: str, values: dict[str, Any]) -> Reply:
        if not values.get("domain"):
            return reply(422, {"error": "Required parameter 'domain' missing"})
        known = [person for person in self.people if person.domain == values["domain"]]
        if not known:
            return reply(200, {})
        if not self.accounts.take(key, 1):
            return reply(422, {**_OUT_OF_CREDITS, "error_details": _SPENT_DETAILS})
        return reply(200, {"organization": organization(known[0])}, charged=1)

    def _usage(self, key: str, values: dict[str, Any]) -> Reply:
        pool = {"limit": 10_000, "consumed": 0, "left_over": self.accounts.left[key]}
        return reply(200, {"credit_usage_stats": {"lead_credit": pool}})
