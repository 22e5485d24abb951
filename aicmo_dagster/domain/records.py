"""The records of a harvest as they come in: each part normalised, what is no lead set aside.

A part's text is not kept, only what its fields say. What cannot be a lead is split off with the
name of the rule it broke, before anyone is merged: a good copy of a person must not go with a bad
one.

Not here: how a field is read (`normalise`, `quantities`), who is who (`identity`).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import pyarrow
import pyarrow.compute as pc

from aicmo_dagster.domain import normalise, quantities
from aicmo_dagster.domain.identity import Claims, claims_of, identities
from aicmo_dagster.domain.schemas import dtypes

ORIGIN = "origin"
"""The column that says what gave a record: its source, or the provider that answered."""

INTAKE_MAKES = frozenset({"address_kind", "sources", "origins", "first_seen_at", "last_seen_at"})
"""The columns of a lead that no record has."""

_READERS: dict[str, Callable[[pyarrow.Array], pyarrow.Array]] = {
    "email": normalise.addresses,
    "seniority": normalise.given_seniorities,
    "linkedin_url": normalise.linkedin_urls,
    "domain": normalise.domains,
    "employees": quantities.wholes,
    "annual_revenue": quantities.reals,
    "technologies": normalise.technologies,
    "founded_year": quantities.years,
    "country": normalise.countries,
    "timezone": normalise.zones,
    "visits": quantities.wholes,
    "last_engaged_at": quantities.instants,
}
"""How each field is read, once it is clean text; the others stay as they are then."""

SCHEMA = pyarrow.schema(
    [(n, dtype.pyarrow_dtype) for n, dtype in dtypes("raw_leads").items() if n not in INTAKE_MAKES]
    + [(ORIGIN, pyarrow.string())]
)
"""The columns of a record."""

_READ_ALREADY = ("won", "won_at")
_PLACE = {"source": pyarrow.string(), "file": pyarrow.string(), "row": pyarrow.int64()}


@dataclass(frozen=True)
class Read:
    """What some rows of a harvest say.

    Args:
        records: A row for each that may be a lead, as `SCHEMA` says; `lead_id` where it is known.
        claims: Who they say they are.
        rejects: `source`, `file`, `row`, `reason` and `content` of each row that is no lead.
    """

    records: pyarrow.Table
    claims: Claims
    rejects: pd.DataFrame


def read_rows(rows: pd.DataFrame, campaign: str) -> Read:
    """What `rows` say, each of them among the records or among the rejects.

    Args:
        rows: What a source gave, as `sources` describes it; with `lead_id` where it is known.
            An answer has no `source`: its `file` is the provider that gave it.
        campaign: The campaign's key.
    """
    records = _normalised(rows)
    identified = identities(records)
    reasons = _reasons(rows, records, identified)
    accepted = reasons.is_null()
    if not pc.all(accepted).as_py():
        records = records.filter(accepted)
        identified = {kind: values.filter(accepted) for kind, values in identified.items()}
    return Read(records, claims_of(identified, campaign), _rejects(rows, reasons))


def text_rows(given: Sequence[Mapping[str, str]], **shared: str) -> pd.DataFrame:
    """A row of text for each of `given`, and what all `shared` is, numbered from 1 on as `row`."""
    names = sorted(set[str]().union(*given))
    kind = pyarrow.struct([(name, pyarrow.string()) for name in names])
    columns = dict(zip(names, pyarrow.array(given, kind).flatten(), strict=True))
    columns |= {
        name: pyarrow.repeat(pyarrow.scalar(value, pyarrow.string()), len(given))
        for name, value in shared.items()
    }
    frame = pyarrow.table(columns).to_pandas(types_mapper=pd.ArrowDtype)
    return frame.assign(row=range(1, len(given) + 1))


def _normalised(rows: pd.DataFrame) -> pyarrow.Table:
    """Every field of a lead that a record may have, each value in its one spelling."""
    columns = {}
    for name, kind in zip(SCHEMA.names, SCHEMA.types, strict=True):
        if name == ORIGIN:
            continue
        if name in _READ_ALREADY:
            values = _given(rows, name, kind)
        elif name == "custom":
            values = pc.fill_null(normalise.text_array(rows.get(name), len(rows)), "{}")
        else:
            text = normalise.texts(normalise.text_array(rows.get(name), len(rows)))
            values = _READERS[name](text) if name in _READERS else text
        columns[name] = values.cast(kind)
    provider = normalise.texts(normalise.text_array(rows.get("file"), len(rows)))
    columns[ORIGIN] = pc.coalesce(columns["source"], provider, "")
    return pyarrow.table(columns, SCHEMA)


def _given(rows: pd.DataFrame, name: str, kind: pyarrow.DataType) -> pyarrow.Array:
    """A column that holds what it says already."""
    if name not in rows:
        return pyarrow.nulls(len(rows), kind)
    values = pyarrow.array(rows[name], from_pandas=True)
    return values.combine_chunks() if isinstance(values, pyarrow.ChunkedArray) else values


def _reasons(
    rows: pd.DataFrame, given: pyarrow.Table, identified: dict[str, pyarrow.Array]
) -> pyarrow.Array:
    """The rule that each row breaks; missing where it is a lead."""
    written = normalise.texts(normalise.text_array(rows.get("email"), len(rows)))
    not_address = pc.and_(written.is_valid(), given["email"].combine_chunks().is_null())
    nobody = pc.is_null(pc.coalesce(*identified.values()))
    nothing = pyarrow.scalar(None, pyarrow.string())
    return pc.if_else(
        not_address, "email: not an address", pc.if_else(nobody, "no identity", nothing)
    )


def _rejects(rows: pd.DataFrame, reasons: pyarrow.Array) -> pd.DataFrame:
    refused = rows[reasons.is_valid().to_numpy(zero_copy_only=False)]
    columns: dict[str, pyarrow.Array] = {}
    for name, kind in _PLACE.items():
        columns[name] = _given(refused, name, kind).cast(kind)
    fields = refused.drop(columns=list(_PLACE), errors="ignore")
    table = {str(n): pyarrow.array(column, from_pandas=True) for n, column in fields.items()}
    contents = [
        json.dumps(_content(row), ensure_ascii=False, default=str)
        for row in pyarrow.table(table).to_pylist()
    ]
    columns["reason"] = reasons.drop_null()
    columns["content"] = pyarrow.array(contents, pyarrow.string())
    return pyarrow.table(columns).to_pandas(types_mapper=pd.ArrowDtype)


def _content(row: dict[str, object]) -> dict[str, object]:
    """What stands in a row, custom fields as what they are."""
    held = {name: value for name, value in row.items() if value is not None}
    if isinstance(custom := held.get("custom"), str):
        held["custom"] = json.loads(custom)
    return held
