"""Endpoints that take in and give out leads in bulk, part by part, whatever their number.

Not here: reading and writing the formats (`harvesting.imports`, `leads.export`).
"""

from collections.abc import Iterator
from datetime import datetime
from itertools import chain
from pathlib import Path as FilePath
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field
from starlette.requests import ClientDisconnect

from aicmo_dagster.api.access import Operator, Viewer
from aicmo_dagster.api.guard import LARGEST_IMPORT
from aicmo_dagster.api.once import answered
from aicmo_dagster.api.problems import Refusal, answers
from aicmo_dagster.api.service import Now, Work
from aicmo_dagster.domain.schemas import STAGES
from aicmo_dagster.sources.lead_files import Kind
from aicmo_dagster.stages.harvesting.imports import copy_folder, import_leads
from aicmo_dagster.stages.leads.export import Format, exported
from aicmo_dagster.store.audit import record_change
from aicmo_dagster.store.uploads import Upload, list_uploads, remove_upload

router = APIRouter(prefix="/campaigns/{key}", tags=["leads"], responses=answers(404))

KINDS: dict[str, Kind] = {
    "text/csv": "csv",
    "application/vnd.apache.parquet": "parquet",
    "application/jsonl": "jsonl",
    "application/x-ndjson": "jsonl",
}
"""Media type of a body to what it holds."""

MEDIA_TYPES: dict[Format, str] = {
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "jsonl": "application/jsonl",
}

_ANY = {"schema": {"type": "string", "format": "binary"}}
Stage = Literal["raw_leads", "scored_leads", "qualified_leads", "routed_leads", "nurture_sends"]
assert Stage.__args__ == STAGES  # type: ignore[attr-defined]


class ImportLine(BaseModel):
    """An import: a source of the campaign's next harvests, named ``import-ID`` there."""

    id: int
    name: str
    rows: int = Field(description="Its records.")
    rejected: int = Field(description="Those of them that cannot be read.")
    columns: dict[str, str] = Field(description="Our field to its column.")
    created_by: str
    created_at: datetime


class ImportList(BaseModel):
    """The campaign's imports, the oldest first."""

    items: list[ImportLine]


@router.post(
    "/leads:import",
    status_code=201,
    response_model=ImportLine,
    responses={
        200: {"model": ImportLine, "description": "It was imported before"},
        **answers(400, 415),
    },
    max_body_size=LARGEST_IMPORT,
    openapi_extra={"requestBody": {"required": True, "content": dict.fromkeys(KINDS, _ANY)}},
)
async def import_(
    request: Request,
    key: str,
    principal: Operator,
    work: Work,
    now: Now,
    name: Annotated[str, Query(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")],
    columns: Annotated[
        list[str],
        Query(
            max_length=200,
            description="`ours:theirs`, such as `email:Work Email`; without any, columns that are "
            "named as our fields are taken, whatever their case.",
            examples=[["email:Work Email"]],
        ),
    ] = [],  # noqa: B006 - FastAPI copies it
) -> Response:
    """The leads of the body are a source of the campaign from its next harvest on.

    Sending the same again changes nothing; another body of that name takes the first one's place.
    """
    kind = KINDS.get(request.headers.get("content-type", "").partition(";")[0].strip().lower())
    if kind is None:
        raise Refusal(415, f"expected one of: {', '.join(KINDS)}")
    mapping = dict(_pair(each) for each in columns)
    with copy_folder(work.settings) as folder:
        path = folder / f"{name}.{kind}"
        await _receive(request, path)
        upload, new = await run_in_threadpool(
            import_leads, work, key, path, kind, name, mapping, principal.who, now
        )
    return answered(_line(upload), 201 if new else 200)


@router.get(
    "/leads:export",
    response_class=StreamingResponse,
    responses={200: {"content": {kind.partition(";")[0]: _ANY for kind in MEDIA_TYPES.values()}}},
)
def export(
    key: str,
    _: Viewer,
    work: Work,
    kind: Annotated[Format, Query(alias="format")] = "csv",
    stage: Stage = "raw_leads",
) -> StreamingResponse:
    """The campaign's rows of a stage as a file; no cell of a CSV is taken for a formula."""
    work.campaign(key)
    parts = exported(work, stage, key, kind)
    first = next(parts, b"")  # a fault in it still has an answer of its own
    headers = {"Content-Disposition": f'attachment; filename="{key}-{stage}.{kind}"'}
    whole: Iterator[bytes] = chain([first], parts)
    return StreamingResponse(whole, headers=headers, media_type=MEDIA_TYPES[kind])


@router.get("/imports")
def list_(key: str, _: Viewer, work: Work) -> ImportList:
    """The campaign's imports."""
    work.campaign(key)
    with work.database.read() as connection:
        return ImportList(items=[_line(each) for each in list_uploads(connection, key)])


@router.delete("/imports/{id}", status_code=204)
def remove(
    key: str, id: Annotated[int, Path(ge=1, lt=2**63)], principal: Operator, work: Work, now: Now
) -> None:
    """The import is no source any more; leads that came of it stay."""
    with work.database.write() as connection:
        was = remove_upload(connection, key, id)
        before = {"import": was.id, "rows": was.rows, "digest": was.digest}
        record_change(
            connection, principal.who, "leads.remove_import", now, campaign=key, before=before
        )


async def _receive(request: Request, path: FilePath) -> None:
    """The body is in the file; the router bounds its size."""
    with path.open("wb") as file:
        try:
            async for chunk in request.stream():
                await run_in_threadpool(file.write, chunk)
        except ClientDisconnect:
            raise Refusal(400, "the body ended early") from None


def _pair(text: str) -> tuple[str, str]:
    ours, _, theirs = text.partition(":")
    return ours.strip(), theirs.strip()


def _line(upload: Upload) -> ImportLine:
    return ImportLine.model_validate(upload, from_attributes=True)
