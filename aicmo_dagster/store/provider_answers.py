"""What providers answered about people: the cache of what was paid for, over all campaigns.

An answer is kept for each lead it serves, so that a lead's fields can be traced to it; for a lead
that it serves from the cache it says so. People are known by keyed hash (`tokens.person_key`): the
one that they were asked about by, and aliases, by which the answer shows that they are known too.

Not here: the calls that brought the answers, and what they cost in sum (`provider_calls`).
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from aicmo_dagster.store.prepared import PreparedInsert
from aicmo_dagster.store.tables import person_aliases, provider_answers

_CHUNK = 10_000  # SQLite may take no more than 32,766 values in a statement
_COLUMNS = provider_answers.c
_KEY = [column.name for column in provider_answers.primary_key]
_key = attrgetter(*_KEY)
_ALIASES = person_aliases.c

# Built once: there is a call for every few leads, and building costs more than executing.
_NEWEST_LAST = (
    sa.select(provider_answers)
    .where(
        _COLUMNS.provider == sa.bindparam("of_provider"),
        _COLUMNS.person_key.in_(sa.bindparam("people", expanding=True)),
        _COLUMNS.answered_at >= sa.bindparam("from_then"),
    )
    .order_by(_COLUMNS.answered_at, _COLUMNS.cached.desc())
)
_STANDS_FOR = sa.select(_ALIASES.alias, _ALIASES.person_key).where(
    _ALIASES.provider == sa.bindparam("of_provider"),
    _ALIASES.alias.in_(sa.bindparam("people", expanding=True)),
)


@dataclass(frozen=True)
class Answer:
    """What a provider answered about a person, kept for one lead.

    Args:
        campaign: Of the lead.
        lead_id: Whom it serves.
        provider: Who answered.
        person_key: Whom it is about.
        answer: The fields it gave.
        status: What the provider says of the address, or why there is none.
        usable: Whether the address may be written to.
        credits: What it cost when it was asked for.
        answered_at: When it was asked for.
        cached: Whether it had been paid for before, for another lead.
    """

    campaign: str
    lead_id: str
    provider: str
    person_key: str
    answer: dict[str, Any]
    status: str
    usable: bool
    credits: float
    answered_at: datetime
    cached: bool = False


def put_answers(connection: sa.Connection, answers: Iterable[Answer]) -> None:
    """Each answer is kept for its lead, unless one as new about the same person is kept already.

    To serve another lead from the cache, put what `fresh_answers` gave once more, with that lead
    and ``cached=True``; with its own lead it changes nothing.
    """
    rows = {_key(answer): _row(answer) for answer in sorted(answers, key=_answered_at)}
    if not rows:
        return
    # In one order always, so that two workers do not wait for each other.
    _PUT_UNLESS_OLDER.execute(connection, [rows[key] for key in sorted(rows)])


def _put_unless_older(dialect_name: str) -> sa.Insert:
    statement = (postgresql if dialect_name == "postgresql" else sqlite).insert(provider_answers)
    return statement.on_conflict_do_update(
        index_elements=_KEY,
        set_={c.name: statement.excluded[c.name] for c in _COLUMNS if c.name not in _KEY},
        where=statement.excluded.answered_at > _COLUMNS.answered_at,
    )


_PUT_UNLESS_OLDER = PreparedInsert(_put_unless_older)


def put_aliases(connection: sa.Connection, provider: str, aliases: Mapping[str, str]) -> None:
    """Whoever is asked about by an alias is found by what it stands for: alias to person key.

    Where two bear one alias it stands for the same of them, whoever came first.
    """
    rows = [
        {"provider": provider, "alias": alias, "person_key": aliases[alias]}
        for alias in sorted(aliases)
    ]
    if rows:
        _PUT_UNLESS_LATER.execute(connection, rows)


def _put_unless_later(dialect_name: str) -> sa.Insert:
    statement = (postgresql if dialect_name == "postgresql" else sqlite).insert(person_aliases)
    return statement.on_conflict_do_update(
        index_elements=[_ALIASES.provider, _ALIASES.alias],
        set_={"person_key": statement.excluded.person_key},
        where=statement.excluded.person_key < _ALIASES.person_key,
    )


_PUT_UNLESS_LATER = PreparedInsert(_put_unless_later)


def fresh_answers(
    connection: sa.Connection, person_keys: Collection[str], *, provider: str, since: datetime
) -> dict[str, Answer]:
    """Person key to the newest answer of `provider` from `since` on, asked for by any campaign."""
    keys = sorted(set(person_keys))
    found = _answers_of(connection, keys, provider, since)
    meant = _meant(connection, [key for key in keys if key not in found], provider)
    theirs = _answers_of(connection, sorted(set(meant.values())), provider, since)
    return found | {key: theirs[own] for key, own in meant.items() if own in theirs}


def _answers_of(
    connection: sa.Connection, keys: list[str], provider: str, since: datetime
) -> dict[str, Answer]:
    found: dict[str, Answer] = {}
    for chunk in _chunks(keys):
        values = {"of_provider": provider, "people": chunk, "from_then": since}
        rows = connection.execute(_NEWEST_LAST, values).mappings()
        found |= {row["person_key"]: _answer(row) for row in rows}
    return found


def _meant(connection: sa.Connection, keys: list[str], provider: str) -> dict[str, str]:
    """What those of `keys` that are aliases stand for."""
    meant: dict[str, str] = {}
    for chunk in _chunks(keys):
        values = {"of_provider": provider, "people": chunk}
        meant |= dict(connection.execute(_STANDS_FOR, values).all())
    return meant


def _chunks(keys: list[str]) -> Iterator[list[str]]:
    return (keys[start : start + _CHUNK] for start in range(0, len(keys), _CHUNK))


def answers_of_lead(connection: sa.Connection, campaign: str, lead_id: str) -> list[Answer]:
    """Every answer that serves the lead, oldest first."""
    query = (
        sa.select(provider_answers)
        .where(_COLUMNS.campaign == campaign, _COLUMNS.lead_id == lead_id)
        .order_by(_COLUMNS.answered_at, _COLUMNS.provider, _COLUMNS.person_key)
    )
    return [_answer(row) for row in connection.execute(query).mappings()]


def _answered_at(answer: Answer) -> tuple[datetime, bool]:
    return answer.answered_at, not answer.cached


def _row(answer: Answer) -> dict[str, Any]:
    # In ASCII: JSON may carry half a surrogate pair, which neither engine stores.
    return vars(answer) | {"answer": json.dumps(answer.answer)}


def _answer(row: sa.RowMapping) -> Answer:
    return Answer(**{**row, "answer": json.loads(row["answer"])})
