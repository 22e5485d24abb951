"""A campaign's model: learned from its outcomes, measured, and put in charge if it is better.

Not here: learning (`domain.scoring.learning`), scoring with a model (`score`), what must be true of
one (`model_claims`).
"""

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from importlib.metadata import version as installed_version

import numpy as np
import sqlalchemy as sa

from aicmo_dagster.domain.scoring.calibration import recalibrated
from aicmo_dagster.domain.scoring.cards import Card, model_card
from aicmo_dagster.domain.scoring.drift import observed_against_expected
from aicmo_dagster.domain.scoring.history import History, time_split
from aicmo_dagster.domain.scoring.learning import Learned, learn
from aicmo_dagster.domain.scoring.model import Model, score
from aicmo_dagster.domain.scoring.model_documents import from_document, to_document, version
from aicmo_dagster.domain.scoring.model_frames import arrived_since, with_own_points
from aicmo_dagster.domain.scoring.training import LEAST_LOSSES, LEAST_WINS
from aicmo_dagster.domain.sections.scoring import Scoring
from aicmo_dagster.errors import AicmoError
from aicmo_dagster.stages.deciding.outcomes import read_pooled
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.database import take_turn
from aicmo_dagster.store.leads import outcome_counts
from aicmo_dagster.store.models import (
    StoredModel,
    changes,
    promote,
    promoted_model,
    put_model,
    rolled_back,
)

SEED = 0
"""Of the bootstraps: the same leads give the same figures, and the same verdict."""


@dataclass(frozen=True)
class Training:
    """What training came to.

    Args:
        campaign: The campaign's key.
        leads: How many there are to learn from.
        wins: Ripened wins.
        losses: Ripened losses.
        summary: What came of it, in a line.
        version: Of the best model trained; None without the evidence.
        in_charge: The version that scores from now on; None for the scorecard.
        learned: What was learned, with leaks and figures.
        card: Of the best model trained.
    """

    campaign: str
    leads: int
    wins: int
    losses: int
    summary: str
    version: str | None = None
    in_charge: str | None = None
    learned: Learned | None = None
    card: Card | None = None


@dataclass(frozen=True)
class _Standing:
    """The model in charge, if one is, and the versions that a person rolled back."""

    version: str | None
    model: Model | None
    refused: set[str]


@dataclass(frozen=True)
class _Change:
    """A model to be put in charge, and why."""

    model: Model
    reason: str


def train_model(workspace: Workspace, key: str, now: datetime, decided_by: str) -> Training:
    """The campaign's models are trained and kept; one that passes its gate is in charge.

    What a person rolled back takes over again only if a person promotes it.
    Without 50 wins and 50 losses nothing is trained, and next to nothing is read.

    Args:
        workspace: The workspace.
        key: The campaign.
        now: The instant of asking, for outcomes that have not ripened.
        decided_by: Who is on record for a promotion.
    """
    scoring = workspace.campaign(key).campaign.scoring
    with workspace.database.read() as connection:
        standing = _standing(connection, key)
        if too_few := _nothing_to_learn(connection, key, scoring):
            return replace(too_few, in_charge=standing.version)
        history = read_pooled(connection, key, now)
    learned = _learn(history, scoring, standing)
    change = _change(learned, standing, history)
    with workspace.database.write() as connection:
        take_turn(connection, f"models of {key}")
        if _standing(connection, key) != standing:
            raise AicmoError(f"campaign '{key}': another model took over meanwhile; train again")
        _store(connection, key, learned, change, now, decided_by)
    return _outcome(key, history, learned, change, standing, scoring)


def _nothing_to_learn(connection: sa.Connection, key: str, scoring: Scoring) -> Training | None:
    """What training comes to where counting alone shows that there is no evidence."""
    if scoring.won_by != ["outcome"] or scoring.learn_from:
        return None
    won, lost, unknown = outcome_counts(connection, key)
    if won >= LEAST_WINS and lost + unknown >= LEAST_LOSSES:
        return None
    return Training(key, won + lost + unknown, won, lost, _too_few(won, lost))


def _standing(connection: sa.Connection, key: str) -> _Standing:
    stored = promoted_model(connection, key)
    refused = rolled_back(changes(connection, key))
    if stored is None:
        return _Standing(None, None, refused)
    return _Standing(stored.version, from_document(stored.document), refused)


def _learn(history: History, scoring: Scoring, standing: _Standing) -> Learned:
    return learn(
        history,
        known_at_capture=scoring.known_at_capture,
        ignore=scoring.ignore,
        incumbent=standing.model,
        embargo=timedelta(days=scoring.horizon_days),
        seed=SEED,
        code_version=installed_version("aicmo-dagster"),
    )


