"""Dropcontact: addresses for people, in batches that are submitted now and collected later.

A credit is taken for each at submission and given back where no address is found. Not here:
remembering a batch, waiting for it, budgets and caches.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from aicmo_dagster.sources.dropcontact_fields import answer_of
from aicmo_dagster.sources.http import (
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
    REJECTED,
    Answered,
    Asked,
    known_of,
    number_of,
    text_of,
    unanswered,
)

BASE_URL = "https://api.dropcontact.com/v1"
LARGEST_BATCH = 250
LARGEST_RECORD = 15_000
"""Bytes of one record, as JSON."""

POLL_SECONDS = 30.0
"""What to wait for a batch, unless Dropcontact says otherwise."""

ADVICE = "set AICMO_DROPCONTACT_API_KEY to a valid key"
"""What to do about a key that is not known."""

_NAMES = {"linkedin_url": "linkedin", "domain": "website"}
_QUOTA = re.compile(r"\bquota\b|\bcredits?\b", re.IGNORECASE)
_AGAIN = re.compile(r"again in (\d{1,5}) seconds", re.IGNORECASE)


@dataclass(frozen=True)
class Submitted:
    """What became of a batch.

    Args:
        request_id: What to collect it by; None if there was nobody to submit.
        credits_left: The balance after taking a credit for each, if told.
        keys: Whose answers are to be collected.
        refused: The answers of whoever was not taken; nothing will come for them.
    """

    request_id: str | None
    credits_left: float | None
    keys: frozenset[str]
    refused: dict[str, Answered] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Pending:
    """A batch that is not ready, or that Dropcontact does not know: it says the same of both.

    Args:
        seconds: When to ask again.
    """

    seconds: float = POLL_SECONDS


@dataclass(frozen=True)
class Collected:
    """The answers of a batch.

    Args:
        answers: By key. Whoever was submitted and is not here got no answer.
        credits_left: The balance, if told.
        unjoined: How many answers came without the key of whom they are about.
    """

    answers: dict[str, Answered] = field(repr=False)
    credits_left: float | None
    unjoined: int = 0


def key_headers(key: str) -> dict[str, str]:
    """The headers that carry the key."""
    return {"X-Access-Token": key}


class Dropcontact:
    """Dropcontact's API; stateless. `http` is made with `key_headers`."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def submit(self, people: Sequence[Asked], passage: Passage = UNHINDERED) -> Submitted:
        """Up to LARGEST_BATCH people are submitted, each for a credit.

        Whoever Dropcontact would not take is not sent. An address that is sent is only checked,
        and is paid for whatever the outcome.

        Raises:
            OutOfCredits: If there is not a credit for each; nothing was submitted or charged.
            OutcomeUnknown: If it may have been submitted. There is no way to collect it then; a
                balance that fell by as many as were sent tells that it was.
        """
        if len(people) > LARGEST_BATCH:
            raise ValueError(f"{len(people)} people in one batch; {LARGEST_BATCH} at most")
        records = {person.key: _record(person) for person in people}
        refused = {key: unanswered(NOT_ASKED) for key, record in records.items() if not record}
        sent = {key: record for key, record in records.items() if record}
        if not sent:
            return Submitted(None, None, frozenset(), refused)
        body = self._post(list(sent.values()), passage)
        request_id = text_of(body.get("request_id"))
        if request_id is None:
            raise OutcomeUnknown("Dropcontact took a batch without saying how to collect it")
        refused |= _rejected(body.get("data"), list(sent))
        keys = frozenset(sent) - frozenset(refused)
        return Submitted(request_id, number_of(body.get("credits_left")), keys, refused)

    def collect(self, request_id: str, passage: Passage = UNHINDERED) -> Pending | Collected:
        """The answers of the batch, if they are ready; free, however often.

        Raises:
            Refused: If the batch failed, or is gone.
        """
        path = f"/enrich/all/{quote(request_id, safe='')}"
        body = self._http.request("GET", path, repeatable=True, passage=passage).body
        if body.get("error") is True:
            reason = "Dropcontact says that it failed"
            raise Refused("Dropcontact's batch", 200, "", reason)
        rows = body.get("data")
        if body.get("success") is False or body.get("status") == "in_progress":
            again = _AGAIN.search(text_of(body.get("reason")) or "")
            return Pending(float(again[1])) if again else Pending()
        if not isinstance(rows, list):
            raise Unavailable("Dropcontact answered with something else than a batch")
        answers = {key: answer_of(row) for row in rows if (key := _key(row)) is not None}
        left = number_of(body.get("credits_left"))
        return Collected(answers, left, len(rows) - len(answers))

    def credits(self) -> float:
        """The balance; free."""
        answer = self._http.request("GET", "/account/credits", repeatable=True)
        left = number_of(answer.body.get("credits"))
        if left is None:
            raise Unavailable("Dropcontact does not tell the balance")
        return left

    def _post(self, records: list[dict[str, Any]], passage: Passage) -> dict[str, Any]:
        wanted = {"data": records, "language": "en"}
        try:
            answer = self._http.request(
                "POST", "/enrich/all", json=wanted, repeatable=False, passage=passage
            )
        except Refused as refusal:
            if refusal.status == 403:
                self._tell_why_forbidden(refusal, len(records))
            raise
        if answer.body.get("error") is True:
            raise Refused("Dropcontact's batch", answer.status, "", "Dropcontact did not take it")
        return answer.body

    def _tell_why_forbidden(self, refusal: Refused, count: int) -> None:
        """Raises what a 403 means: too few credits, or an account that is not known."""
        try:
            left: float | None = self.credits()
        except (Unavailable, Refused):
            left = None
        if _QUOTA.search(refusal.text) or (left is not None and left < count):
            text = f"{refusal.place}: {count} credits are wanted and not there"
            raise OutOfCredits(text, left) from None
        raise BadKey(f"{refusal.place}: the account is not let in; {ADVICE}") from None


def _record(person: Asked) -> dict[str, Any]:
    """How Dropcontact is asked about `person`; empty if it would not take that."""
    known = {
        _NAMES.get(name, name): value
        for name, value in known_of(person).items()
        if name != "external_id"
    }
    named = known.keys() & {"first_name", "last_name"} and known.keys() & {"company", "website"}
    if not named and not known.keys() & {"email", "linkedin"}:
        return {}
    record = {**known, "custom_fields": {"lead_key": person.key}}
    return record if len(json.dumps(record).encode()) <= LARGEST_RECORD else {}


def _rejected(rows: object, sent: Sequence[str]) -> dict[str, Answered]:
    """Whom the answer to a submission rejects; it numbers them, from 1 as far as is known."""
    listed = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    marked = [row for row in listed if row.get("errors")]
    first = 0 if any(row.get("index") == 0 for row in marked) else 1
    keys = [_key(row) or _at(sent, row.get("index"), first) for row in marked]
    return {key: unanswered(REJECTED) for key in keys if key in sent}


def _at(sent: Sequence[str], index: object, first: int) -> str:
    inside = isinstance(index, int) and 0 <= index - first < len(sent)
    return sent[index - first] if inside else ""  # type: ignore[operator]


def _key(row: object) -> str | None:
    """Whom a row is about: what we sent along with it."""
    fields = row.get("custom_fields") if isinstance(row, dict) else None
    return text_of(fields.get("lead_key")) if isinstance(fields, dict) else None
