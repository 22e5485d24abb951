"""Qualified leads: a decision for every scored lead.

Not here: the rules (`domain.qualification`).
"""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime

import pandas as pd
import pyarrow.compute as pc
import sqlalchemy as sa

from aicmo_dagster.domain.campaigns import Campaign
from aicmo_dagster.domain.conditions import columns_asked
from aicmo_dagster.domain.facts import one_array
from aicmo_dagster.domain.qualification import Qualified, qualify, questions
from aicmo_dagster.domain.schemas import dtypes
from aicmo_dagster.stages import chunks
from aicmo_dagster.stages.report import Report, counted, counted_decisions
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.database import take_turn
from aicmo_dagster.store.decisions import recording
from aicmo_dagster.store.engagement import with_engagement
from aicmo_dagster.store.frames import read_chunks, read_frame, replacing
from aicmo_dagster.store.overrides import active_overrides
from aicmo_dagster.store.stops import stopped_leads
from aicmo_dagster.store.webhooks import Occurrence, announce, any_wants

_OF_SCORED = ["lead_id", "score", "band", "model"]


def qualify_leads(
    workspace: Workspace, key: str, now: datetime, at_once: int = chunks.LEADS
) -> Report:
    """`qualified_leads` of the campaign holds who goes on; `decisions` why, for every lead.

    Args:
        workspace: The settings and the database.
        key: The campaign.
        now: The instant of deciding.
        at_once: How many leads are held at once; what is decided does not depend on it.
    """
    stored = workspace.campaign(key)
    tally = _Tally(key)
    with workspace.database.write() as connection:
        take_turn(connection, f"leads of {key}")
        verdicts, stopped = _beside(connection, key, now)
        told = _announcer(connection, key, now)
        asked = columns_asked(questions(stored.campaign.qualification))
        with (
            replacing(connection, "qualified_leads", key) as put,
            recording(
                *(connection, key, "qualified_leads"),
                now=now,
                campaign_version=stored.version,
            ) as record,
        ):
            for leads in chunks_with_scores(connection, key, at_once, asked):
                qualified = qualify(leads, stored.campaign, verdicts, stopped=stopped)
                put(qualified.leads)
                record.add(_with_grounds(qualified.decisions, leads))
                told(qualified.leads)
                tally.add(qualified)
    return tally.report()


@dataclass
class _Tally:
    """What was decided so far, in counts."""

    key: str
    judged: int = 0
    qualified: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    decisions: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, found: Qualified) -> None:
        """`found` counts too."""
        self.judged += len(found.decisions)
        self.qualified += len(found.leads)
        refused = found.decisions[found.decisions["outcome"] == "not_qualified"]
        self.reasons.update(counted(refused["cause"]))
        self.decisions.update(counted_decisions(found.decisions))

    def report(self) -> Report:
        """All of it."""
        share = round(self.qualified / self.judged, 4) if self.judged else 0.0
        return Report(
            self.key,
            "qualified_leads",
            self.judged,
            self.qualified,
            dict(self.reasons.most_common()),
            {"qualified_share": share},
            decisions=dict(self.decisions.most_common()),
        )


def judge(
    connection: sa.Connection, leads: pd.DataFrame, campaign: Campaign, now: datetime
) -> Qualified:
    """The decisions about `leads` by `campaign`, which need not be the stored one."""
    verdicts, stopped = _beside(connection, campaign.campaign, now)
    return qualify(leads, campaign, verdicts, stopped=stopped)


def _beside(
    connection: sa.Connection, key: str, now: datetime
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What people decided, and who never qualifies again."""
    overrides = active_overrides(connection, key, now)
    verdicts = overrides[overrides["action"].isin(["qualify", "reject"])]
    return verdicts, stopped_leads(connection, key)


def leads_with_scores(
    connection: sa.Connection,
    key: str,
    asked: Collection[str] | None = None,
    *,
    lead_id: str | None = None,
) -> pd.DataFrame:
    """The raw leads of a campaign, where scored, with score, band, model and engagement.

    Args:
        connection: From `Database.read` or `Database.write`.
        key: The campaign.
        asked: The columns of raw leads that are looked at, beside `lead_id`; all unless given.
        lead_id: The lead wanted; all unless given.
    """
    raw = read_frame(connection, "raw_leads", key, _wanted(asked), lead_id=lead_id)
    scored = read_frame(connection, "scored_leads", key, _OF_SCORED, lead_id=lead_id)
    return with_engagement(connection, key, _joined(raw, scored))


def chunks_with_scores(
    connection: sa.Connection, key: str, at_once: int, asked: Collection[str]
) -> Iterator[pd.DataFrame]:
    """What `leads_with_scores` gives, at most `at_once` leads at a time; at least one frame."""
    for raw in read_chunks(connection, "raw_leads", key, at_once, _wanted(asked)):
        ends = (raw["lead_id"].iloc[0], raw["lead_id"].iloc[-1]) if len(raw) else None
        scored = read_frame(connection, "scored_leads", key, _OF_SCORED, between=ends)
        yield with_engagement(connection, key, _joined(raw, scored), between=ends)


def _wanted(asked: Collection[str] | None) -> list[str] | None:
    """The columns of raw leads to be read where those `asked` are looked at; None if all are."""
    return None if asked is None else [n for n in dtypes("raw_leads") if n in {"lead_id", *asked}]


def _joined(raw: pd.DataFrame, scored: pd.DataFrame) -> pd.DataFrame:
    """The leads of `raw` that are among `scored`, with what stands there."""
    at = pc.index_in(one_array(raw["lead_id"]), value_set=one_array(scored["lead_id"]))
    known = raw[at.is_valid().to_numpy(zero_copy_only=False)].reset_index(drop=True)
    told = scored.drop(columns="lead_id").take(at.drop_null().to_numpy()).reset_index(drop=True)
    return pd.concat([known, told], axis=1)


def _announcer(
    connection: sa.Connection, key: str, now: datetime
) -> Callable[[pd.DataFrame], None]:
    """Tells whoever wants to know of those leads that do not qualify as yet."""
    if not any_wants(connection, "lead.qualified", key):
        return lambda leads: None
    before = read_frame(connection, "qualified_leads", key, ["lead_id"])["lead_id"]

    def tell(leads: pd.DataFrame) -> None:
        new = leads.loc[~leads["lead_id"].isin(before), "lead_id"]
        announce(connection, "lead.qualified", [_occurrence(key, each, now) for each in new], now)

    return tell


def _occurrence(key: str, lead_id: str, now: datetime) -> Occurrence:
    told = {"campaign": key, "lead_id": lead_id}
    return Occurrence(f"{key}/{lead_id}/{now.isoformat()}", told, (key,), lead_id)


def _with_grounds(decisions: pd.DataFrame, leads: pd.DataFrame) -> pd.DataFrame:
    """`decisions` with `inputs`: what they were decided by, as JSON."""
    model = leads["model"].iloc[0] if len(leads) else None
    passed = decisions["rules_passed"].unique()
    grounds = {n: json.dumps({"model": model, "rules_passed": int(n)}) for n in passed}
    return decisions.assign(inputs=decisions["rules_passed"].map(grounds))
