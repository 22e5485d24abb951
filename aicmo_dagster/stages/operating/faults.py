"""Which faults may pass by themselves, and how long to wait for that: decided here alone."""

import sqlalchemy as sa

from aicmo_dagster.errors import Transient

RETRIES = 3
"""How often what the cron started is tried again."""

FIRST_WAIT = 20.0
"""Seconds before the second try; each later one waits three times as long."""

_PASSING = (
    # Also a statement of PostgreSQL's that took too long: what it waited for, what else ran, and
    # statistics that were not there yet all pass; and tries are few.
    Transient,
    sa.exc.OperationalError,  # a locked file, a lost connection, a server that shuts down
    sa.exc.InterfaceError,
    ConnectionError,
    TimeoutError,
)


def is_transient(error: BaseException) -> bool:
    """Whether another try, later, may go well."""
    return isinstance(error, _PASSING)


def wait_before(retry: int, chance: float) -> float:
    """Seconds to wait before `retry` (from 1 on), spread by `chance` (0 to 1).

    Half of the wait is certain and half is drawn, so that those who failed together do not all
    come back together.
    """
    longest = FIRST_WAIT * 3 ** (retry - 1)
    return longest / 2 * (1 + chance)
