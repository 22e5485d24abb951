"""Conditions spelled so that SQLite sees that an index with the same condition will do.

Not here: the indexes (`tables`).
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

MOST_LISTED = 2
"""Values in a condition of an index beyond which SQLite makes a table of them for each row that it
writes: that would cost more than writing the row."""


def constant(value: str | float) -> sa.ColumnElement[Any]:
    """`value`, one of our own, written out where it stands in a statement.

    As a parameter it would be looked at for the sake of the partial indexes, and SQLite would plan
    the statement anew at each execution, which takes longer than most of them.
    """
    if isinstance(value, str):
        return sa.literal_column(f"'{value}'", sa.Text())
    if isinstance(value, int):
        return sa.literal_column(str(value), sa.Integer())
    return sa.literal_column(repr(value), sa.Double())


def one_of(
    column: sa.ColumnElement[Any], *values: str | sa.ColumnElement[Any]
) -> sa.ColumnElement[bool]:
    """`column` is one of `values`, more than `MOST_LISTED`, as conditions of indexes spell it."""
    return sa.or_(*(column == value for value in values))


def written_out(column: sa.ColumnElement[Any], values: Sequence[str]) -> sa.ColumnElement[bool]:
    """`column` is one of `values`, which stand in the statement itself and not beside it.

    SQLite takes a partial index only if it can see that its condition holds: the values of a longer
    list stand in the same order there as here, which is that of the alphabet.
    """
    if len(values) > MOST_LISTED:
        return one_of(column, *map(constant, sorted(values)))
    return column.in_([constant(value) for value in values])
