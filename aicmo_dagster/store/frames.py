"""The stages' frames in their tables: validated, replaced and read as a whole.

Not here: what a valid frame is (`domain.schemas`), or the ledger's single sends (`ledger`).
"""

from collections.abc import Collection, Sequence

import pandas as pd
import sqlalchemy as sa
from pandera.errors import SchemaErrors

from aicmo_dagster.domain.schemas import SCHEMAS, dtypes
from aicmo_dagster.errors import AicmoError
from aicmo_dagster.store.database import bulk_insert, fetch_frame
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
        FrameInvalid: If `frame` is not valid; nothing is written then.
    """
    table = FRAME_TABLES[stage]
    broken = _broken_rules(stage, frame)
    if broken:
        rules = ", ".join(f"{rule} ({count})" for rule, count in broken.items())
        raise FrameInvalid(
            f"{stage} of campaign {campaign!r} breaks its rules, so nothing was stored; "
            f"rule (cases): {rules}"
        )
    connection.execute(table.delete().where(table.c.campaign == campaign))
    bulk_insert(connection, table, frame, campaign=campaign)


def read_frame(
    connection: sa.Connection,
    stage: str,
    campaign: str,
    columns: Sequence[str] | None = None,
    *,
    lead_id: str | None = None,
) -> pd.DataFrame:
    """The campaign's rows of `stage`, by lead, typed as its schema says.

    Args:
        connection: From `Database.read` or `Database.write`.
        stage: One of the five.
        campaign: The campaign's key.
        columns: Those wanted, in that order; all of the schema's unless given.
        lead_id: The lead wanted; all unless given.
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
    return fetch_frame(connection, statement)


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


def count_rows(connection: sa.Connection, stage: str, campaign: str) -> int:
    """How many rows of `stage` the campaign has."""
    table = _TABLES[stage]
    statement = sa.select(sa.func.count()).where(table.c.campaign == campaign)
    return connection.execute(statement).scalar_one()


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
