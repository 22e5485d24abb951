"""From what the sources gave to the campaign's leads: normalised, valid, one row a person.

What cannot be a lead is split off with the name of the rule it broke, before duplicates are merged:
a good copy of a person must not go with a bad one. Not here: how a field is read (`normalise`,
`quantities`), who is who (`identity`), storing any of it (`store`).
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.compute as pc

from aicmo_dagster.domain import normalise, quantities
from aicmo_dagster.domain.identity import Codes, People, find_people, identities
from aicmo_dagster.domain.schemas import dtypes, typed

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

_SEEN = ("first_seen_at", "last_seen_at")
_ORIGIN = {"source": pyarrow.string(), "file": pyarrow.string(), "row": pyarrow.int64()}


@dataclass(frozen=True)
class Intake:
    """What became of the rows of one harvest. Each row is a reject, was merged, or is a lead seen.

    Args:
        leads: All leads of the campaign as a `raw_leads` frame, in order of `lead_id`.
        rejects: `source`, `file`, `row`, `reason` and `content` of each row that is no lead.
        aliases: `alias` and `lead_id` of every identity that is new, or that leads to another lead
            now because two turned out to be one person.
        merged: How many rows went into another row's lead.
        seen: How many leads this harvest held.
        kept: How many leads it did not hold, which stay as they were.
    """

    leads: pd.DataFrame
    rejects: pd.DataFrame
    aliases: pd.DataFrame
    merged: int
    seen: int
    kept: int


def intake(
    rows: pd.DataFrame,
    *,
    campaign: str,
    known: pd.DataFrame,
    previous: pd.DataFrame,
    now: datetime,
) -> Intake:
    """The campaign's leads after a harvest.

    Of several records of one person the later wins, field by field, where it has a value; what the
    campaign already held is the earliest of them.

    Args:
        rows: What the sources gave, as `sources` describes it; with `lead_id` where it is known.
        campaign: The campaign's key.
        known: `alias` and `lead_id` of everyone met before.
        previous: The campaign's leads so far.
        now: The instant of the harvest.
    """
    accepted = _normalised(rows)
    reasons = _reasons(rows, accepted)
    accepted = accepted.filter(reasons.is_null())
    people = find_people(accepted, campaign, known)
    again, kept = _met_again(previous, people)
    seen = _merge(pyarrow.concat_tables([again, _with_leads(accepted, people.lead_ids)]), now)
    leads = pyarrow.concat_tables([seen, kept]).sort_by("lead_id") if kept.num_rows else seen
    return Intake(
        leads=_frame(leads),
        rejects=_rejects(rows, reasons),
        aliases=people.aliases,
        merged=accepted.num_rows - seen.num_rows,
        seen=seen.num_rows,
        kept=kept.num_rows,
    )


def _normalised(rows: pd.DataFrame) -> pyarrow.Table:
    """Every column of a lead but when it was seen, each value in its one spelling.

    A row has an id where its source knows the lead already, as an answer to a question does.
    """
    columns = {}
    for name, dtype in dtypes("raw_leads").items():
        if name in _SEEN:
            continue
        if name in ("won", "won_at"):
            given = pyarrow.array(rows[name], from_pandas=True) if name in rows else None
            columns[name] = _nothing(len(rows), dtype) if given is None else given
        elif name == "custom":
            columns[name] = pc.fill_null(normalise.text_array(rows.get(name), len(rows)), "{}")
        else:
            text = normalise.texts(normalise.text_array(rows.get(name), len(rows)))
            columns[name] = _READERS[name](text) if name in _READERS else text
    return _typed(pyarrow.table(columns))


def _reasons(rows: pd.DataFrame, given: pyarrow.Table) -> pyarrow.Array:
    """The rule that each row breaks; missing where it is a lead."""
    written = normalise.texts(normalise.text_array(rows.get("email"), len(rows)))
    not_address = pc.and_(written.is_valid(), given["email"].combine_chunks().is_null())
    nobody = pc.is_null(pc.coalesce(*identities(given).values()))
    nothing = pyarrow.scalar(None, pyarrow.string())
    return pc.if_else(
        not_address, "email: not an address", pc.if_else(nobody, "no identity", nothing)
    )


def _rejects(rows: pd.DataFrame, reasons: pyarrow.Array) -> pd.DataFrame:
    refused = rows[reasons.is_valid().to_numpy(zero_copy_only=False)]
    columns: dict[str, pyarrow.Array] = {}
    for name, kind in _ORIGIN.items():
        values = pyarrow.array(refused[name]) if name in refused else pyarrow.nulls(len(refused))
        columns[name] = values.cast(kind)
    fields = _table(refused.drop(columns=list(_ORIGIN), errors="ignore")).to_pylist()
    contents = [json.dumps(_content(row), ensure_ascii=False, default=str) for row in fields]
    columns |= {
        "reason": reasons.drop_null(),
        "content": pyarrow.array(contents, pyarrow.string()),
    }
    return pyarrow.table(columns).to_pandas(types_mapper=pd.ArrowDtype)


def _content(row: dict[str, object]) -> dict[str, object]:
    """What stands in a row, custom fields as what they are."""
    held = {name: value for name, value in row.items() if value is not None}
    if isinstance(custom := held.get("custom"), str):
        held["custom"] = json.loads(custom)
    return held


def _met_again(previous: pd.DataFrame, people: People) -> tuple[pyarrow.Table, pyarrow.Table]:
    """The leads so far that this harvest holds, under the ids they go by now; and the others."""
    table = _typed(_table(previous))
    lead_ids = people.settled.take(pc.index_in(table["lead_id"], value_set=people.met))
    lead_ids = lead_ids.combine_chunks()
    again = _with_leads(table.filter(lead_ids.is_valid()), lead_ids.drop_null())
    again = again.sort_by([("last_seen_at", "ascending"), ("first_seen_at", "descending")])
    return _without_derived(again), table.filter(lead_ids.is_null())


def _without_derived(leads: pyarrow.Table) -> pyarrow.Table:
    """`leads` without what follows from other fields, so that it follows those when they change."""
    derived = {
        "domain": normalise.address_domains(leads["email"]),
        "seniority": normalise.told_seniorities(leads["title"].combine_chunks()),
    }
    for name, values in derived.items():
        stated = pc.fill_null(pc.not_equal(leads[name], values), fill_value=True)
        nothing = pyarrow.scalar(None, pyarrow.string())
        leads = _with(leads, name, pc.if_else(stated, leads[name], nothing))
    return leads


def _merge(records: pyarrow.Table, now: datetime) -> pyarrow.Table:
    """One row a lead from `records`, of which later ones win where they have a value."""
    leads = pc.unique(records["lead_id"]).sort()
    codes = pc.index_in(records["lead_id"], value_set=leads).to_numpy().astype(np.int64)
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    columns = {
        name: _latest(records[name].combine_chunks(), order, starts)
        for name in records.column_names
    }
    columns["custom"] = _merged_custom(records["custom"].combine_chunks(), order, starts)
    columns["domain"] = pc.coalesce(columns["domain"], normalise.address_domains(columns["email"]))
    columns["seniority"] = pc.coalesce(
        columns["seniority"], normalise.told_seniorities(columns["title"])
    )
    instant = pyarrow.scalar(now, quantities.INSTANT)
    first = _earliest(records["first_seen_at"].combine_chunks(), order, starts)
    columns["first_seen_at"] = pc.fill_null(first, instant)
    columns["last_seen_at"] = pyarrow.repeat(instant, len(leads))
    return _typed(pyarrow.table(columns))


def _latest(values: pyarrow.Array, order: Codes, starts: Codes) -> pyarrow.Array:
    """The last value there is in each group of `order`; the groups begin at `starts`."""
    if len(starts) == len(order):
        return values.take(pyarrow.array(order))
    held = values.is_valid().to_numpy(zero_copy_only=False)[order]
    last = np.maximum.reduceat(np.where(held, np.arange(len(order)), -1), starts)
    return values.take(pyarrow.array(order[last], mask=last < 0))


def _earliest(values: pyarrow.Array, order: Codes, starts: Codes) -> pyarrow.Array:
    """The least instant of each group."""
    never = np.iinfo(np.int64).max
    ticks = pc.fill_null(values.cast(pyarrow.int64()), never).to_numpy()[order]
    first = np.minimum.reduceat(ticks, starts) if len(starts) else ticks
    return pyarrow.array(first, mask=first == never).cast(values.type)


def _merged_custom(values: pyarrow.Array, order: Codes, starts: Codes) -> pyarrow.Array:
    """Custom fields merged key by key, where the records of a group differ in them."""
    latest = _latest(values, order, starts)
    codes = values.dictionary_encode().indices.to_numpy()[order]
    changes = np.diff(codes, prepend=codes[:1]) != 0
    changes[starts] = False
    groups = np.unique(np.searchsorted(starts, np.flatnonzero(changes), side="right") - 1)
    ends = np.append(starts, len(order))
    merged = []
    for group in groups:
        fields: dict[str, object] = {}
        for member in order[ends[group] : ends[group + 1]].tolist():
            fields |= json.loads(values[member].as_py())
        merged.append(json.dumps(fields, ensure_ascii=False))
    mask = np.zeros(len(starts), bool)
    mask[groups] = True
    return pc.replace_with_mask(latest, pyarrow.array(mask), pyarrow.array(merged, latest.type))


def _with_leads(table: pyarrow.Table, lead_ids: pyarrow.Array) -> pyarrow.Table:
    """`table` as records of these leads."""
    return _typed(_with(table, "lead_id", lead_ids))


def _with(table: pyarrow.Table, name: str, values: pyarrow.Array) -> pyarrow.Table:
    if name not in table.column_names:
        return table.append_column(name, values)
    return table.set_column(table.column_names.index(name), name, values)


def _typed(table: pyarrow.Table) -> pyarrow.Table:
    """`table` with the columns of a lead, all of them, in their order and types."""
    return pyarrow.table(
        {
            name: table[name].cast(dtype.pyarrow_dtype)
            if name in table.column_names
            else _nothing(table.num_rows, dtype)
            for name, dtype in dtypes("raw_leads").items()
        }
    )


def _nothing(length: int, dtype: pd.ArrowDtype) -> pyarrow.Array:
    return pyarrow.nulls(length, dtype.pyarrow_dtype)


def _table(frame: pd.DataFrame) -> pyarrow.Table:
    columns = {str(name): pyarrow.array(column, from_pandas=True) for name, column in frame.items()}
    return pyarrow.table(columns)


def _frame(leads: pyarrow.Table) -> pd.DataFrame:
    frame = leads.to_pandas(types_mapper=pd.ArrowDtype)
    return typed("raw_leads", {str(name): column for name, column in frame.items()})
