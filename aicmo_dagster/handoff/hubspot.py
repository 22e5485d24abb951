"""HubSpot: the lead becomes a contact, or completes the one with its address.

Batch upsert by address, which may be repeated. Not here: other objects than contacts.
"""

from typing import Any

import requests

from aicmo_dagster.handoff.connections import TIMEOUT_SECONDS, open_session
from aicmo_dagster.handoff.delivery import Outcome, wait_asked

_PROPERTIES = {
    "email": "email",
    "first_name": "firstname",
    "last_name": "lastname",
    "title": "jobtitle",
    "company": "company",
    "phone": "phone",
    "city": "city",
    "region": "state",
    "country": "country",
    "domain": "website",
    "industry": "industry",
}
"""Field of a lead to property of a contact; HubSpot's properties are text."""

_REFUSALS = (400, 404, 409, 413, 415, 422)


class HubSpot:
    """Contacts of the account that `token` is a private app's of."""

    def __init__(self, url: str, token: str, *, allow_private: bool) -> None:
        self._url = f"{url}/crm/v3/objects/contacts/batch/upsert"
        self._headers = {"Authorization": f"Bearer {token}"}
        self._session = open_session(allow_private=allow_private)

    def deliver(self, key: str, document: dict[str, Any]) -> Outcome:
        """As `Destination.deliver`."""
        lead = document["data"]["lead"]
        address = lead.get("email")
        if not address:
            return Outcome("refused", "the lead has no address")
        properties = {
            theirs: str(lead[ours]) for ours, theirs in _PROPERTIES.items() if lead.get(ours)
        }
        contact = {
            "id": address,
            "idProperty": "email",
            "objectWriteTraceId": key,
            "properties": properties,
        }
        try:
            answer = self._session.post(
                self._url,
                json={"inputs": [contact]},
                headers=self._headers,
                timeout=TIMEOUT_SECONDS,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            return Outcome("failed", f"no answer ({type(error).__name__})")
        return _judged(answer)


def _judged(answer: requests.Response) -> Outcome:
    """HubSpot answers 207 where a part of the batch failed, and ours is the only part."""
    status = answer.status_code
    if status in (200, 201, 207):
        try:
            results, errors = answer.json().get("results"), answer.json().get("errors")
            category = str(errors[0].get("category", "")) if errors else "no result"
        except (ValueError, AttributeError, LookupError, TypeError):
            return Outcome("failed", f"HTTP {status} without JSON as it is documented")
        if results and not errors:
            return Outcome("delivered")
        return Outcome("refused", f"HTTP {status}: {category[:60]}")
    state = "refused" if status in _REFUSALS else "failed"
    return Outcome(state, f"HTTP {status}", wait_asked(answer.headers.get("Retry-After")))  # type: ignore[arg-type]
