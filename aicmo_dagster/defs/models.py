"""The asset `score_model` and its runs. Not here: training (`deciding.train`), or `model_cards`."""

import uuid
from dataclasses import dataclass
from datetime import datetime

import dagster as dg

from aicmo_dagster.defs.assets import OWNERS
from aicmo_dagster.defs.in_turn import LONG, Metadata, Work, materialise
from aicmo_dagster.defs.partitions import campaign_partitions
from aicmo_dagster.defs.resources import WORKER_TAG, Clock
from aicmo_dagster.defs.runs import run_failure
from aicmo_dagster.stages.deciding.model_claims import drifts
from aicmo_dagster.stages.report import Report
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.troubles import DRIFTED, MODEL_STAGE
from aicmo_dagster.store.workers import this_worker

DECIDED_BY = "score_model"

TRAIN_JOB = "train_job"


@dg.asset(
    name=MODEL_STAGE,
    partitions_def=campaign_partitions,
    group_name="pipeline",
    kinds={"table", "scikitlearn"},
    owners=OWNERS,
    deps=["raw_leads"],
)
def score_model(
    context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace], clock: Clock
) -> dg.MaterializeResult:
    """What scores a campaign's leads: a model learned from its outcomes, if that is better.

    Without 50 wins and 50 losses it is the scorecard. Columns that may know the outcome are named
    and not learned from until a person has vouched for them. The card holds what the model was
    worth on the newest leads whose outcome is known, of which it saw none.
    """
    work = Work(MODEL_STAGE, lambda key: _train(workspace, key, clock.now()))
    return materialise(context, work, workspace)


def _train(workspace: Workspace, key: str, now: datetime) -> tuple[Report, Metadata]:
    # What learns takes longer to import than all the rest, and only training needs it.
    from aicmo_dagster.defs.model_cards import card_metadata
    from aicmo_dagster.stages.deciding.train import train_model

    training = train_model(workspace, key, now, DECIDED_BY)
    drifted = drifts(workspace, key, now)
    figures = {DRIFTED: float(sum(each.alarm for each in drifted))}
    labelled = training.wins + training.losses
    report = Report(key, MODEL_STAGE, training.leads, labelled, figures=figures)
    return report, card_metadata(training, drifted)


train_job = dg.define_asset_job(
    TRAIN_JOB,
    selection=dg.AssetSelection.assets(score_model),
    tags=LONG,
    description="Learn from a campaign's outcomes; a model that is better scores from then on.",
)


@dataclass(frozen=True)
class TrainingOutcome:
    """A finished run of training.

    Args:
        run_id: Dagster's id of it.
        summary: What came of it, in a line.
        in_charge: What scores from now on, a version or "scorecard"; None where it failed.
        failure: The text of what failed, if something did.
        exit_code: What the command ends with.
    """

    run_id: str
    summary: str
    in_charge: str | None
    failure: str | None
    exit_code: int


def train_campaign(
    defs: dg.Definitions, instance: dg.DagsterInstance, key: str, *, as_of: str = ""
) -> TrainingOutcome:
    """Trains the campaign `key`, a partition, in this process, as a run that the web UI shows.

    Args:
        defs: The system.
        instance: Where the run is kept.
        key: The campaign.
        as_of: The instant to take as now, ISO 8601; empty for the real one.
    """
    result = defs.resolve_job_def(TRAIN_JOB).execute_in_process(
        instance=instance,
        partition_key=key,
        run_config={
            "resources": {"clock": {"config": {"as_of": as_of}}},
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
        },
        tags={WORKER_TAG: this_worker()},
        raise_on_error=False,
        run_id=str(uuid.uuid4()),
    )
    if not result.success:
        return TrainingOutcome(result.run_id, "", None, *run_failure(result))
    (event,) = result.get_asset_materialization_events()
    told = event.step_materialization_data.materialization.metadata
    in_charge = str(told["in_charge"].value)
    return TrainingOutcome(result.run_id, str(told["summary"].value), in_charge, None, 0)
