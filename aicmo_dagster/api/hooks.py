"""`POST /hooks/{provider}`: a provider tells that something is ready.

Not here: what is believed of it, which is little (`harvesting.hooks`).
"""

import asyncio
import hmac
import json
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from aicmo_dagster.api.problems import Refusal, answers
from aicmo_dagster.api.service import Work
from aicmo_dagster.domain.tokens import hook_key
from aicmo_dagster.errors import AicmoError
from aicmo_dagster.stages.harvesting.hooks import hear_dropcontact

LARGEST = 8 * 2**20
"""Octets: a batch of 250 people is far smaller."""

router = APIRouter(tags=["public"])


class Heard(BaseModel):
    """What came of it."""

    collected: int = Field(description="Batches that were waited for and are fetched now.")


@router.post("/hooks/{provider}", responses=answers(403, 413, 422, 503))
async def hear(
    provider: Literal["dropcontact"],
    request: Request,
    work: Work,
    key: Annotated[str, Query(max_length=100, description="As `aicmo hook` prints it.")] = "",
) -> Heard:
    """Batches that we wait for are fetched from the provider itself; nothing sent here is used."""
    expected = hook_key(work.settings.secret_key(), provider)
    if not hmac.compare_digest(key.encode(), expected.encode()):
        raise Refusal(403, "the key is not the one of 'aicmo hook'")
    body = await _body(request)
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        raise Refusal(422, "the body is no JSON") from None
    try:
        return Heard(collected=await asyncio.to_thread(hear_dropcontact, work, payload))
    except AicmoError as error:  # whatever it is, the provider may come again
        raise Refusal(503, "it cannot be fetched now", headers={"Retry-After": "60"}) from error


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST:
            raise Refusal(413, f"the body is larger than {LARGEST} octets")
    return bytes(body)
