"""Who is who: the identities of rows, which of them are one person, and that person's lead id.

An alias and a lead id are the same kind of thing: a hash of the campaign and one identity. A
person's first alias is the lead id for good; later ones lead to it. Not here: merging (`intake`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow
import pyarrow.compute as pc

from aicmo_dagster.domain.normalise import text_array

_USED = (
    "lead_id",
    *("source", "email", "external_id", "linkedin_url"),
    *("first_name", "last_name", "company", "domain"),
)
_MARK = "\x1f"

_ALIAS = 20
"""The characters of an alias, of a hash in hexadecimal."""

_HEX = np.array([f"{octet:02x}" for octet in range(256)], "S2")

_KINDS = 8
"""More than there are kinds of identities."""

Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Claims:
    """Who some rows say they are: one claim for each identity of each row.

    Args:
        rows: The position of the row that makes the claim.
        kinds: The kind of the identity, the strongest being 0.
        aliases: The identity, hashed with the campaign.
    """

    rows: Codes
    kinds: npt.NDArray[np.int8]
    aliases: pyarrow.Array


@dataclass(frozen=True)
class People:
    """What is known of the persons behind some rows.

    Args:
        lead_ids: The lead of each row.
        aliases: `alias` and `lead_id` of what was not known so before: new, or moved by a merge.
        met: Every lead id by which one of these persons goes or went.
        settled: The lead that each of `met` is now.
    """

    lead_ids: pyarrow.Array
    aliases: pd.DataFrame
    met: pyarrow.Array
    settled: pyarrow.Array

    def now_of(self, lead_ids: pyarrow.Array) -> pyarrow.Array:
        """The lead that each of `lead_ids` is now; missing where it is none of these persons."""
        if not len(lead_ids):
            return lead_ids
        ends = pc.min_max(lead_ids)
        # A look-up table of all would be made anew for every part of them.
        near = pc.and_(
            pc.greater_equal(self.met, ends["min"]), pc.less_equal(self.met, ends["max"])
        )
        places = pc.index_in(lead_ids, value_set=self.met.filter(near))
        return self.settled.filter(near).take(places)


def identities(leads: pyarrow.Table) -> dict[str, pyarrow.Array]:
    """The value of each kind of identity, strongest kind first; missing where a row has none.

    A name counts only for want of anything better, since two people may share it.
    """
    given = {name: leads[name].combine_chunks() for name in _USED}
    types = pc.replace_substring_regex(given["source"], r"-[0-9]+$", "")
    names = (given["first_name"], given["last_name"])
    full_name = pc.coalesce(pc.binary_join_element_wise(*names, " "), *names)
    firm = pc.coalesce(given["domain"], given["company"])
    strong = {
        "lead": given["lead_id"],
        "address": given["email"],
        "external_id": pc.binary_join_element_wise(types, given["external_id"], ":"),
        "linkedin": given["linkedin_url"],
    }
    whole = pc.fill_null(pc.match_substring(full_name, " "), fill_value=False)
    used = pc.and_(whole, pc.is_null(pc.coalesce(*strong.values())))
    name = pc.utf8_lower(pc.binary_join_element_wise(full_name, firm, _MARK))
    return {**strong, "name": pc.if_else(used, name, pyarrow.scalar(None, pyarrow.string()))}


def claims_of(identified: dict[str, pyarrow.Array], campaign: str) -> Claims:
    """Every claim of rows with these `identities`.

    Args:
        identified: From `identities`.
        campaign: The campaign's key; the same person is another lead in another campaign.
    """
    rows, kinds, aliases = [], [], []
    for place, (kind, values) in enumerate(identified.items()):
        rows.append(np.flatnonzero(values.is_valid().to_numpy(zero_copy_only=False)))
        kinds.append(np.full(len(rows[-1]), place, np.int8))
        named = values.drop_null()
        # A lead's own id is an alias as it stands.
        aliases.append(named if kind == "lead" else _hashed(named, f"{campaign}{_MARK}{kind}"))
    return Claims(np.concatenate(rows), np.concatenate(kinds), pyarrow.concat_arrays(aliases))


def all_claims(parts: Sequence[Claims], sizes: Sequence[int]) -> Claims:
    """The claims of several parts of rows as those of all rows; `sizes` are the parts' rows."""
    if not parts:
        return claims_of({"lead": pyarrow.array([], pyarrow.string())}, "")
    offsets = np.cumsum([0, *sizes[:-1]])
    return Claims(
        np.concatenate([part.rows + start for part, start in zip(parts, offsets, strict=True)]),
        np.concatenate([part.kinds for part in parts]),
        pyarrow.concat_arrays([part.aliases for part in parts]),
    )


