"""Dagster as the API knows it: starting, finding, reading and cancelling runs.

Runs are started and cancelled by the web server's GraphQL, as the UI does it, and read from
Dagster's own storage. Not here: who may, and that a run is started once (`executions`).
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import dagster as dg
import requests
import sqlalchemy as sa
from urllib3.exceptions import NewConnectionError

from aicmo_dagster.domain.schemas import STAGES
from aicmo_dagster.errors import Transient
from aicmo_dagster.settings import CAMPAIGN_PARTITIONS, CODE_LOCATION, Settings
from aicmo_dagster.stages.operating.dagster_home import prepare_dagster_home

Action = Literal["harvest", "score", "qualify", "route", "nurture", "full-pipeline"]

JOBS: dict[Action, tuple[str, tuple[str, ...]]] = {
    "harvest": ("lead_pipeline_job", STAGES[:1]),
    "score": ("lead_pipeline_job", STAGES[1:2]),
    "qualify": ("lead_pipeline_job", STAGES[2:3]),
    "route": ("lead_pipeline_job", STAGES[3:4]),
    "nurture": ("nurture_job", STAGES[4:]),
    "full-pipeline": ("full_pipeline_job", STAGES),
}
"""What is run: a job, and its stages."""

SHARED_JOBS = {
    "shared_nurture_job": "nurture_campaigns",
    "shared_harvest_job": "harvest_campaigns",
}
"""The jobs whose runs campaigns share, and the step of each."""

INTENT_TAG = "aicmo/intent"
PARTITION_TAG = "dagster/partition"
SETTLED = timedelta(minutes=2)
"""Far beyond what a launch is waited for."""

_ASKING_SECONDS = 30.0
_STATES = {
    "NOT_STARTED": "queued",
    "QUEUED": "queued",
    "STARTING": "starting",
    "MANAGED": "running",
    "STARTED": "running",
    "CANCELING": "canceling",
    "SUCCESS": "finished",
    "FAILURE": "failed",
    "CANCELED": "canceled",
}
_UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchPipelineExecution(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
  }
}
"""
_TERMINATE = """
mutation Terminate($run: String!) { terminateRun(runId: $run) { __typename } }
"""


class Unreachable(Transient):
    """Dagster cannot be asked, and nothing was started or changed."""


class Unanswered(Transient):
    """Dagster was asked and did not answer: nobody knows what it did."""


@dataclass(frozen=True)
class Step:
    """A step of a run: `waiting`, `running`, `finished`, `failed` or `skipped`."""

    stage: str
    state: str
    started_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True)
class Run:
    """A run as Dagster has it; `campaign` is its partition."""

    id: str
    job: str
    state: str
    campaign: str | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None

    @property
    def has_ended(self) -> bool:
        """Whether it goes no more."""
        return self.state in ("finished", "failed", "canceled")


