"""Routed leads: a sequence for every qualified lead that may have one.

Leads are read, enrolled and written part by part. Turns, capacity and companies are of the whole
campaign, so of each candidate a few numbers are held, and what it drew; the rest waits on disk.

Not here: the choice itself (`domain.routing`), enrolling (`enrol`), or what is taken up before
anybody enters a sequence (`places`).
"""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import chain

import pandas as pd
import pyarrow
import sqlalchemy as sa

from aicmo_dagster.domain.campaigns import Campaign
from aicmo_dagster.domain.candidates import candidates_among, columns_needed, free_leads
from aicmo_dagster.domain.choosing import Drawn, Wishes, choose, together, wishes_of
from aicmo_dagster.domain.places import Places
from aicmo_dagster.domain.routing import entering, kept, left_out
from aicmo_dagster.stages import chunks
from aicmo_dagster.stages.deciding.enrol import Enrolling
from aicmo_dagster.stages.deciding.places import Before, taken_up
from aicmo_dagster.stages.deciding.pool import among
from aicmo_dagster.stages.deciding.qualify import chunks_with_scores
from aicmo_dagster.stages.report import Report, counted, counted_decisions
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.database import take_turn
from aicmo_dagster.store.decisions import recording
from aicmo_dagster.store.enrolments import last_position
from aicmo_dagster.store.frames import add_rows, count_by, read_chunks, read_frame
from aicmo_dagster.store.loading import FEW
from aicmo_dagster.store.overlaps import blocked_leads, company_load

TEXT = pd.ArrowDtype(pyarrow.string())

_WAITING = ["lead_id", "email", "score", "chosen", "words", "cause", "reason"]
"""What a lead has to wait with until it is known what it drew."""

_TAKEN = "active in another campaign"


def route_leads(
    workspace: Workspace, key: str, now: datetime, at_once: int = chunks.LEADS
) -> Report:
    """`routed_leads` of the campaign holds everyone in a sequence; who was routed stays there.

    Args:
        workspace: The settings and the database.
        key: The campaign.
        now: The instant of routing.
        at_once: How many leads are held at once; who is routed where does not depend on it.
    """
    stored = workspace.campaign(key)
    with workspace.database.write() as connection:
        take_turn(connection, f"leads of {key}")
        # All campaigns look at each other here, and count the contacts of one company.
        take_turn(connection, "routing")
        secret_key = workspace.settings.secret_key()
        enrolling = Enrolling(connection, stored, secret_key, now)
        enrolling.catch_up(at_once)
        return _Run(workspace, enrolling, at_once).route(taken_up(enrolling))


@dataclass
class _Tally:
    """What was decided so far, in counts."""

    entered: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    decisions: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, decided: pd.DataFrame) -> None:
        """`decided` counts too."""
        refused = decided[decided["outcome"] == "not_routed"]
        self.reasons.update(counted(refused["cause"]))
        self.decisions.update(counted_decisions(decided))

    def report(self, key: str, before: Before) -> Report:
        """All of it."""
        held, active = before.held + self.entered, before.active + self.entered
        figures: dict[str, float] = {f"in {name}": count for name, count in held.most_common()}
        figures |= {f"active in {name}": count for name, count in active.most_common()}
        figures |= {"newly_routed": self.entered.total(), "moved": len(before.moved)}
        return Report(
            key,
            "routed_leads",
            self.decisions.total(),
            held.total(),
            dict(self.reasons.most_common()),
            figures,
            decisions=dict(self.decisions.most_common()),
        )


