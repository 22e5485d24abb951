"""The resources of the assets: the workspace (settings and database) and the clock."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from aicmo_dagster.settings import load_settings
from aicmo_dagster.stages.workspace import Workspace, open_workspace
from aicmo_dagster.store.workers import this_worker

WORKER_TAG = "aicmo/worker"


class WorkspaceResource(dg.ConfigurableResource):
    """Opens the workspace that the environment names, when a run needs it and not before."""

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[Workspace]:
        """The open workspace, closed when the run ends; the run says which process it is in."""
        _name_worker(context)
        with open_workspace(load_settings()) as workspace:
            yield workspace


def _name_worker(context: dg.InitResourceContext) -> None:
    """A run whose process ends without a word is found by this.

    Dagster's default launcher cannot tell: a run would seem to go on for as long as a run may.
    """
    run, instance, worker = context.run, context.instance, this_worker()
    # A run that is tried again comes with the name of the process that was lost.
    if run is not None and instance is not None and run.tags.get(WORKER_TAG) != worker:
        instance.add_run_tags(run.run_id, {WORKER_TAG: worker})


class Clock(dg.ConfigurableResource):
    """The instant that a run takes as now.

    Args:
        as_of: ISO 8601 with an offset; empty means the real time.
    """

    as_of: str = ""

    def now(self) -> datetime:
        """The instant in UTC."""
        if not self.as_of:
            return datetime.now(UTC)
        return datetime.fromisoformat(self.as_of).astimezone(UTC)


RESOURCES: dict[str, Any] = {"workspace": WorkspaceResource(), "clock": Clock()}