class Runs:
    """The runs of one installation. Dagster's storage is opened when it is first needed.

    Args:
        settings: Of the installation.
        settled: After this, a launch whose answer was lost can no longer appear.
    """

    def __init__(self, settings: Settings, settled: timedelta = SETTLED) -> None:
        self._settings = settings
        self.settled = settled
        self._opening = threading.Lock()
        self._opened: dg.DagsterInstance | None = None

    def open(self) -> None:
        """The storage is there and open.

        On SQLite it is made by whoever opens it first, and two that do so at once spoil it: each
        notes its revision, and Dagster takes no storage that has two.
        """
        with self._storage():
            pass

    def close(self) -> None:
        """The storage is closed."""
        if self._opened is not None:
            self._opened.dispose()

    def link(self, run_id: str) -> str:
        """Where the web UI shows the run."""
        return f"{self._settings.dagster_url}/runs/{run_id}"

    def launch(self, action: Action, campaign: str, intent_id: str) -> str:
        """A run for the campaign is queued; gives its id.

        Raises:
            Unreachable: If nothing was started.
            Unanswered: If nobody knows; `find` tells, when `settled` has passed at the latest.
        """
        with self._storage() as instance:
            if not instance.has_dynamic_partition(CAMPAIGN_PARTITIONS, campaign):
                instance.add_dynamic_partitions(CAMPAIGN_PARTITIONS, [campaign])
        job, stages = JOBS[action]
        tags = {PARTITION_TAG: campaign, INTENT_TAG: intent_id, "aicmo/action": action}
        selector = {
            "repositoryLocationName": CODE_LOCATION,
            "repositoryName": "__repository__",
            "pipelineName": job,
            "assetSelection": [{"path": [stage]} for stage in stages],
        }
        metadata = {"tags": [{"key": key, "value": value} for key, value in tags.items()]}
        params = {"selector": selector, "mode": "default", "executionMetadata": metadata}
        answer = self._ask(_LAUNCH, "launchPipelineExecution", {"params": params})
        if answer["__typename"] == "LaunchRunSuccess":
            return str(answer["run"]["runId"])
        # The web server may have failed behind the point where the run was queued.
        if run_id := self.given_up(intent_id):
            return run_id
        raise Unreachable(
            f"Dagster starts no run ({answer['__typename']}); see whether its web UI shows the "
            f"code location {CODE_LOCATION!r} as loaded, and whether it may start runs"
        )

    def find(self, intent_id: str) -> str | None:
        """The run that the intent has started, if it has."""
        self._remove_stillborn(intent_id, datetime.now(UTC) - self.settled)
        return self._started(intent_id)

    def given_up(self, intent_id: str) -> str | None:
        """As `find`, for whoever knows that no launch of the intent is under way any more."""
        self._remove_stillborn(intent_id, datetime.now(UTC))
        return self._started(intent_id)

    def unfinished(self, campaign: str) -> list[Run]:
        """The runs of the campaign that have not ended, the latest first."""
        own = dg.RunsFilter(statuses=_UNFINISHED, tags={PARTITION_TAG: campaign})
        with self._storage() as instance:
            found = [_run(record) for record in instance.get_run_records(own)]
            stillborn = dg.DagsterRunStatus.NOT_STARTED
            waiting = {r.run_id for r in instance.get_runs(own) if r.status == stillborn}
            found += [
                _run(record)
                for job in SHARED_JOBS
                for record in instance.get_run_records(
                    dg.RunsFilter(job_name=job, statuses=_UNFINISHED)
                )
                if campaign in _shared_among(record.dagster_run)
            ]
        lost = datetime.now(UTC) - self.settled
        return [run for run in found if run.id not in waiting or run.created_at > lost]

    def read(self, run_id: str) -> tuple[Run, list[Step]] | None:
        """The run with its steps in order, if there is one of that id."""
        with self._storage() as instance:
            record = instance.get_run_record_by_id(run_id)
            if record is None:
                return None
            steps = _steps(instance, record.dagster_run)
        return _run(record), steps

    def cancel(self, run_id: str) -> bool:
        """Whether the run is being ended.

        Raises:
            Unreachable: If Dagster cannot be asked.
            Unanswered: If it does not answer.
        """
        answer = self._ask(_TERMINATE, "terminateRun", {"run": run_id})
        return bool(answer["__typename"] == "TerminateRunSuccess")

    def _ask(self, query: str, field: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """The `field` of the answer to a mutation, which is sent once."""
        start = "start it with 'aicmo dev', or as deploy/ shows, and see AICMO_DAGSTER_URL"
        try:
            with requests.Session() as session:
                session.trust_env = False
                answer = session.post(
                    f"{self._settings.dagster_url}/graphql",
                    json={"query": query, "variables": variables},
                    timeout=_ASKING_SECONDS,
                )
                answer.raise_for_status()
                found = answer.json()["data"][field]
                assert isinstance(found, dict)
                return found
        except requests.RequestException as error:
            if _never_left(error):
                raise Unreachable(f"Dagster's web server cannot be reached; {start}") from error
            raise Unanswered(f"Dagster's web server gave no answer; {start}") from error
        except (ValueError, KeyError, TypeError, AssertionError) as error:
            raise Unanswered(f"what answers is not Dagster's web server; {start}") from error

    def _started(self, intent_id: str) -> str | None:
        with self._storage() as instance:
            found = instance.get_runs(dg.RunsFilter(tags={INTENT_TAG: intent_id}))
        started = [run for run in found if run.status != dg.DagsterRunStatus.NOT_STARTED]
        return started[0].run_id if started else None

    def _remove_stillborn(self, intent_id: str, before: datetime) -> None:
        """Runs of the intent that were made before an instant and never queued are gone.

        A web server that dies between the two leaves one behind, which nothing will ever start.
        """
        lost = dg.RunsFilter(
            statuses=[dg.DagsterRunStatus.NOT_STARTED],
            tags={INTENT_TAG: intent_id},
            created_before=before,
        )
        with self._storage() as instance:
            for run in instance.get_runs(lost):
                instance.delete_run(run.run_id)

    @contextmanager
    def _storage(self) -> Iterator[dg.DagsterInstance]:
        """Dagster's instance; that its storage is away is told as such."""
        try:
            with self._opening:
                if self._opened is None:
                    prepare_dagster_home(self._settings)
                    home = str(self._settings.dagster_home)
                    self._opened = dg.DagsterInstance.from_config(home)
            yield self._opened
        except sa.exc.DBAPIError as error:
            raise Unreachable("Dagster's storage cannot be read now; try again") from error


def _never_left(error: requests.RequestException) -> bool:
    """Whether no connection was made, so that nothing can have been asked."""
    if isinstance(error, requests.ConnectTimeout):
        return True
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(reason, NewConnectionError)


def _shared_among(run: dg.DagsterRun) -> list[str]:
    """The campaigns of a run of `SHARED_JOBS`, which has no partition."""
    config: Any = run.run_config
    try:
        return list(config["ops"][SHARED_JOBS[run.job_name]]["config"]["campaigns"])
    except (KeyError, TypeError):
        return []


def _run(record: dg.RunRecord) -> Run:
    run = record.dagster_run
    return Run(
        id=run.run_id,
        job=run.job_name,
        state=_STATES[run.status.value],
        campaign=run.tags.get(PARTITION_TAG),
        created_at=record.create_timestamp.astimezone(UTC),
        started_at=_instant(record.start_time),
        ended_at=_instant(record.end_time),
    )


_STEP_STATES = {"IN_PROGRESS": "running", "SUCCESS": "finished", "FAILURE": "failed"}


def _steps(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[Step]:
    """The stages that the run has planned, else its steps, with what became of them."""
    plan = run.execution_plan_snapshot_id
    planned = instance.get_execution_plan_snapshot(plan).step_keys_to_execute if plan else []
    keys = [stage for stage in STAGES if stage in planned] or planned
    known = {stats.step_key: stats for stats in instance.get_run_step_stats(run.run_id)}
    after = "skipped" if run.is_finished else "waiting"
    return [
        Step(
            stage=key,
            state=_STEP_STATES.get(getattr(known[key].status, "value", ""), "skipped")
            if key in known
            else after,
            started_at=_instant(known[key].start_time) if key in known else None,
            ended_at=_instant(known[key].end_time) if key in known else None,
        )
        for key in keys
    ]


def _instant(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
