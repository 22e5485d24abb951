"""The stages' frames in their tables: validated, replaced and read as a whole.

Not here: what a valid frame is (`domain.schemas`), or the ledger's single sends (`ledger`).
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pandas as pd
import sqlalchemy as sa
from pandera.errors import SchemaErrors

from aicmo_dagster.domain.schemas import SCHEMAS, dtypes
from aicmo_dagster.errors import AicmoError
from aicmo_dagster.store.fetching import fetch_frame
from aicmo_dagster.store.loading import bulk_insert
from aicmo_dagster.store.tables import FRAME_TABLES, nurture_sends

_TABLES = {**FRAME_TABLES, "nurture_sends": nurture_sends}


_FEW = 10_000  # SQLite may take no more than 32,766 values in a statement


class FrameInvalid(AicmoError):
    """A frame breaks its contract; names stage, campaign and rules with counts, never a value."""


def replace_frame(
    connection: sa.Connection, stage: str, campaign: str, frame: pd.DataFrame
) -> None:
    """The campaign's rows of `stage`, one of `FRAME_TABLES`, are those of `frame` and no others.

    Raises:
        FrameInvalid: If `frame` is not valid; the transaction must not be committed then.
    """
    with replacing(connection, stage, campaign) as put:
        put(frame)


@contextmanager
def replacing(
    connection: sa.Connection, stage: str, campaign: str
) -> Iterator[Callable[[pd.DataFrame], None]]:
    """The campaign's rows of `stage` are those of the frames that are put, and no others.

    Raises:
        FrameInvalid: If a frame is not valid; the transaction must not be committed then.
    """
    table = FRAME_TABLES[stage]
    connection.execute(table.delete().where(table.c.campaign == campaign))

    def put(frame: pd.DataFrame) -> None:
        add_rows(connection, stage, campaign, frame)

    yield put


def add_rows(connection: sa.Connection, stage: str, campaign: str, frame: pd.DataFrame) -> None:
    """The rows of `frame`, whose leads had none in `stage`, are among the campaign's.

    Raises:
        FrameInvalid: If `frame` is not valid; the transaction must not be committed then.
    """
    _require_valid(stage, campaign, frame)
    bulk_insert(connection, FRAME_TABLES[stage], frame, campaign=campaign)


def change_rows(connection: sa.Connection, stage: str, campaign: str, frame: pd.DataFrame) -> None:
    """The rows of `stage` of the leads in `frame` are those of `frame`; the others stay.

    Raises:
        FrameInvalid: If `frame` is not valid; the transaction must not be committed then.
    """
    columns = FRAME_TABLES[stage].c
    mine = (columns.campaign == campaign, columns.lead_id == sa.bindparam("lead"))
    if len(frame):
        leads = [{"lead": lead_id} for lead_id in frame["lead_id"].tolist()]
        connection.execute(sa.delete(FRAME_TABLES[stage]).where(*mine), leads)
        add_rows(connection, stage, campaign, frame)


def read_frame(
    connection: sa.Connection,
    stage: str,
    campaign: str,
    columns: Sequence[str] | None = None,
    *,
    lead_id: str | None = None,
    between: tuple[str, str] | None = None,
) -> pd.DataFrame:
    """The campaign's rows of `stage`, by lead, typed as its schema says.

    Args:
        connection: From `Database.read` or `Database.write`.
        stage: One of the five.
        campaign: The campaign's key.
        columns: Those wanted, in that order; all of the schema's unless given.
        lead_id: The lead wanted; all unless given.
        between: The first and the last lead wanted, in the database's order.
    """
    table = _TABLES[stage]
    names = list(dtypes(stage)) if columns is None else columns
    statement = (
        sa.select(*(table.c[name] for name in names))
        .where(table.c.campaign == campaign)
        .order_by(*(column for column in table.primary_key if column.name != "campaign"))
    )
    if lead_id is not None:
        statement = statement.where(table.c.lead_id == lead_id)
    if between is not None:
        statement = statement.where(table.c.lead_id.between(*between))
    return fetch_frame(connection, statement)


def read_chunks(
    connection: sa.Connection,
    stage: str,
    campaign: str,
    rows: int,
    columns: Sequence[str] | None = None,
) -> Iterator[pd.DataFrame]:
    """What `read_frame` gives, at most `rows` at a time; one empty frame where there is nothing.

    Args:
        connection: From `Database.read` or `Database.write`.
        stage: One of the first four, which have a row a lead.
        campaign: The campaign's key.
        rows: How many at once.
        columns: Those wanted, `lead_id` among them; all of the schema's unless given.
    """
    frame = read_after(connection, stage, campaign, "", rows, columns)
    yield frame
    while len(frame) == rows:
        last = frame["lead_id"].iloc[-1]
        frame = read_after(connection, stage, campaign, last, rows, columns)
        if len(frame):
            yield frame


def read_after(
    connection: sa.Connection,
    stage: str,
    campaign: str,
    after: str,
    rows: int,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """As one of `read_chunks`: the first `rows` behind the lead `after`; all are behind "".

    Whoever asks for one after the other may do something else between two transactions.
    """
    table = FRAME_TABLES[stage]
    names = list(dtypes(stage)) if columns is None else columns
    query = sa.select(*(table.c[name] for name in names)).where(
        table.c.campaign == campaign, table.c.lead_id > after
    )
    return fetch_frame(connection, query.order_by(table.c.lead_id).limit(rows))


def read_page(
    connection: sa.Connection,
    stage: str,
    campaign: str,
    limit: int,
    after: Sequence[str] | None = None,
) -> tuple[pd.DataFrame, list[str] | None]:
    """Up to `limit` rows of `stage` by lead, and what names the last of them if there may be more.

    Args:
        connection: From `Database.read`.
        stage: One of the five.
        campaign: The campaign's key.
        limit: How many rows at most.
        after: What named the last row of the page before; the first page without it.
    """
    table = _TABLES[stage]
    order = [column for column in table.primary_key if column.name != "campaign"]
    query = sa.select(*(table.c[name] for name in dtypes(stage))).where(
        table.c.campaign == campaign
    )
    if after is not None:
        query = query.where(sa.tuple_(*order) > sa.tuple_(*after))
    frame = fetch_frame(connection, query.order_by(*order).limit(limit))
    if len(frame) < limit:
        return frame, None
    return frame, [str(frame[column.name].iloc[-1]) for column in order]


def read_rows_of(
    connection: sa.Connection,
    stage: str,
    campaign: str,
    lead_ids: Collection[str],
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Like `read_frame`, of `lead_ids` alone; where they are many, of all and then of them."""
    if len(lead_ids) > _FEW:
        frame = read_frame(connection, stage, campaign, columns)
        return frame[frame["lead_id"].isin(list(lead_ids))].reset_index(drop=True)
    table = _TABLES[stage]
    names = list(dtypes(stage)) if columns is None else columns
    statement = (
        sa.select(*(table.c[name] for name in names))
        .where(table.c.campaign == campaign, table.c.lead_id.in_(lead_ids))
        .order_by(*(column for column in table.primary_key if column.name != "campaign"))
    )
    return fetch_frame(connection, statement)


