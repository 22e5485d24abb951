"""A signed webhook (Standard Webhooks 1.0.0). Not here: what its document says (`stages`)."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import requests
from standardwebhooks.webhooks import Webhook as Signer

from aicmo_dagster.handoff.connections import (
    TIMEOUT_SECONDS,
    is_private_refusal,
    open_session,
)
from aicmo_dagster.handoff.delivery import Outcome, wait_asked


class Webhook:
    """POSTs a document to a URL; a redirect is not followed and counts as a failure."""

    def __init__(
        self, url: str, secret: str, *, allow_private: bool, clock: Callable[[], datetime]
    ) -> None:
        self._url = url
        self._signer = Signer(secret)
        self._session = open_session(allow_private=allow_private)
        self._clock = clock

    def deliver(self, key: str, document: dict[str, Any]) -> Outcome:
        """As `Destination.deliver`; `key` is the ``webhook-id``, the same at every attempt."""
        body = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        now = self._clock()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "AICMO",
            "webhook-id": key,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._signer.sign(key, now, body),
        }
        try:
            answer = self._session.post(
                self._url,
                data=body.encode(),
                headers=headers,
                timeout=TIMEOUT_SECONDS,
                allow_redirects=False,
                stream=True,  # its body is of no interest, however long
            )
        except (requests.RequestException, ValueError) as error:
            return unanswered(error)
        with answer:
            return judged(answer.status_code, answer.headers.get("Retry-After"))


def unanswered(error: Exception) -> Outcome:
    """What a request came to that had no answer."""
    if is_private_refusal(error):
        return Outcome("refused", "the URL leads to a private address")
    return Outcome("failed", f"no answer ({type(error).__name__})")


def judged(status: int, retry_after: str | None) -> Outcome:
    """What an answer with this status means."""
    if 200 <= status < 300:
        return Outcome("delivered")
    if status == 410:
        return Outcome("refused", "HTTP 410: the receiver wants no more")
    return Outcome("failed", f"HTTP {status}", wait_asked(retry_after))
