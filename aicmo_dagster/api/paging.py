"""Lists in pages: a cursor that names the last row shown, so that no row is shown twice or missed.

A cursor is opaque to clients and belongs to one list with its filters. Not here: reading rows.
"""

import base64
import json
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel, Field

from aicmo_dagster.api.problems import Fault, Refusal
from aicmo_dagster.domain.tokens import url_safe

LARGEST_PAGE = 500
DEFAULT_PAGE = 100

RowT = TypeVar("RowT")
ItemT = TypeVar("ItemT")

Cursor = Annotated[
    str | None,
    Query(max_length=1_000, description="`next` of the page before; the first page without one."),
]
Limit = Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="How many at most.")]


class Page(BaseModel, Generic[ItemT]):
    """Some of a list, and where it goes on."""

    items: list[ItemT]
    next: str | None = Field(
        default=None, description="The cursor of the next page; none after the last."
    )


def encode_cursor(name: str, *place: Any) -> str:
    """An opaque text that `decode_cursor` reads.

    Args:
        name: The list and its filters, such as ``leads of spring, stage=raw_leads``.
        place: Plain values for JSON that name the last row shown.
    """
    text = json.dumps([name, *place], separators=(",", ":"), ensure_ascii=False)
    return url_safe(text.encode())


def decode_cursor(name: str, cursor: str | None, *kinds: type) -> list[Any] | None:
    """The place that `cursor` names in the list `name`; none on the first page.

    Args:
        name: As it was encoded with.
        cursor: What the client sent.
        kinds: The type of each value of a place.

    Raises:
        Refusal: 422, if it is not one that this list gave.
    """
    if cursor is None:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        named, *place = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, TypeError, RecursionError):
        raise _stray() from None
    fits = len(place) == len(kinds) and all(map(_is, place, kinds))
    if named != name or not fits:
        raise _stray()
    return place


def page_of(
    name: str,
    rows: Sequence[RowT],
    limit: int,
    place: Callable[[RowT], Sequence[Any]],
    item: Callable[[RowT], ItemT],
) -> Page[ItemT]:
    """The page of `rows`, of which there is one more than `limit` if the list goes on."""
    shown = rows[:limit]
    more = encode_cursor(name, *place(shown[-1])) if len(rows) > limit else None
    return Page(items=[item(row) for row in shown], next=more)


def _is(value: Any, kind: type) -> bool:
    """Whether `value` is of `kind` and one that a database takes."""
    if isinstance(value, bool) or not isinstance(value, kind):
        return False
    if isinstance(value, str):
        return "\x00" not in value and value.isprintable()
    return not isinstance(value, int) or abs(value) < 2**63


def _stray() -> Refusal:
    fault = Fault(pointer="query.cursor", detail="expected `next` of the page before, unchanged")
    return Refusal(422, "the cursor is not one of this list", errors=[fault])