def count_rows(connection: sa.Connection, stage: str, campaign: str, **holding: object) -> int:
    """How many rows of `stage` the campaign has, of those whose columns hold these values."""
    table = _TABLES[stage]
    alike = (table.c[name] == value for name, value in holding.items())
    statement = sa.select(sa.func.count()).where(table.c.campaign == campaign, *alike)
    return connection.execute(statement).scalar_one()


def count_by(
    connection: sa.Connection, stage: str, campaign: str, *names: str
) -> dict[tuple[Any, ...], int]:
    """What the columns `names` of `stage` hold together, to how many rows of the campaign do."""
    held = [_TABLES[stage].c[name] for name in names]
    statement = sa.select(*held, sa.func.count()).where(_TABLES[stage].c.campaign == campaign)
    rows = connection.execute(statement.group_by(*held))
    return {tuple(values): count for *values, count in rows}


def _require_valid(stage: str, campaign: str, frame: pd.DataFrame) -> None:
    broken = _broken_rules(stage, frame)
    if broken:
        rules = ", ".join(f"{rule} ({count})" for rule, count in broken.items())
        raise FrameInvalid(
            f"{stage} of campaign {campaign!r} breaks its rules, so nothing was stored; "
            f"rule (cases): {rules}"
        )


def _broken_rules(stage: str, frame: pd.DataFrame) -> dict[str, int]:
    """Broken rule, as ``column: rule``, to the number of its cases.

    Pandera's error holds the failing values, which are personal data: it stays in here.
    """
    try:
        SCHEMAS[stage].validate(frame, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases
        # What stands in brackets after a rule's name may be long, or a value.
        rules = cases["check"].astype(str).str.partition("(")[0]
        places = cases["column"].where(cases["column"].isin(list(dtypes(stage))), "frame")
        named = places.astype(str) + ": " + rules
        return {str(rule): int(count) for rule, count in named.value_counts().items()}
    return {}