@dataclass(frozen=True)
class _Run:
    """One run of routing for one campaign, in one transaction."""

    workspace: Workspace
    enrolling: Enrolling
    at_once: int

    @property
    def key(self) -> str:
        return self.enrolling.key

    @property
    def campaign(self) -> Campaign:
        return self.enrolling.stored.campaign

    @property
    def connection(self) -> sa.Connection:
        return self.enrolling.connection

    @property
    def now(self) -> datetime:
        return self.enrolling.now

    def route(self, before: Before) -> Report:
        """Routes until nobody who is to enter a sequence was taken by another run meanwhile."""
        taken: set[str] = set()
        while True:
            with chunks.set_aside(self.workspace.settings.home) as aside:
                wishes = together([*self._wishes(before.chosen, taken, aside)])
                drawn = self._choose(wishes, before.places)
                clashes = self._enrol(aside, drawn, before.places)
                if not clashes:
                    return self._write(aside, drawn, before).report(self.key, before)
            taken |= clashes

    def _wishes(
        self, chosen: pd.DataFrame, taken: Collection[str], aside: chunks.Aside
    ) -> Iterator[Wishes]:
        """What the candidates may take, part by part; whoever is in no sequence is put `aside`."""
        for leads, routed in self._qualified():
            blocked = pd.concat([self._blocked(leads), _as_taken(taken)], ignore_index=True)
            free = free_leads(leads, routed, self.campaign, chosen, blocked)
            aside.put(free[_WAITING])
            yield wishes_of(candidates_among(free), self.campaign)

    def _qualified(self) -> Iterator[tuple[pd.DataFrame, pd.Series]]:
        """Qualified leads in no sequence yet, part by part, with the routed ones among the part."""
        needed = columns_needed(self.campaign)
        for leads in chunks_with_scores(self.connection, self.key, self.at_once, needed):
            ends = (leads["lead_id"].iloc[0], leads["lead_id"].iloc[-1]) if len(leads) else ("", "")
            qualified, routed = (
                read_frame(self.connection, stage, self.key, ["lead_id"], between=ends)["lead_id"]
                for stage in ("qualified_leads", "routed_leads")
            )
            free = among(leads["lead_id"], qualified) & ~among(leads["lead_id"], routed)
            yield leads[free].reset_index(drop=True), routed

    def _blocked(self, leads: pd.DataFrame) -> pd.DataFrame:
        """Those of `leads`, which are by id, that must not be routed now."""
        ends = (leads["lead_id"].iloc[0], leads["lead_id"].iloc[-1]) if len(leads) else ("", "")
        return blocked_leads(
            *(self.connection, self.key, self.campaign.routing.overlap, leads),
            secret_key=self.enrolling.secret_key,
            now=self.now,
            between=ends,
        )

    def _choose(self, wishes: Wishes, places: Places) -> Drawn:
        overlap, load = self.campaign.routing.overlap, dict[str, int]()
        if overlap.per_company is not None:
            load = company_load(self.connection, overlap.cooldown_days, self.now)
        had = count_by(self.connection, "routed_leads", self.key, "among")
        turns = {among: count for (among,), count in had.items() if among is not None}
        return choose(wishes, turns, self.campaign, places, load)

    def _enrol(self, aside: chunks.Aside, drawn: Drawn, places: Places) -> set[str]:
        """Enrols who is to enter a sequence, or nobody; tells who is in another one."""
        clashes: set[str] = set()
        for _, candidates, part in _with_drawn(aside, drawn):
            going = self._going(candidates, part, places)
            clashes |= self.enrolling.enrol(going, going["email"])
        if clashes:
            for _, candidates, part in _with_drawn(aside, drawn):
                self.enrolling.withdraw(self._going(candidates, part, places))
        return clashes

    def _going(self, candidates: pd.DataFrame, part: pd.DataFrame, places: Places) -> pd.DataFrame:
        """lead_id, email, sequence and campaign_version of those who drew a sequence."""
        goes = (part["route"] >= 0).to_numpy()
        going = candidates[["lead_id", "email"]][goes].reset_index(drop=True)
        names = pd.Series([route.sequence for route in places.routes], dtype=TEXT)
        sequence = names.array.take(part["route"].to_numpy()[goes])
        return going.assign(sequence=sequence, campaign_version=self.enrolling.stored.version)

    def _write(self, aside: chunks.Aside, drawn: Drawn, before: Before) -> _Tally:
        """Who drew a sequence is routed; of everyone in one, and of who is free, it is told why."""
        tally = _Tally()
        inputs = json.dumps({"strategy": self.campaign.routing.strategy}, sort_keys=True)
        with recording(
            *(self.connection, self.key, "routed_leads"),
            now=self.now,
            campaign_version=self.enrolling.stored.version,
            few=before.held.total() + aside.rows < FEW,
        ) as record:
            # First those without: merged leads are told of by the last of their decisions.
            left = (left_out(free, part) for free, _, part in _with_drawn(aside, drawn))
            inside = self._kept(before.notes)
            for decided in chain(left, inside, self._entered(aside, drawn, before.places, tally)):
                record.add(decided.assign(inputs=inputs))
                tally.add(decided)
        return tally

    def _entered(
        self, aside: chunks.Aside, drawn: Drawn, places: Places, tally: _Tally
    ) -> Iterator[pd.DataFrame]:
        """Who drew a sequence is routed, part by part: the decisions about them."""
        after = last_position(self.connection, self.key)
        routed = partial(
            entering, key=self.key, after=after, version=self.enrolling.stored.version, now=self.now
        )
        for _, candidates, part in _with_drawn(aside, drawn):
            fresh = routed(candidates, part, places)
            add_rows(self.connection, "routed_leads", self.key, fresh)
            tally.entered.update(counted(fresh["sequence"]))
            yield kept(fresh, {})

    def _kept(self, notes: Mapping[str, str]) -> Iterator[pd.DataFrame]:
        """The decisions about who is in a sequence already."""
        columns = ["lead_id", "sequence", "reason"]
        stored = read_chunks(self.connection, "routed_leads", self.key, self.at_once, columns)
        return (kept(routed, notes) for routed in stored)


def _with_drawn(
    aside: chunks.Aside, drawn: Drawn
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]]:
    """Who is in no sequence, part by part; the candidates among them; and what these drew."""
    start = 0
    for free in aside.take():
        candidates = candidates_among(free)
        yield free, candidates, drawn.of(candidates, start)
        start += len(candidates)


def _as_taken(lead_ids: Collection[str]) -> pd.DataFrame:
    """Those blocked whom another run took at this very moment."""
    named = {"lead_id": list(lead_ids), "cause": _TAKEN, "reason": _TAKEN}
    return pd.DataFrame(named).astype(TEXT)
