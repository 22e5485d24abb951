"""The records of a harvest merged into the leads of their campaign, a range of leads at a time.

Who is who can be told of all records alone, for which a few hashes of each are held. Everything
else waits on disk until then, and is sorted there into ranges of leads; each range has all records
of its leads, and all leads that they were before, so that it is merged by itself.

Not here: reading sources (`harvest`), who is who (`domain.identity`), or merging (`domain.intake`).
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from itertools import chain, starmap

import pandas as pd
import pyarrow
import pyarrow.compute as pc
import sqlalchemy as sa

from aicmo_dagster.domain import intake, records
from aicmo_dagster.domain.identity import Claims, People, all_claims, find_people
from aicmo_dagster.domain.intake import Counts
from aicmo_dagster.domain.schemas import dtypes
from aicmo_dagster.stages import chunks
from aicmo_dagster.stages.harvesting.erased import erased_leads_among, rejects_without_erased
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store import harvests
from aicmo_dagster.store.database import take_turn
from aicmo_dagster.store.erasures import ERASING, any_erased
from aicmo_dagster.store.frames import read_chunks, read_frame, replacing
from aicmo_dagster.store.merges import follow_aliases

_MET = "met"
"""The column that says which lead a lead so far is now, if the harvest holds it."""

_BEFORE = pyarrow.schema(
    [(name, dtype.pyarrow_dtype) for name, dtype in dtypes("raw_leads").items()]
    + [(_MET, pyarrow.string())]
)


class Waiting:
    """Records of a campaign that wait until all are there, and what of them was refused."""

    def __init__(self, campaign: str, kept: chunks.Aside, refused: chunks.Aside) -> None:
        self.campaign = campaign
        self.refused = refused
        self._kept = kept
        self._claims: list[Claims] = []
        self._sizes: list[int] = []

    def __len__(self) -> int:
        return sum(self._sizes)

    def add(self, rows: pd.DataFrame) -> None:
        """`rows`, which `records.read_rows` describes, wait as well."""
        read = records.read_rows(rows, self.campaign)
        self._kept.put_table(read.records)
        self._claims.append(read.claims)
        self._sizes.append(read.records.num_rows)
        if len(read.rejects):
            given = read.rejects["source"].fillna("enrich")
            self.refused.put(read.rejects.assign(source=given))

    def people(self, known: pd.DataFrame) -> People:
        """The persons behind the records; who they say they are is not kept here.

        Args:
            known: `alias` and `lead_id` of everyone met before.
        """
        claims, self._claims = all_claims(self._claims, self._sizes), []
        return find_people(claims, sum(self._sizes), known)

    def parts(self, lead_ids: pyarrow.Array, at_once: int) -> Iterator[pyarrow.Table]:
        """The records in their order, about `at_once` at a time, of the leads that they are of."""
        start = 0
        for part in _joined(self._kept.take_tables(), at_once):
            columns = intake.columns_of(part)
            columns["lead_id"] = lead_ids.slice(start, part.num_rows)
            start += part.num_rows
            yield pyarrow.table(columns, records.SCHEMA)

    def forget(self) -> None:
        """The records are gone; what was refused is not."""
        self._kept.forget()


@contextmanager
def waiting(workspace: Workspace, campaign: str) -> Iterator[Waiting]:
    """Room for records of the campaign."""
    home = workspace.settings.home
    with chunks.set_aside(home) as kept, chunks.set_aside(home) as refused:
        yield Waiting(campaign, kept, refused)


def take_in(
    workspace: Workspace,
    held: Waiting,
    rejects: Sequence[chunks.Aside],
    now: datetime,
    at_once: int,
) -> Counts:
    """The campaign's leads hold the records as well, and its rejects are `rejects`.

    Args:
        workspace: The settings and the database.
        held: The records; they are gone afterwards.
        rejects: Everything that was refused, in order.
        now: The instant of the harvest.
        at_once: How many leads are held at once; what becomes of them does not depend on it.
    """
    key, secret_key = held.campaign, workspace.settings.secret_key()
    with workspace.database.write() as connection:
        take_turn(connection, f"leads of {key}")
        # Until the end: who is erased meanwhile would be missed, and the leads here not yet seen.
        take_turn(connection, ERASING, shared=True)
        people = held.people(harvests.read_aliases(connection, key))
        give_back_memory()
        counts, gone = Counts(), set[str]()
        with (
            _ranges(workspace, connection, held, people, at_once) as ranges,
            replacing(connection, "raw_leads", key) as put,
        ):
            for leads, of_range in starmap(partial(_merged, now), ranges):
                counts += of_range
                erased = _erased(connection, secret_key, leads, people.aliases)
                gone |= erased
                put(leads[~leads["lead_id"].isin(erased)] if erased else leads)
                give_back_memory()
        aliases = people.aliases
        kept = aliases[~aliases["lead_id"].isin(gone)] if gone else aliases
        harvests.put_aliases(connection, key, kept)
        frames = chain.from_iterable(each.take() for each in rejects)
        told = (rejects_without_erased(connection, secret_key, frame) for frame in frames)
        harvests.replace_rejects(connection, key, told)
        follow_aliases(connection, key)
    held.forget()
    return counts


@contextmanager
def _ranges(
    workspace: Workspace,
    connection: sa.Connection,
    held: Waiting,
    people: People,
    at_once: int,
) -> Iterator[Iterator[tuple[pyarrow.Table, pyarrow.Table]]]:
    """Of each range those of the leads so far that are in it now, and the records; all is read."""
    key, home = held.campaign, workspace.settings.home
    so_far = read_frame(connection, "raw_leads", key, ["lead_id"])
    ids = intake.lead_columns(so_far)["lead_id"]
    firsts = chunks.first_keys([people.lead_ids, ids], at_once)
    with (
        chunks.set_aside_by_range(home, _BEFORE, firsts) as before,
        chunks.set_aside_by_range(home, records.SCHEMA, firsts) as given,
    ):
        for frame in read_chunks(connection, "raw_leads", key, at_once):
            columns = intake.lead_columns(frame)
            met = people.now_of(columns["lead_id"])
            table = pyarrow.table({**columns, _MET: met}, _BEFORE)
            before.put(table, pc.coalesce(met, columns["lead_id"]))
        for part in held.parts(people.lead_ids, at_once):
            given.put(part, part["lead_id"].combine_chunks())
        yield zip(before.take(), given.take(), strict=True)


def _merged(
    now: datetime, before: pyarrow.Table, given: pyarrow.Table
) -> tuple[pd.DataFrame, Counts]:
    """The leads of a range, and what became of its records."""
    columns = intake.columns_of(before)
    return intake.take_in(columns, columns.pop(_MET), intake.columns_of(given), now)


def _joined(parts: Iterable[pyarrow.Table], at_once: int) -> Iterator[pyarrow.Table]:
    """`parts` joined to parts of about `at_once` rows."""
    some: list[pyarrow.Table] = []
    for part in parts:
        some.append(part)
        if sum(each.num_rows for each in some) >= at_once:
            yield pyarrow.concat_tables(some)
            some = []
    if some:
        yield pyarrow.concat_tables(some)


def _erased(
    connection: sa.Connection, secret_key: bytes, leads: pd.DataFrame, aliases: pd.DataFrame
) -> set[str]:
    """The ids of those of `leads` that are of erased people."""
    if not any_erased(connection):
        return set()
    own = aliases[aliases["lead_id"].isin(leads["lead_id"])]
    return erased_leads_among(connection, secret_key, leads, own)


def give_back_memory() -> None:
    """What Arrow holds on to for later is the system's again: of a million leads, a fifth."""
    pyarrow.default_memory_pool().release_unused()
