"""Errors as RFC 9457 problem documents: what is raised, what is answered, how it is described.

No document holds a traceback, what was sent, or personal data. Not here: the page that a recipient
sees when a link leads nowhere (`pages`).
"""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import sqlalchemy as sa
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from aicmo_dagster.errors import AicmoError, BadInput, NotFound, Problem, Transient
from aicmo_dagster.store.engines import DatabaseAway, StatementEnded

MEDIA_TYPE = "application/problem+json"
SOON_SECONDS = 5
"""When to try again where the database is away."""

_AWAY = (Transient, sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError)
"""What tells that the database, or something else this needs, is away for the moment."""

_log = logging.getLogger(__name__)


class Fault(BaseModel):
    """One thing wrong with a request."""

    pointer: str = Field(
        description="The place: a path in the document, or parameter and name.",
        examples=["routing.sequences[0].sequence"],
    )
    detail: str = Field(description="What was found and what was expected.")


class ProblemDocument(BaseModel):
    """Why a request was not done (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(
        default="about:blank", description="What kind of problem, where a status is not all."
    )
    title: str = Field(description="The kind of problem in words.", examples=["Not Found"])
    status: int = Field(description="The HTTP status.", examples=[404])
    detail: str = Field(
        default="", description="This problem in words.", examples=["there is no campaign 'autumn'"]
    )
    errors: list[Fault] | None = Field(default=None, description="Each fault of what was sent.")


class Refusal(Exception):
    """A request is not done; raise it in an endpoint or a dependency.

    Args:
        status: The HTTP status.
        detail: This problem in words, without personal data.
        title: The kind of problem; the status's own phrase unless given.
        type: A URI reference that names the kind, such as ``run-in-progress``.
        headers: More headers of the answer.
        errors: The faults of what was sent.
        more: More members of the document, such as the id of the run in the way.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        title: str | None = None,
        type: str = "about:blank",
        headers: Mapping[str, str] | None = None,
        errors: list[Fault] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = dict(headers or {})
        self.document = ProblemDocument(
            type=type,
            title=title or HTTPStatus(status).phrase,
            status=status,
            detail=detail,
            errors=errors,
            **more,
        )

    def response(self) -> JSONResponse:
        """The answer."""
        content = self.document.model_dump(mode="json", exclude_none=True)
        return JSONResponse(content, self.status, self.headers, MEDIA_TYPE)


def _printable(text: str) -> str:
    """`text` without halves of characters, which JSON can say and UTF-8 cannot."""
    return text.encode(errors="replace").decode()


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """`responses=` of an endpoint that may also answer with problems of these statuses."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {
                MEDIA_TYPE: {
                    "schema": {"$ref": "#/components/schemas/ProblemDocument"},
                    "example": _example(status),
                }
            },
        }
        for status in statuses
    }


def add_problem_handlers(app: FastAPI) -> None:
    """Whatever goes wrong in an endpoint is answered as a problem document."""

    async def answer(_: Request, error: Exception) -> JSONResponse:
        return refusal_of(error).response()

    for kind in (Refusal, RequestValidationError, HTTPException, AicmoError, *_AWAY):
        app.add_exception_handler(kind, answer)


def refusal_of(error: Exception) -> Refusal:
    """What `error` is to whoever asked."""
    match error:
        case Refusal():
            return error
        case RequestValidationError():
            return Refusal(422, "the request is not as described", errors=_faults(error))
        case HTTPException():
            return Refusal(error.status_code, str(error.detail), headers=error.headers)
        case BadInput():
            faults = [_fault(problem) for problem in error.problems]
            return Refusal(422, "what was sent is not in order", errors=faults)
        case NotFound():
            return Refusal(404, str(error))
        case AicmoError() if not isinstance(error, _AWAY):
            return Refusal(409, str(error))
    if isinstance(error, _AWAY):
        return _unavailable(error)
    return Refusal(500, "an error of AICMO's own; its log tells more")


def _unavailable(error: Exception) -> Refusal:
    # What the error says names hosts and files, which are nobody's business out there.
    _log.warning("answered 503: %s", type(error).__name__)
    match error:
        case StatementEnded():
            detail = "the database took too long for this; ask again when less is going on"
        case DatabaseAway() | sa.exc.SQLAlchemyError():
            detail = (
                "the database cannot be used now: start it, or see AICMO_DATABASE_URL; "
                "'aicmo doctor', where this runs, tells more"
            )
        case _:
            detail = "something this needs cannot be used now; GET /health tells what"
    return Refusal(503, detail, headers={"Retry-After": str(SOON_SECONDS)})


def _faults(error: RequestValidationError) -> list[Fault]:
    """Place and rule of each fault, without the value, which may be anything."""
    return [
        Fault(pointer=_printable(".".join(map(str, fault["loc"]))), detail=_said(fault))
        for fault in error.errors()
    ]


def _said(fault: Mapping[str, Any]) -> str:
    """The rule; those of our own say what is expected."""
    if fault["type"] == "value_error":
        return f"expected {fault['ctx']['error']}"
    return str(fault["msg"])


def _fault(problem: Problem) -> Fault:
    return Fault(
        pointer=_printable(problem.path or problem.where),
        detail=_printable(f"found {problem.found}; expected {problem.expected}"),
    )


def _example(status: int) -> dict[str, Any]:
    phrase = HTTPStatus(status).phrase
    return {"type": "about:blank", "title": phrase, "status": status, "detail": phrase.lower()}
