"""Experiments as they stand, one row a step and form of it, and the outcomes they are judged by.

Not here: judging (`domain.nurture.experiments`).
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import pandas as pd
import sqlalchemy as sa

from aicmo_dagster.domain.nurture.experiments import Look
from aicmo_dagster.domain.sections.sequences import Experiment
from aicmo_dagster.store.fetching import fetch_frame
from aicmo_dagster.store.responses import COMPLAINED, UNSUBSCRIBED, responses
from aicmo_dagster.store.tables import events, experiments, nurture_sends
from aicmo_dagster.store.upserts import put_row

_SENDS = nurture_sends.c
_ROWS = experiments.c


@dataclass(frozen=True)
class StoredExperiment:
    """What is kept of an experiment: its looks as `domain.nurture.experiments.Look` tells them."""

    sequence: str
    step: str
    fingerprint: str
    state: str
    winner: str | None
    stopped: frozenset[str]
    looks: tuple[dict[str, Any], ...]
    asked_at: datetime
    decided_at: datetime | None

    @property
    def looks_taken(self) -> int:
        """The number of the last look."""
        return int(self.looks[-1]["number"]) if self.looks else 0


def experiments_of(connection: sa.Connection, campaign: str) -> list[StoredExperiment]:
    """The campaign's experiments, the latest last."""
    return [
        StoredExperiment(
            **{name: row[name] for name in _PLAIN},
            stopped=frozenset(json.loads(row["stopped"])),
            looks=tuple(json.loads(row["looks"])),
        )
        for row in connection.execute(_OF_CAMPAIGN, {"of_campaign": campaign}).mappings()
    ]


_AS_JSON = ("stopped", "looks")
_PLAIN = [name for name in StoredExperiment.__dataclass_fields__ if name not in _AS_JSON]
_OF_CAMPAIGN = (
    sa.select(*(_ROWS[name] for name in (*_PLAIN, *_AS_JSON)))
    .where(_ROWS.campaign == sa.bindparam("of_campaign"))
    .order_by(_ROWS.asked_at, _ROWS.sequence, _ROWS.step)
)


def begin_experiment(
    connection: sa.Connection,
    campaign: str,
    sequence: str,
    step: str,
    fingerprint: str,
    now: datetime,
) -> StoredExperiment:
    """An experiment that was never looked at."""
    fresh = StoredExperiment(
        sequence, step, fingerprint, "running", None, frozenset(), (), now, None
    )
    _put(connection, campaign, fresh)
    return fresh


def record_look(
    connection: sa.Connection,
    campaign: str,
    stored: StoredExperiment,
    look: Look | None,
    now: datetime,
) -> StoredExperiment:
    """The experiment with `look` added, or just asked about; a look is never altered."""
    if look is None:
        told = StoredExperiment(**{**vars(stored), "asked_at": now})
    else:
        kept = {**asdict(look), "stopped": sorted(look.stopped), "taken_at": now.isoformat()}
        final = look.verdict in ("decided", "no difference")
        told = StoredExperiment(
            stored.sequence,
            stored.step,
            stored.fingerprint,
            look.verdict,
            look.winner,
            look.stopped,
            (*stored.looks, kept),
            now,
            now if final else None,
        )
    _put(connection, campaign, told)
    return told


def exposures(
    connection: sa.Connection,
    campaign: str,
    sequence: str,
    step: str,
    test: Experiment,
    now: datetime,
) -> pd.DataFrame:
    """Delivered leads whose time to respond is over, in order of sending.

    One row a lead: campaign_version, variant, success, lost.
    """
    within = timedelta(days=test.within_days)
    query = (
        sa.select(_SENDS.lead_id, _SENDS.campaign_version, _SENDS.variant, _SENDS.sent_at)
        .where(
            _SENDS.campaign == campaign,
            _SENDS.sequence == sequence,
            _SENDS.step == step,
            _SENDS.state == "accepted",
            _SENDS.variant.is_not(None),
            _SENDS.sent_at <= now - within,
            ~sa.exists().where(
                events.c.campaign == campaign,
                events.c.lead_id == _SENDS.lead_id,
                events.c.kind == "bounce",
                events.c.step.is_(None) | (events.c.step == step),
            ),
        )
        .order_by(_SENDS.sent_at, _SENDS.lead_id)
    )
    sends = fetch_frame(connection, query)
    kinds = {"success": (test.metric,), "lost": (UNSUBSCRIBED, COMPLAINED)}
    found = _responded(connection, campaign, step, sends, within, kinds)
    return sends.assign(**{name: sends["lead_id"].isin(found[name]) for name in kinds})


def _responded(
    connection: sa.Connection,
    campaign: str,
    step: str,
    sends: pd.DataFrame,
    within: timedelta,
    kinds: Mapping[str, tuple[str, ...]],
) -> dict[str, pd.Series]:
    """The leads of `sends` that responded in time, in each of the ways that `kinds` names."""
    every = [kind for told in kinds.values() for kind in told]
    told = fetch_frame(connection, responses(campaign, every))
    told = told[told["step"].isna() | (told["step"] == step)]
    both = told.merge(sends[["lead_id", "sent_at"]], on="lead_id")
    later = both["happened_at"] - both["sent_at"]
    seen = both[(later >= pd.Timedelta(0)) & (later <= within)]
    return {name: seen.loc[seen["kind"].isin(told), "lead_id"] for name, told in kinds.items()}


def _put(connection: sa.Connection, campaign: str, told: StoredExperiment) -> None:
    put_row(
        connection,
        experiments,
        campaign=campaign,
        **{
            **vars(told),
            "stopped": json.dumps(sorted(told.stopped)),
            "looks": json.dumps(list(told.looks), sort_keys=True),
        },
    )
