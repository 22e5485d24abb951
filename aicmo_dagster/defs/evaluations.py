"""What an evaluation of a sensor works with. Not here: what a run works with (`resources`)."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import dagster as dg

from aicmo_dagster.defs.pools import introduce_pools
from aicmo_dagster.defs.resources import Clock
from aicmo_dagster.settings import load_settings
from aicmo_dagster.stages.workspace import Workspace, open_workspace
from aicmo_dagster.store.database import bring_up_to_date


@dataclass(frozen=True)
class Evaluation:
    """What one evaluation works with."""

    instance: dg.DagsterInstance
    workspace: Workspace
    clock: Clock


class _Kept:
    """What the evaluations of this process share: an open instance, and how to speak to our tables.

    A new engine would compile each statement anew, which takes longer than to execute it. But no
    connection stays open: the file of a database may be another one by the next evaluation.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._instance: tuple[object, dg.DagsterInstance] | None = None
        self._workspace: Workspace | None = None

    def instance(self, context: dg.SensorEvaluationContext) -> dg.DagsterInstance:
        """The instance that `context` refers to; opened if no evaluation has needed it yet."""
        reference = context.instance_ref
        if reference is None:
            return context.instance
        with self._lock:
            if self._instance is None or self._instance[0] != reference:
                instance = dg.DagsterInstance.from_ref(reference)
                introduce_pools(instance)
                self._instance = (reference, instance)
            return self._instance[1]

    @contextmanager
    def workspace(self) -> Iterator[Workspace]:
        """The workspace that the environment names, its database brought up to date first."""
        settings = load_settings()
        with self._lock:
            known = self._workspace
        if known is None or known.settings != settings:
            with open_workspace(settings) as opened:
                yield opened
            with self._lock:
                self._workspace = opened
            return
        bring_up_to_date(known.database)
        try:
            yield known
        finally:
            known.database.close()


_KEPT = _Kept()


@contextmanager
def evaluation(context: dg.SensorEvaluationContext) -> Iterator[Evaluation]:
    """What the evaluation works with: the resources of `context` if it has any, as tests give.

    A sensor that names resources, or asks its context for the instance, makes Dagster open an
    instance for each evaluation, which takes longer than most evaluations do: each of its databases
    is asked whether its schema is the newest. So sensors name none, and one instance stays open.
    """
    instance = _KEPT.instance(context)
    if context.resource_defs:
        yield Evaluation(instance, context.resources.workspace, context.resources.clock)
        return
    with _KEPT.workspace() as workspace:
        yield Evaluation(instance, workspace, Clock())
