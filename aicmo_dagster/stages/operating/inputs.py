"""What each stage of a campaign was last made from. Not here: whether it is late (`status`)."""

from dataclasses import dataclass
from datetime import datetime

from aicmo_dagster.domain.schemas import STAGES
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.results import StageResult, latest_success


@dataclass(frozen=True)
class StageInputs:
    """What a stage was last made from.

    Args:
        done: How it was last done; none if it never was, or if that is forgotten.
        upstream: The stage before it, if there is one.
        upstream_at: Which state of the stage before it has seen.
        outdated: Whether the stage before was done again since.
    """

    done: StageResult | None
    upstream: str | None
    upstream_at: datetime | None
    outdated: bool


def inputs_of(workspace: Workspace, key: str) -> dict[str, StageInputs]:
    """Stage to what it was last made from."""
    found: dict[str, StageInputs] = {}
    with workspace.database.read() as connection:
        latest = {stage: latest_success(connection, key, stage) for stage in STAGES}
        for position, stage in enumerate(STAGES):
            done, upstream = latest[stage], STAGES[position - 1] if position else None
            seen = None
            if done and upstream:
                seen = latest_success(connection, key, upstream, done.started_at)
            newest = latest[upstream] if upstream else None
            outdated = bool(done and newest and newest.finished_at > done.started_at)
            found[stage] = StageInputs(done, upstream, seen.finished_at if seen else None, outdated)
    return found