def _too_few(won: int, lost: int) -> str:
    return f"scorecard: {won} wins, {lost} losses; {LEAST_WINS} of each needed"


def _newest(history: History, learned: Learned, scoring: Scoring) -> History:
    """The leads that the models were measured on."""
    allowed = history.without(learned.left_out)
    split = time_split(allowed, embargo=timedelta(days=scoring.horizon_days))
    return allowed.part(split.test)


def _change(learned: Learned, standing: _Standing, history: History) -> _Change | None:
    """What takes over: the model that passed the gate, or the standing one, its intercept moved."""
    if learned.promoted:
        is_refused = version(learned.promoted) in standing.refused
        return None if is_refused else _Change(learned.promoted, learned.verdict.reason)
    return None if standing.model is None else _moved(standing.model, history)


def _moved(standing: Model, history: History) -> _Change | None:
    """The standing model with its intercept where the wins since then put it, if they do."""
    newer = history.part(history.labelled & arrived_since(standing, history.arrival))
    if not _can_judge(standing, newer):
        return None
    columns = with_own_points(newer)
    won = newer.labels.astype(np.bool_)
    said = score(standing, columns).probability
    alone = np.zeros(len(won), dtype=np.int64)
    (row,) = observed_against_expected(said, won, alone).itertuples()
    moved = recalibrated(standing, columns, won) if row.alarm else standing
    if moved is standing:
        return None
    reason = (
        f"intercept moved by {moved.shift - standing.shift:+.2f}: of {row.leads} ripened leads "
        f"since then {row.observed} were won, {row.expected:.0f} were expected"
    )
    return _Change(moved, reason)


def _can_judge(standing: Model, newer: History) -> bool:
    """Whether there are leads to judge it by, with every column that it looks at."""
    names = {dimension.name for dimension in standing.dimensions}
    return len(newer.won) > 0 and names <= {*with_own_points(newer)}


def _store(
    connection: sa.Connection,
    key: str,
    learned: Learned,
    change: _Change | None,
    now: datetime,
    decided_by: str,
) -> None:
    """Every candidate is kept; what changes is put in charge, unless it is already."""
    for candidate in learned.candidates:
        window = candidate.model.window
        reason = f"learned from {window['labelled']} labelled leads, {window['won']} of them won"
        _put(connection, key, candidate.model, reason, now, decided_by)
    if change is None:
        return
    _put(connection, key, change.model, change.reason, now, decided_by)
    named = version(change.model)
    promote(connection, key, named, reason=change.reason, decided_by=decided_by, now=now)


def _put(
    connection: sa.Connection, key: str, model: Model, reason: str, now: datetime, decided_by: str
) -> None:
    stored = StoredModel(
        version=version(model),
        campaign=key,
        kind=model.kind,
        state="candidate",
        document=to_document(model),
        metrics=json.dumps(model.metrics),
        trained_at=now,
    )
    put_model(connection, stored, reason=reason, decided_by=decided_by)


def _outcome(
    key: str,
    history: History,
    learned: Learned,
    change: _Change | None,
    standing: _Standing,
    scoring: Scoring,
) -> Training:
    wins = int(history.labels.sum())
    losses = len(history.labels) - wins
    in_charge = version(change.model) if change else standing.version
    best = learned.best
    return Training(
        campaign=key,
        leads=len(history.won),
        wins=wins,
        losses=losses,
        summary=_summary(learned, change, in_charge, wins, losses) + _unless_auto(scoring),
        version=version(best.model) if best else None,
        in_charge=in_charge,
        learned=learned,
        card=model_card(best.model, _newest(history, learned, scoring)) if best else None,
    )


def _summary(
    learned: Learned, change: _Change | None, in_charge: str | None, wins: int, losses: int
) -> str:
    named = in_charge or "scorecard"
    if wins < LEAST_WINS or losses < LEAST_LOSSES:
        return _too_few(wins, losses)
    if change:
        return f"{named} is in charge: {change.reason}"
    if learned.promoted:
        better = version(learned.promoted)
        return f"{named} stays in charge: {better} is better, but a person rolled it back"
    return f"{named} stays in charge: {learned.verdict.reason}"


def _unless_auto(scoring: Scoring) -> str:
    if scoring.model == "auto":
        return ""
    return f"; but the campaign's document says 'model: {scoring.model}', which is what scores"
