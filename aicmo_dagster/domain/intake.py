"""From what the sources gave to the campaign's leads: normalised, valid, one row a person.

Not here: how records are read (`records`), who is who (`identity`), how the records of one person
become one row (`merging`), storing any of it (`store`).
"""

from dataclasses import dataclass
from datetime import datetime

import pandas as pd
import pyarrow
import pyarrow.compute as pc

from aicmo_dagster.domain.addresses import address_kinds
from aicmo_dagster.domain.identity import find_people
from aicmo_dagster.domain.merging import Columns, differing, merge
from aicmo_dagster.domain.records import read_rows
from aicmo_dagster.domain.schemas import dtypes, typed


@dataclass(frozen=True)
class Counts:
    """What became of the rows of a harvest, or of a part: each is a reject, merged, or a lead seen.

    Args:
        merged: How many rows went into another row's lead.
        seen: How many leads this harvest held.
        new: How many of those there were not before.
        changed: How many of those that there were are not as before, but for when they were seen.
        kept: How many leads it did not hold, which stay as they were.
    """

    merged: int = 0
    seen: int = 0
    new: int = 0
    changed: int = 0
    kept: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        """Of both parts together."""
        return Counts(**{name: count + getattr(other, name) for name, count in vars(self).items()})

    @property
    def unchanged(self) -> int:
        """How many of the leads seen are as before, but for when they were seen."""
        return self.seen - self.new - self.changed


@dataclass(frozen=True)
class Intake:
    """What a harvest makes of a campaign.

    Args:
        leads: All leads of the campaign as a `raw_leads` frame, in order of `lead_id`.
        rejects: `source`, `file`, `row`, `reason` and `content` of each row that is no lead.
        aliases: `alias` and `lead_id` of every identity that is new, or that leads to another lead
            now because two turned out to be one person.
        counts: What became of the rows.
    """

    leads: pd.DataFrame
    rejects: pd.DataFrame
    aliases: pd.DataFrame
    counts: Counts


def intake(
    rows: pd.DataFrame,
    *,
    campaign: str,
    known: pd.DataFrame,
    previous: pd.DataFrame,
    now: datetime,
) -> Intake:
    """The campaign's leads after a harvest of `rows`, which `read_rows` describes, all at once.

    Args:
        rows: What the sources gave.
        campaign: The campaign's key.
        known: `alias` and `lead_id` of everyone met before.
        previous: The campaign's leads so far.
        now: The instant of the harvest.
    """
    read = read_rows(rows, campaign)
    people = find_people(read.claims, read.records.num_rows, known)
    before = lead_columns(previous)
    records = columns_of(read.records) | {"lead_id": people.lead_ids}
    leads, counts = take_in(before, people.now_of(before["lead_id"]), records, now)
    return Intake(leads, read.rejects, people.aliases, counts)


def take_in(
    before: Columns, met: pyarrow.Array, records: Columns, now: datetime
) -> tuple[pd.DataFrame, Counts]:
    """Leads after a harvest, in order of `lead_id`, and what became of the records.

    Of several records of one person the stronger source wins, field by field, where it has a value,
    and of equals the later record; what the campaign already held is the earliest of them. It may
    be asked of some leads at a time: of those, and of those that they were, everything is needed.

    Args:
        before: Leads so far, from `lead_columns`.
        met: The lead that each of them is now, if this harvest holds it.
        records: What the sources gave, in that order: the columns that `read_rows` gives, with the
            lead that each turned out to be of.
        now: The instant of the harvest.
    """
    seen = merge(_met_again(before, met), records, now)
    at = pc.index_in(seen["lead_id"], value_set=before["lead_id"])
    there = at.is_valid()
    changed = differing(_filtered(seen, there), before, at.drop_null().to_numpy()).sum()
    counts = Counts(
        merged=len(records["lead_id"]) - len(at),
        seen=len(at),
        new=at.null_count,
        changed=int(changed),
        kept=met.null_count,
    )
    return _leads(seen, _filtered(before, met.is_null())), counts


def columns_of(table: pyarrow.Table) -> Columns:
    """The columns of `table` as Arrow arrays."""
    return {name: table[name].combine_chunks() for name in table.column_names}


def _met_again(before: Columns, met: pyarrow.Array) -> Columns:
    """The leads so far that this harvest holds, under the ids they go by now, earlier first.

    Args:
        before: The leads so far.
        met: The lead that each of them is now, if this harvest holds it.
    """
    again = _filtered(before, met.is_valid()) | {"lead_id": met.drop_null()}
    if pc.count_distinct(again["lead_id"]).as_py() == len(again["lead_id"]):
        return again
    earlier_first = pc.sort_indices(
        pyarrow.table({name: again[name] for name in ("last_seen_at", "first_seen_at")}),
        sort_keys=[("last_seen_at", "ascending"), ("first_seen_at", "descending")],
    )
    return {name: values.take(earlier_first) for name, values in again.items()}


def _leads(seen: Columns, kept: Columns) -> pd.DataFrame:
    """All leads in order of their ids."""
    if not len(kept["lead_id"]):
        return _frame(seen)
    kept = kept | {"address_kind": address_kinds(kept["email"])}
    order = pc.sort_indices(pyarrow.concat_arrays([seen["lead_id"], kept["lead_id"]]))
    both = {
        name: pyarrow.concat_arrays([seen.pop(name), kept.pop(name)]).take(order)
        for name in list(seen)
    }
    return _frame(both)


def lead_columns(frame: pd.DataFrame) -> Columns:
    """The columns of a `raw_leads` frame as Arrow arrays; all of them, even of an empty one."""
    columns = {}
    for name, dtype in dtypes("raw_leads").items():
        kind = dtype.pyarrow_dtype
        if name not in frame:
            columns[name] = pyarrow.nulls(len(frame), kind)
            continue
        values = pyarrow.array(frame[name], from_pandas=True)
        whole = values.combine_chunks() if isinstance(values, pyarrow.ChunkedArray) else values
        columns[name] = whole.cast(kind)
    return columns


def _filtered(columns: Columns, mask: pyarrow.Array) -> Columns:
    """The rows for which `mask` holds."""
    if pc.all(mask).as_py():
        return dict(columns)
    return {name: values.filter(mask) for name, values in columns.items()}


def _frame(columns: Columns) -> pd.DataFrame:
    frame = pyarrow.table(columns).to_pandas(types_mapper=pd.ArrowDtype)
    return typed("raw_leads", {str(name): column for name, column in frame.items()})
