"""Records of the same people merged into leads, one row a person, column by column.

Of several records of one person the stronger wins, field by field, where it has a value, and of
equals the later (`precedence`); each field's source is remembered (`provenance`).

Not here: who is the same person (`identity`), or which leads a harvest holds (`intake`).
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow
import pyarrow.compute as pc

from aicmo_dagster.domain import normalise, quantities
from aicmo_dagster.domain.addresses import address_kinds
from aicmo_dagster.domain.identity import Codes
from aicmo_dagster.domain.provenance import SEPARATOR, Mask, Origins, Patterns, origins_of
from aicmo_dagster.domain.records import INTAKE_MAKES, ORIGIN
from aicmo_dagster.domain.schemas import dtypes

Columns = dict[str, pyarrow.Array]

_DERIVED = {
    "domain": ("email", normalise.address_domains),
    "seniority": ("title", normalise.told_seniorities),
}
"""Field to what it follows from, and how, where nobody states it."""

_NEEDED = {"source", *_DERIVED, *(base for base, _ in _DERIVED.values())}
"""The fields whose sources are told from, or told late."""

_NOTHING = "{}"
"""Custom fields where there are none."""

_KINDS = {name: dtype.pyarrow_dtype for name, dtype in dtypes("raw_leads").items()}


@dataclass(frozen=True)
class Groups:
    """Records by lead.

    Args:
        leads: The lead ids in order.
        order: The records, lead by lead, each lead's in the order they came.
        starts: Where in `order` the records of each lead begin.
    """

    leads: pyarrow.Array
    order: Codes
    starts: Codes

    def winners(self, held: Mask | None, strength: Codes | None) -> Codes:
        """The strongest record of each lead, the last of equals, of those that `held` names.

        Args:
            held: The records that have a value; all unless given.
            strength: How strong each is; all are equals unless given.

        Returns:
            The position of the record; -1 where none is held.
        """
        if not len(self.starts):
            return self.starts
        count = len(self.order)
        keys = np.arange(count)
        if strength is not None:
            keys += (strength - strength.min())[self.order] * count
        if held is not None:
            keys[~held[self.order]] = -1
        best = np.maximum.reduceat(keys, self.starts)
        return np.where(best < 0, -1, self.order[best % count])

    def any(self, mask: Mask) -> Mask:
        """Whether `mask` holds for a record of each lead."""
        if not len(self.starts):
            return np.zeros(0, bool)
        return np.logical_or.reduceat(mask[self.order], self.starts)

    def mixed(self, values: pyarrow.Array, held: Mask) -> Codes:
        """The places of the leads whose records, of those that `held` names, differ in `values`."""
        sizes = np.diff(self.starts, append=len(self.order))
        several = np.flatnonzero(sizes > 1)
        if not len(several):
            return several
        members = self.order[np.repeat(sizes > 1, sizes)]
        starts = np.cumsum(sizes[several]) - sizes[several]
        told = values.take(pyarrow.array(members)).dictionary_encode()
        codes, absent = told.indices.to_numpy().astype(np.int64), ~held[members]
        most = np.maximum.reduceat(np.where(absent, -1, codes), starts)
        least = np.minimum.reduceat(np.where(absent, len(members), codes), starts)
        return several[least < most]

    def members(self, leads: Codes) -> Iterator[Codes]:
        """The records of each of the leads at these places, in the order they came."""
        ends = np.append(self.starts, len(self.order))
        for lead in leads.tolist():
            yield self.order[ends[lead] : ends[lead + 1]]


def groups_of(lead_ids: pyarrow.Array) -> Groups:
    """The records whose leads `lead_ids` are, by lead."""
    encoded = lead_ids.dictionary_encode()
    by_id = pc.sort_indices(encoded.dictionary)
    ranks = np.empty(len(by_id), np.int64)
    ranks[by_id.to_numpy()] = np.arange(len(by_id))
    codes = ranks[encoded.indices.to_numpy()]
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    return Groups(encoded.dictionary.take(by_id), order, starts)


def merge(again: Columns, records: Columns, now: datetime) -> Columns:
    """One row a lead, in order of `lead_id`.

    Args:
        again: The leads so far that are among them, under the ids they go by now, earlier first.
        records: What the sources gave, in that order, with `ORIGIN` and the `lead_id` of each.
        now: The instant of the harvest.
    """
    groups = groups_of(pyarrow.concat_arrays([again["lead_id"], records["lead_id"]]))
    given = records[ORIGIN]
    origins = origins_of(again["source"], again["origins"], given)
    stated = _without_derived(again, origins)
    merging = _Merging(groups, origins)
    columns: Columns = {"lead_id": groups.leads}
    # Its source first, since the other fields are told from it where theirs is another.
    for name in ("source", *(n for n in _KINDS if n not in {"source", "lead_id", *INTAKE_MAKES})):
        values = pyarrow.concat_arrays([stated[name], records[name]])
        columns[name] = merging.custom(values) if name == "custom" else merging.field(name, values)
    for name, (base, derive) in _DERIVED.items():
        columns[name] = merging.derived(name, columns[name], base, derive(columns[base]))
    columns["sources"] = _united(groups, again["sources"], given)
    columns["origins"] = merging.origins()
    columns["address_kind"] = address_kinds(columns["email"])
    columns |= _seen(groups, again["first_seen_at"], len(given), now)
    return {name: columns[name].cast(kind) for name, kind in _KINDS.items()}


def differing(columns: Columns, before: Columns, at: Codes) -> Mask:
    """Which rows of `columns` say anything else than the row `at` of `before` did.

    Args:
        columns: Leads.
        before: Leads as they were.
        at: The place among them of each of `columns`.
    """
    places = pyarrow.array(at)
    found = np.zeros(len(at), bool)
    for name, values in columns.items():
        if name != "last_seen_at":
            earlier = before[name].take(places)
            same = pc.fill_null(pc.equal(values, earlier), fill_value=False)
            neither = pc.and_(values.is_null(), earlier.is_null())
            found |= pc.invert(pc.or_(same, neither)).to_numpy(zero_copy_only=False)
    return found


class _Merging:
    """The fields of leads, merged one by one, and the source of each."""

    def __init__(self, groups: Groups, origins: Origins) -> None:
        self._groups = groups
        self._origins = origins
        self._patterns = Patterns(len(groups.leads))
        self._sources: dict[str, Codes] = {}

    def field(self, name: str, values: pyarrow.Array) -> pyarrow.Array:
        """The strongest value there is of each lead."""
        if values.null_count == len(values):
            return pyarrow.nulls(len(self._groups.leads), values.type)
        held = values.is_valid().to_numpy(zero_copy_only=False) if values.null_count else None
        winners = self._groups.winners(held, self._origins.strength(name))
        self._note(name, winners)
        return values.take(pyarrow.array(winners, mask=winners < 0))

    def custom(self, values: pyarrow.Array) -> pyarrow.Array:
        """Custom fields merged key by key, where the records of a lead differ in them."""
        held = pc.not_equal(values, _NOTHING).to_numpy(zero_copy_only=False)
        strength = self._origins.strength("custom")
        winners = self._groups.winners(held, strength)
        self._note("custom", winners)
        latest = pc.fill_null(values.take(pyarrow.array(winners, mask=winners < 0)), _NOTHING)
        mixed = self._groups.mixed(values, held)
        texts = []
        for members in self._groups.members(mixed):
            stated = [json.loads(values[member].as_py()) for member in members.tolist()]
            # In the order in which they came, so that what says nothing new changes no letter.
            fields: dict[str, object] = dict.fromkeys(key for each in stated for key in each)
            by_strength = range(len(stated))
            if strength is not None:
                by_strength = np.argsort(strength[members], kind="stable").tolist()
            for place in by_strength:
                fields |= stated[place]
            texts.append(json.dumps(fields, ensure_ascii=False))
        mask = np.zeros(len(latest), bool)
        mask[mixed] = True
        return pc.replace_with_mask(latest, pyarrow.array(mask), pyarrow.array(texts, latest.type))

    def derived(
        self, name: str, values: pyarrow.Array, base: str, derived: pyarrow.Array
    ) -> pyarrow.Array:
        """`values`, and where nothing is stated what follows from `base`, whose source it has."""
        if base in self._sources:
            follows = pc.and_(values.is_null(), derived.is_valid()).to_numpy(zero_copy_only=False)
            own = self._sources.get(name, np.int64(-1))
            self._sources[name] = np.where(follows, self._sources[base], own)
        return pc.coalesce(values, derived)

    def origins(self) -> pyarrow.Array:
        """Field to its source, of each lead's fields that are from another than its own."""
        for name in _DERIVED:
            self._tell(name)
        return self._patterns.as_objects()

    def _note(self, name: str, winners: Codes) -> None:
        """The field is taken from the records `winners`; -1 where there is none."""
        if len(self._origins.names) < 2:
            return
        sources = np.where(winners < 0, -1, self._origins.of(name)[winners])
        if name in _NEEDED:
            self._sources[name] = sources
        if name not in _DERIVED:
            self._tell(name, sources)

    def _tell(self, name: str, sources: Codes | None = None) -> None:
        """The sources of a field are told where they are not the lead's own."""
        told = self._sources.get(name) if sources is None else sources
        if told is not None:
            other = np.where(told == self._sources["source"], -1, told)
            self._patterns.add(name, self._origins.names, other)