def find_people(claims: Claims, row_count: int, known: pd.DataFrame) -> People:
    """The persons behind rows, each of which makes a claim.

    Args:
        claims: What the rows say.
        row_count: How many rows there are.
        known: `alias` and `lead_id` of everyone met before.
    """
    known_alias, known_lead = (text_array(known.get(c), len(known)) for c in ("alias", "lead_id"))
    encoded = claims.aliases.dictionary_encode()
    before = known_lead.take(pc.index_in(encoded.dictionary, value_set=known_alias))
    # Rows meet in a node: a lead met before, whatever its alias, or an alias that is new.
    nodes = pc.coalesce(before, encoded.dictionary).dictionary_encode()
    indices = encoded.indices.to_numpy()
    node = nodes.indices.to_numpy()[indices]
    labels = _components(claims.rows, node, row_count, len(nodes.dictionary))
    is_new = before.is_null().to_numpy(zero_copy_only=False)[indices]
    strength = is_new.astype(np.int64) * _KINDS + claims.kinds
    lead_of_label = nodes.dictionary.take(
        pyarrow.array(_strongest(labels[claims.rows], strength, node, nodes.dictionary))
    )
    settled = lead_of_label.take(pyarrow.array(labels[row_count:]))
    lead_ids = lead_of_label.take(pyarrow.array(labels[:row_count]))
    own = _changed(encoded.dictionary, before, settled.take(nodes.indices))
    # Those met for the first time are among `own`, and so is each of their aliases.
    leads = np.zeros(len(nodes.dictionary), bool)
    leads[nodes.indices.filter(before.is_valid()).to_numpy()] = True
    then, now = (each.filter(pyarrow.array(leads)) for each in (nodes.dictionary, settled))
    news = _with_moved(own, known_alias, known_lead, then, now)
    return People(lead_ids, news, nodes.dictionary, settled)


def alias_of(campaign: str, kind: str, value: str) -> str:
    """The alias that everybody has who was ever met under an identity, as `identities` names it."""
    prefix = f"{campaign}{_MARK}{kind}"
    return _hashed(pyarrow.array([value], pyarrow.string()), prefix)[0].as_py()


def _hashed(values: pyarrow.Array, prefix: str) -> pyarrow.Array:
    """The alias of each value."""
    start = f"{prefix}{_MARK}".encode()
    # Nearly all differ, so nothing is won by looking for those that do not.
    octets = values.cast(pyarrow.binary()).to_pylist()
    digests = b"".join([sha256(start + each).digest() for each in octets])
    table = np.frombuffer(digests, np.uint8).reshape(len(values), sha256().digest_size)
    text = _HEX[table[:, : _ALIAS // 2]].tobytes()
    ends = np.arange(len(values) + 1, dtype=np.int32) * _ALIAS
    buffers = (pyarrow.py_buffer(ends), pyarrow.py_buffer(text))
    return pyarrow.StringArray.from_buffers(len(values), *buffers)


def _components(rows: Codes, nodes: Codes, row_count: int, node_count: int) -> Codes:
    """The number of the person behind each row, then behind each node."""
    # They take megabytes and a part of a second to import, and only intake needs them.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    size = row_count + node_count
    if not size:
        return np.empty(0, np.int64)
    links = coo_array((np.ones(len(rows), np.int8), (rows, row_count + nodes)), shape=(size, size))
    return connected_components(links, directed=False)[1].astype(np.int64)


def _strongest(labels: Codes, strength: Codes, nodes: Codes, names: pyarrow.Array) -> Codes:
    """The node of each label from 0 on that the strongest claim names, the first by its name.

    Args:
        labels: The person behind each claim.
        strength: How strong each claim is; the least is the strongest.
        nodes: The node that each claim names.
        names: The name of each node.
    """
    ordered = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[ordered], prepend=-1))
    if not len(starts):
        return starts
    sizes = np.diff(np.append(starts, len(ordered)))
    best = np.repeat(np.minimum.reduceat(strength[ordered], starts), sizes)
    candidates = ordered[strength[ordered] == best]
    # Nearly everybody has one candidate: only the others' names are looked at.
    several = np.flatnonzero(np.bincount(labels[candidates]) > 1)
    first = np.empty(len(starts), np.int64)
    first[labels[candidates]] = nodes[candidates]
    contested = candidates[np.isin(labels[candidates], several)]
    if len(contested):
        by_name = pc.sort_indices(names.take(pyarrow.array(nodes[contested]))).to_numpy()
        last_first = contested[by_name[::-1]]
        first[labels[last_first]] = nodes[last_first]
    return first


def _changed(
    aliases: pyarrow.Array, before: pyarrow.Array, lead_ids: pyarrow.Array
) -> pyarrow.Table:
    """The aliases that lead elsewhere than before."""
    same = pc.fill_null(pc.equal(before, lead_ids), fill_value=False)
    return pyarrow.table({"alias": aliases, "lead_id": lead_ids}).filter(pc.invert(same))


def _with_moved(
    own: pyarrow.Table,
    known_alias: pyarrow.Array,
    known_lead: pyarrow.Array,
    met: pyarrow.Array,
    settled: pyarrow.Array,
) -> pd.DataFrame:
    """`own`, and whatever else led to a lead that has become another, in order.

    Args:
        own: `alias` and `lead_id` of the aliases that lead elsewhere than before.
        known_alias: Every alias known before.
        known_lead: The lead that each led to.
        met: Those of these leads that were met again.
        settled: The lead that each of `met` is now.
    """
    now = pc.coalesce(settled.take(pc.index_in(known_lead, value_set=met)), known_lead)
    former = _changed(met, met, settled)
    for table in (_changed(known_alias, known_lead, now), former):
        if not table.num_rows:
            continue
        told = pc.is_in(table["alias"], value_set=own["alias"].combine_chunks())
        own = pyarrow.concat_tables([own, table.filter(pc.invert(told))])
    return own.sort_by("alias").to_pandas(types_mapper=pd.ArrowDtype)
