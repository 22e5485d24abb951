"""Processes of their own for tests, forked from one that has imported what they need.

Not here: what they do.
"""

from multiprocessing import get_context
from multiprocessing.context import ForkServerContext

IMPORTED = [
    "aicmo_dagster_tests.bench.killing",
    "aicmo_dagster_tests.providers.killing",
    "aicmo_dagster_tests.simulation.enduring",
    "aicmo_dagster_tests.crowds",
]
"""For all who start processes: there is one server, and its first user says what it imports."""


def processes() -> ForkServerContext:
    """What starts processes in milliseconds, where a new interpreter takes seconds of imports."""
    context = get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    return context