def _without_derived(leads: Columns, origins: Origins) -> Columns:
    """`leads` without what follows from other fields, so that it follows those when they change."""
    stated = dict(leads)
    for name, (base, derive) in _DERIVED.items():
        values = leads[name]
        other = pc.fill_null(pc.not_equal(values, derive(leads[base])), fill_value=True)
        told = origins.of(name)[: len(values)] != origins.of(base)[: len(values)]
        nothing = pyarrow.scalar(None, values.type)
        stated[name] = pc.if_else(pc.or_(other, pyarrow.array(told)), values, nothing)
    return stated


def _united(groups: Groups, sources: pyarrow.Array, given: pyarrow.Array) -> pyarrow.Array:
    """Every source of each lead, sorted, of leads that had `sources` and records `given` by one."""
    encoded = pyarrow.concat_arrays([sources, given]).dictionary_encode()
    lists = [text.split(SEPARATOR) for text in encoded.dictionary.to_pylist()]
    codes = encoded.indices.to_numpy()
    patterns = Patterns(len(groups.leads))
    for name in sorted({name for names in lists for name in names}):
        held = np.array([name in names for names in lists])[codes]
        patterns.add(name, [name], np.where(groups.any(held), 0, -1))
    return patterns.as_lists()


def _seen(groups: Groups, first: pyarrow.Array, records: int, now: datetime) -> Columns:
    """When each lead was seen first and last, of leads first seen so and new `records`."""
    instant = pyarrow.scalar(now, quantities.INSTANT)
    never = np.iinfo(np.int64).max
    ticks = pc.fill_null(first.cast(pyarrow.int64()), never).to_numpy()
    moments = np.append(ticks, np.full(records, instant.cast(pyarrow.int64()).as_py()))
    earliest = np.minimum.reduceat(moments[groups.order], groups.starts) if len(moments) else ticks
    return {
        "first_seen_at": pyarrow.array(earliest).cast(quantities.INSTANT),
        "last_seen_at": pyarrow.repeat(instant, len(groups.leads)),
    }
