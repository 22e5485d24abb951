"""Dropcontact as providers.md, section 2, describes it."""

import json
import threading
import unicodedata
from dataclasses import dataclass, field
from typing import Any

from aicmo_dagster_tests.providers.accounts import BAD_JSON, BAD_TEXT, NO_SCOPE, Accounts
from aicmo_dagster_tests.providers.market import Person
from aicmo_dagster_tests.providers.wire import Reply, Request, reply

_FIELDS = {
    *("first_name", "last_name", "full_name", "email", "linkedin", "company", "website"),
    *("phone", "country", "job", "custom_fields"),
}
_FRENCH = {"nominative@pro": "nominatif@pro", "catch-all@pro": "catch_all@pro"}
_NOT_READY = {
    "error": False,
    "success": False,
    "reason": "Request not ready yet, try again in 30 seconds",
}


@dataclass
class DropcontactModes:
    """How it behaves where providers.md leaves it open, or clients met several ways.

    Args:
        ready_after: At which poll a batch is ready; None for never.
        unready_at: Polls at which it is not ready once more.
        language: `en` or `fr`.
        miss: `echo`, `drop` or `shuffle`: what becomes of records without an answer.
        qualifications: What to say of certain addresses, in a list of (address, qualification).
        rejects: 1-based numbers of records that a submission rejects.
        numeric_ids: Whether request ids are 64-bit negative numbers.
    """

    ready_after: int | None = 1
    unready_at: tuple[int, ...] = ()
    language: str = "en"
    miss: str = "echo"
    qualifications: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    rejects: tuple[int, ...] = ()
    numeric_ids: bool = False


@dataclass
class _Batch:
    key: str
    records: list[dict[str, Any]]
    polls: int = 0
    settled: bool = False


class DropcontactStandIn:
    """Its endpoints over a market, with accounts and batches."""

    def __init__(self, people: list[Person], accounts: Accounts, modes: DropcontactModes) -> None:
        self.accounts = accounts
        self.modes = modes
        self._by_email = {person.email: person for person in people}
        self._by_profile = {person.linkedin: person for person in people}
        self._by_name = {_name(p.first_name, p.last_name, p.domain): p for p in people}
        self._batches: dict[str, _Batch] = {}
        self._lock = threading.Lock()

    def handle(self, request: Request) -> Reply:
        """What Dropcontact answers."""
        key = request.headers.get("x-access-token", "")
        if key in ("", BAD_TEXT, BAD_JSON):
            reason = "Unknown account" if key else "No api key received"
            return reply(401, {"error": True, "success": False, "reason": reason})
        if key == NO_SCOPE:
            return reply(403, {"error": True, "success": False, "reason": "Unknown account"})
        if request.method == "GET" and request.path == "/account/credits":
            return reply(200, {"credits": self.accounts.left.get(key, 0)})
        if request.method == "POST" and request.path == "/enrich/all":
            return self._submit(key, request.values)
        if request.method == "GET" and request.path.startswith("/enrich/all/"):
            return self._collect(request.path.removeprefix("/enrich/all/"))
        return reply(404, {"detail": "Not Found"})

    def _submit(self, key: str, values: dict[str, Any]) -> Reply:
        records = values.get("data")
        if not isinstance(records, list):
            return _refused(400, "Missing data in JSON")
        if len(records) > 250:
            return _refused(400, "Too many records, you can only submit up to 250 records")
        if any(len(json.dumps(record).encode()) > 15_000 for record in records):
            return _refused(400, "Data size is too big, you can only submit up to 15 kB of data")
        if any(set(record) - _FIELDS for record in records):
            return _refused(400, "unexpected_field")
        if not self.accounts.take(key, len(records)):
            return _refused(403, "Token exceeded quota")
        with self._lock:
            request_id = self._new_id()
            self._batches[request_id] = _Batch(key, records)
        body: dict[str, Any] = {"error": False, "success": True, "request_id": request_id}
        body["credits_left"] = self.accounts.left[key]
        if self.modes.numeric_ids:
            body["request_id"] = int(request_id)
        if self.modes.rejects:
            errors = {"only_contact_data": True}
            body["data"] = [{"index": number, "errors": errors} for number in self.modes.rejects]
        paid = tuple(p.id for record in records if (p := self._person(record)))
        return reply(200, body, charged=len(records), people=paid)

    def _new_id(self) -> str:
        number = len(self._batches)
        return str(-8039995589705121900 - number) if self.modes.numeric_ids else f"qzwk{number:05d}"

    def _collect(self, request_id: str) -> Reply:
        with self._lock:
            batch = self._batches.get(request_id)
            if batch is None:
                return reply(200, _NOT_READY)
            batch.polls += 1
            ready = self.modes.ready_after
            unready = batch.polls in self.modes.unready_at
            if ready is None or batch.polls < ready or unready:
                return reply(200, _NOT_READY)
            refunded = self._settle(batch)
        rows = [
            self._row(record)
            for place, record in enumerate(batch.records, start=1)
            if place not in self.modes.rejects
        ]
        if self.modes.miss != "echo":
            rows = [row for row in rows if isinstance(row.get("email"), list)]
        if self.modes.miss == "shuffle":
            rows.reverse()
        left = self.accounts.left[batch.key]
        body = {"error": False, "success": True, "credits_left": left, "data": rows}
        return reply(200, body, refunded=refunded)

    def _settle(self, batch: _Batch) -> float:
        """What is given back: for each of whom no address was found, once."""
        if batch.settled:
            return 0
        batch.settled = True
        found = [self._row(record) for record in batch.records]
        misses = [row for row in found if not isinstance(row.get("email"), list)]
        self.accounts.give_back(batch.key, len(misses))
        return len(misses)

    def _row(self, record: dict[str, Any]) -> dict[str, Any]:
        """A record enriched; as it was sent, where nothing is known."""
        person = self._person(record)
        if person is None or not (emails := self._emails(person)):
            return record
        return {
            "civility": "Mrs",
            "first_name": person.first_name,
            "last_name": person.last_name,
            "full_name": f"{person.first_name} {person.last_name}",
            "email": emails,
            "phone": "+33 2 00 00 00 00",
            "company": person.company,
            "website": f"www.{person.domain}",
            "linkedin": person.linkedin.removeprefix("http://"),
            "country": "FR",
            "siren": "000 000 001",
            "nb_employees": "20 to 49",
            "naf5_des": "Manufacture of other furniture",
            "job": person.title,
            "job_level": "C-level",
            "job_function": "Management",
            "custom_fields": record.get("custom_fields"),
        }

    def _emails(self, person: Person) -> list[dict[str, str]]:
        if person.id in self.modes.qualifications:
            return self.modes.qualifications[person.id]
        if not person.dropcontact:
            return []
        word = person.dropcontact
        word = _FRENCH.get(word, word) if self.modes.language == "fr" else word
        return [{"email": person.email, "qualification": word}]

    def _person(self, record: dict[str, Any]) -> Person | None:
        named = _name(*(record.get(n) or "" for n in ("first_name", "last_name", "website")))
        return (
            self._by_email.get(record.get("email") or "")
            or self._by_profile.get(record.get("linkedin") or "")
            or self._by_name.get(named)
        )


def _name(*parts: str) -> tuple[str, ...]:
    return tuple(unicodedata.normalize("NFC", part) for part in parts)


def _refused(status: int, reason: str) -> Reply:
    return reply(status, {"error": True, "success": False, "reason": reason})
