"""Endpoints of single leads. Not here: their import and export, or the stages' decisions."""

from typing import Any

from fastapi import APIRouter

from aicmo_dagster.api.access import Viewer
from aicmo_dagster.api.problems import answers
from aicmo_dagster.api.service import Now, Work
from aicmo_dagster.stages.explain import explain_lead

router = APIRouter(prefix="/campaigns/{key}/leads", tags=["leads"])


@router.get("/{lead}", responses=answers(404))
def read(key: str, lead: str, _: Viewer, work: Work, now: Now) -> dict[str, Any]:
    """Everything decided about a lead, oldest first, with its score."""
    return explain_lead(work, key, lead, now).as_document()
