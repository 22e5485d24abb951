"""Models: documents addressed by their content, and who put which of them in charge when.

A campaign has at most one promoted model. Promotions are a stack: a rollback takes the topmost off,
and what lay below it is in charge again, or the scorecard. Not here: what a document holds.
"""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from aicmo_dagster.errors import AicmoError, NotFound
from aicmo_dagster.store.tables import model_changes, models
from aicmo_dagster.store.upserts import insert_once

LEAST_DIGITS = 4
"""Of a version that is given by its beginning."""


@dataclass(frozen=True)
class StoredModel:
    """A model as it is kept.

    Args:
        version: Its name: a hash of its document.
        campaign: Whose leads it learned from.
        kind: How it was trained.
        state: candidate, promoted or retired.
        document: All that scoring needs, as JSON.
        metrics: What was measured of it, as JSON.
        trained_at: When it was trained.
    """

    version: str
    campaign: str
    kind: str
    state: str
    document: str
    metrics: str
    trained_at: datetime


@dataclass(frozen=True)
class Change:
    """One event in the life of a campaign's models: trained, promoted or rolled_back."""

    version: str
    state: str
    reason: str
    decided_by: str
    decided_at: datetime


def put_model(
    connection: sa.Connection, model: StoredModel, *, reason: str, decided_by: str
) -> bool:
    """The model is kept, as a candidate; False, and nothing changes, if it was there already."""
    values = {**vars(model), "state": "candidate"}
    if not insert_once(connection, models, **values):
        return False
    change = Change(model.version, "trained", reason, decided_by, model.trained_at)
    _record(connection, model.campaign, change)
    return True


def find_model(connection: sa.Connection, campaign: str, version: str) -> StoredModel:
    """The campaign's model of that version, which may be given by at least 4 first digits.

    Raises:
        NotFound: If there is none.
        AicmoError: If there are several.
    """
    begins = models.c.version.startswith(version, autoescape=True)
    exact = begins if len(version) >= LEAST_DIGITS else models.c.version == version
    found = _select(connection, models.c.campaign == campaign, exact)
    if len(found) == 1:
        return found[0]
    hint = f"'aicmo model list {campaign}' shows them"
    if found:
        raise AicmoError(f"campaign '{campaign}' has several models {version!r}; {hint}")
    raise NotFound(f"campaign '{campaign}' has no model {version!r}; {hint}")


def list_models(connection: sa.Connection, campaign: str) -> list[StoredModel]:
    """The campaign's models, the newest first."""
    return _select(connection, models.c.campaign == campaign)


def promoted_model(connection: sa.Connection, campaign: str) -> StoredModel | None:
    """The model in charge, if one is."""
    found = _select(connection, models.c.campaign == campaign, models.c.state == "promoted")
    return found[0] if found else None


def promote(
    connection: sa.Connection,
    campaign: str,
    version: str,
    *,
    reason: str,
    decided_by: str,
    now: datetime,
) -> None:
    """The model `version`, which is one of the campaign's, is in charge; what was, is retired."""
    _put_in_charge(connection, campaign, version)
    _record(connection, campaign, Change(version, "promoted", reason, decided_by, now))


def roll_back(
    connection: sa.Connection, campaign: str, *, reason: str, decided_by: str, now: datetime
) -> tuple[str, str | None]:
    """The latest promotion is undone; tells its version and the one in charge now, if any.

    Raises:
        AicmoError: If no model is in charge.
    """
    stack = _promotions(changes(connection, campaign))
    if not stack:
        raise AicmoError(f"campaign '{campaign}' has no promoted model; the scorecard is in charge")
    undone, below = stack[-1], stack[-2] if len(stack) > 1 else None
    _put_in_charge(connection, campaign, below)
    _record(connection, campaign, Change(undone, "rolled_back", reason, decided_by, now))
    return undone, below


def changes(connection: sa.Connection, campaign: str) -> list[Change]:
    """What happened to the campaign's models, oldest first."""
    table = model_changes
    columns = (table.c.version, table.c.state, table.c.reason, table.c.decided_by)
    query = sa.select(*columns, table.c.decided_at).where(table.c.campaign == campaign)
    return [Change(*row) for row in connection.execute(query.order_by(table.c.id))]


def rolled_back(history: list[Change]) -> set[str]:
    """The versions that were taken back and not promoted since."""
    latest = {change.version: change.state for change in history if change.state != "trained"}
    return {version for version, state in latest.items() if state == "rolled_back"}


def _promotions(history: list[Change]) -> list[str]:
    """The promotions that stand, the one in charge last."""
    stack: list[str] = []
    for change in history:
        if change.state == "promoted":
            stack.append(change.version)
        elif change.state == "rolled_back":
            stack.pop()
    return stack


def _put_in_charge(connection: sa.Connection, campaign: str, version: str | None) -> None:
    mine = models.c.campaign == campaign
    retired = models.update().where(mine, models.c.state == "promoted").values(state="retired")
    connection.execute(retired)
    if version is not None:
        chosen = models.update().where(mine, models.c.version == version)
        connection.execute(chosen.values(state="promoted"))


def _record(connection: sa.Connection, campaign: str, change: Change) -> None:
    connection.execute(model_changes.insert().values(campaign=campaign, **vars(change)))


def _select(connection: sa.Connection, *where: sa.ColumnElement[bool]) -> list[StoredModel]:
    columns = [models.c[name] for name in StoredModel.__dataclass_fields__]
    query = sa.select(*columns).where(*where)
    rows = connection.execute(query.order_by(models.c.trained_at.desc(), models.c.version))
    return [StoredModel(*row) for row in rows]
