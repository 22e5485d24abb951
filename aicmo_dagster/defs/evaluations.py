"""What an evaluation of a sensor works with. Not here: what a run works with (`resources`)."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import dagster as dg

from aicmo_dagster.defs.resources import Clock
from aicmo_dagster.settings import load_settings
from aicmo_dagster.stages.workspace import Workspace, open_workspace


@dataclass(frozen=True)
class Evaluation:
    """What one evaluation works with."""

    instance: dg.DagsterInstance
    workspace: Workspace
    clock: Clock


class _OpenInstance:
    """The instance that the evaluations of this process share."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: tuple[object, dg.DagsterInstance] | None = None

    def of(self, context: dg.SensorEvaluationContext) -> dg.DagsterInstance:
        """The instance that `context` refers to; opened if no evaluation has needed it yet."""
        reference = context.instance_ref
        if reference is None:
            return context.instance
        with self._lock:
            if self._open is None or self._open[0] != reference:
                self._open = (reference, dg.DagsterInstance.from_ref(reference))
            return self._open[1]


_OPEN_INSTANCE = _OpenInstance()


@contextmanager
def evaluation(context: dg.SensorEvaluationContext) -> Iterator[Evaluation]:
    """What the evaluation works with: the resources of `context` if it has any, as tests give.

    A sensor that names resources, or asks its context for the instance, makes Dagster open an
    instance for each evaluation, which takes longer than most evaluations do: each of its databases
    is asked whether its schema is the newest. So sensors name none, and one instance stays open.
    """
    instance = _OPEN_INSTANCE.of(context)
    if context.resource_defs:
        yield Evaluation(instance, context.resources.workspace, context.resources.clock)
        return
    with open_workspace(load_settings()) as workspace:
        yield Evaluation(instance, workspace, Clock())
