"""Requests that are done once however often they come: the `Idempotency-Key` header.

The same key with the same request is answered as it was the first time; with another, 422. A
request that failed may be tried again under its key. Keys are a token's own and kept for a day.

Not here: how answers are kept (`store.api_requests`).
"""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import sqlalchemy as sa
from fastapi import Depends, Header, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from aicmo_dagster.api.access import Principal
from aicmo_dagster.api.problems import Refusal
from aicmo_dagster.api.service import Now, Work
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store import api_requests
from aicmo_dagster.store.api_requests import Answer, Asked

KEPT_HEADERS = ("etag", "location", "retry-after")
REPLAYED = "Idempotency-Replayed"
"""The header of an answer that was given before."""

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="Makes the request safe to repeat: of one key, only the first is done.",
    ),
]


@dataclass(frozen=True)
class Attempt:
    """One request that is to be done once.

    Args:
        workspace: Where answers are kept.
        operation: Method and path.
        key: The client's key; without one, a request is done as often as it comes.
        digest: Of the query and the body.
        now: When it came.
    """

    workspace: Workspace
    operation: str
    key: str | None
    digest: str
    now: datetime

    def write(
        self, principal: Principal, work: Callable[[sa.Connection], JSONResponse]
    ) -> Response:
        """The answer of `work`, which is done in one transaction together with remembering it."""
        with self.workspace.database.write() as connection:
            asked = self._asked(principal)
            if asked is None:
                return work(connection)
            earlier = self._claimed(connection, asked)
            if earlier is not None:
                return earlier
            response = work(connection)
            api_requests.settle(connection, asked, _kept(response))
            return response

    def answer(self, principal: Principal, work: Callable[[], JSONResponse]) -> Response:
        """The answer of `work`, which reaches outside the database.

        If the process dies in the middle, a repetition after `api_requests.LEASE` does `work` once
        more: it is to find what the first one did, by the key.
        """
        asked = self._asked(principal)
        if asked is None:
            return work()
        with self.workspace.database.write() as connection:
            earlier = self._claimed(connection, asked)
        if earlier is not None:
            return earlier
        try:
            response = work()
        except Exception:
            with self.workspace.database.write() as connection:
                api_requests.release(connection, asked)
            raise
        with self.workspace.database.write() as connection:
            api_requests.settle(connection, asked, _kept(response))
        return response

    def _asked(self, principal: Principal) -> Asked | None:
        if self.key is None:
            return None
        return Asked(principal.token_id, self.operation, self.key, self.digest)

    def _claimed(self, connection: sa.Connection, asked: Asked) -> Response | None:
        """None if the request is ours to do; else the answer it had.

        Raises:
            Refusal: 409 while the first is being done, 422 if it was another.
        """
        found = api_requests.claim(connection, asked, self.now)
        if found == "other":
            raise Refusal(422, "the Idempotency-Key was used for another request")
        if found == "under way":
            detail = "the request of this Idempotency-Key is being done"
            raise Refusal(409, detail, headers={"Retry-After": "1"})
        return _replayed(found) if isinstance(found, Answer) else None


async def attempt(
    request: Request, work: Work, now: Now, idempotency_key: IdempotencyKey = None
) -> Attempt:
    """The request as one that is done once."""
    # Keyed, since a body may be no more than an address.
    sent = request.url.query.encode() + b"\n" + await request.body()
    digest = hmac.new(work.settings.secret_key(), sent, hashlib.sha256)
    operation = f"{request.method} {request.url.path}"
    return Attempt(work, operation, idempotency_key, digest.hexdigest(), now)


Once = Annotated[Attempt, Depends(attempt)]


def answered(
    content: BaseModel, status: int = 200, headers: dict[str, str] | None = None
) -> JSONResponse:
    """`content` as an answer that may be kept."""
    return JSONResponse(content.model_dump(mode="json"), status, headers)


def _kept(response: JSONResponse) -> Answer:
    headers = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
    return Answer(response.status_code, headers, bytes(response.body).decode())


def _replayed(kept: Answer) -> Response:
    headers = {**kept.headers, REPLAYED: "true"}
    return Response(kept.body, kept.status, headers, "application/json")
