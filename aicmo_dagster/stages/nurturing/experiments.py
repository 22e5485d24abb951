"""Tests of variants as a stage: looked at when due, and what they say of new leads.

Not here: the rules (`domain.nurture.experiments`), or the draw (`domain.nurture.variants`).
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import pandas as pd
import sqlalchemy as sa

from aicmo_dagster.domain.nurture.experiments import fingerprint, look
from aicmo_dagster.domain.nurture.planning import Standings
from aicmo_dagster.domain.nurture.variants import Standing
from aicmo_dagster.domain.sections.sequences import Step
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store import experiments
from aicmo_dagster.store.campaigns import StoredCampaign, load_campaign
from aicmo_dagster.store.experiments import StoredExperiment

ASK_AGAIN = timedelta(hours=1)
"""Between two questions whether it is time for a look, since each reads the outcomes."""

Tested = tuple[int, str, Step]


def standings(
    connection: sa.Connection, versions: Mapping[int, StoredCampaign], now: datetime
) -> Standings:
    """What the tests of these versions of a campaign say of new leads, looked at if it is time.

    A test belongs to the form of its step: an edit that changes what is compared begins another.
    """
    tested = list(_tested(versions))
    if not tested:
        return {}
    key = next(iter(versions.values())).campaign.campaign
    known = {
        (each.sequence, each.step, each.fingerprint): each
        for each in experiments.experiments_of(connection, key)
    }
    found = {}
    for version, sequence, step in tested:
        form = fingerprint(step, versions[version].templates)
        at = (sequence, step.id, form)
        if at not in known:
            known[at] = experiments.begin_experiment(connection, key, *at, now)
        elif known[at].decided_at is None and now - known[at].asked_at >= ASK_AGAIN:
            known[at] = _asked(connection, versions, known[at], step, now)
        found[version, sequence, step.id] = Standing(known[at].winner, known[at].stopped)
    return found


def experiment_table(workspace: Workspace, key: str) -> pd.DataFrame:
    """Every experiment of the campaign, one row a variant, as of its last look.

    Columns: sequence, step, state, look, variant, delivered, successes, rate, lost, difference,
    low and high (against the first variant, in rate, 95 %), z, bound, stands.
    """
    with workspace.database.read() as connection:
        return pd.DataFrame(stored_rows(connection, key), columns=list(_COLUMNS))


def stored_rows(connection: sa.Connection, key: str) -> list[dict[str, Any]]:
    """The rows of `experiment_table`; a column may be absent where it is missing."""
    stored = experiments.experiments_of(connection, key)
    return [row for each in stored for row in _rows(each)]


_COLUMNS = (
    *("sequence", "step", "state", "look", "variant", "delivered", "successes", "rate", "lost"),
    *("difference", "low", "high", "z", "bound", "stands"),
)


def _rows(each: StoredExperiment) -> Iterator[dict[str, Any]]:
    last = each.looks[-1] if each.looks else {"arms": [], "comparisons": []}
    compared = {told["variant"]: told for told in last["comparisons"]}
    for arm in last["arms"] or [{"variant": None, "delivered": 0, "successes": 0, "lost": 0}]:
        name = arm["variant"]
        stands = "stopped" if name in each.stopped else "running"
        yield {
            "sequence": each.sequence,
            "step": each.step,
            "state": each.state,
            "look": each.looks_taken,
            **arm,
            "rate": arm["successes"] / arm["delivered"] if arm["delivered"] else None,
            **compared.get(name, {}),
            "stands": "winner" if name is not None and name == each.winner else stands,
        }


def _tested(versions: Mapping[int, StoredCampaign]) -> Iterator[Tested]:
    """Every step with a test, by version."""
    for version, stored in versions.items():
        for name, sequence in stored.campaign.sequences.items():
            yield from ((version, name, step) for step in sequence.steps if step.test)


def _asked(
    connection: sa.Connection,
    versions: Mapping[int, StoredCampaign],
    stored: StoredExperiment,
    step: Step,
    now: datetime,
) -> StoredExperiment:
    """`stored` with another look, if it is time for one."""
    assert step.test is not None
    key = next(iter(versions.values())).campaign.campaign
    frame = experiments.exposures(connection, key, stored.sequence, step.id, step.test, now)
    same = [
        version
        for version in frame["campaign_version"].unique().tolist()
        if _form_in(connection, versions, key, version, stored) == stored.fingerprint
    ]
    found = look(
        frame[frame["campaign_version"].isin(same)],
        step,
        looks_before=stored.looks_taken,
        stopped=stored.stopped,
    )
    return experiments.record_look(connection, key, stored, found, now)


def _form_in(
    connection: sa.Connection,
    versions: Mapping[int, StoredCampaign],
    key: str,
    version: int,
    stored: StoredExperiment,
) -> str | None:
    """The form that the step of `stored` has in `version`; None where there is no such step."""
    told = versions.get(version) or load_campaign(connection, key, version)
    sequence = told.campaign.sequences.get(stored.sequence)
    steps = [step for step in (sequence.steps if sequence else []) if step.id == stored.step]
    return fingerprint(steps[0], told.templates) if steps else None
