"""Dagster's launcher of runs on Celery workers, which also notices that a worker is gone.

It is used where a dagster.yaml names it (deploy/celery.yaml); nothing here imports it, and Celery
is an extra. Not here: the workers, which are dagster-celery's own.
"""

from typing import Any

import dagster as dg
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG

PING_SECONDS = (1.0, 3.0)
"""How long a worker is waited for, again and again, before it is taken to be gone."""


class WatchingCeleryRunLauncher(CeleryRunLauncher):
    """As dagster-celery's, but for runs that wait, that are cancelled, or whose worker is gone.

    Its parent takes a run that waits at the broker for a failed one, lets a cancelled run end as a
    failure, and takes a killed worker's runs to be going on for ever.
    """

    def terminate(self, run_id: str) -> bool:
        """Whether the worker was told to stop; the run then ends as cancelled."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished or DAGSTER_CELERY_TASK_ID_TAG not in run.tags:
            return False
        self._instance.report_run_canceling(run)
        return super().terminate(run_id)

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """How the run's worker fares; the daemon fails the run of one that is gone."""
        task_id = run.tags.get(DAGSTER_CELERY_TASK_ID_TAG)
        task = self.celery.AsyncResult(task_id) if task_id else None
        if task is None or task.state == "PENDING":  # it waits, or its result was forgotten
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        if task.state == "STARTED" and not self._answers(task.info):
            return CheckRunHealthResult(WorkerStatus.FAILED, "The worker does not answer.")
        return super().check_run_worker_health(run)

    def is_lost(self, run: dg.DagsterRun) -> bool:
        """Whether a worker took the run and is gone, be it before the run began.

        Dagster's own monitoring asks nothing of a run that is starting, and so could not tell one
        that waits at the broker from one that was lost on its way.
        """
        task_id = run.tags.get(DAGSTER_CELERY_TASK_ID_TAG)
        task = self.celery.AsyncResult(task_id) if task_id else None
        return task is not None and task.state == "STARTED" and not self._answers(task.info)

    def _answers(self, started: Any) -> bool:
        """Whether the worker that `started` the task is there; its main process never is busy."""
        worker = started.get("hostname") if isinstance(started, dict) else None
        if worker is None:  # the task has just ended, and its result is no longer who runs it
            return True
        ping = self.celery.control.ping
        return any(ping(destination=[worker], timeout=seconds) for seconds in PING_SECONDS)
