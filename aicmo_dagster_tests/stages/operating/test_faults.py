"""What may pass by itself is tried again, and nothing else."""

import sqlalchemy as sa

from aicmo_dagster.errors import AicmoError, BadInput, Problem
from aicmo_dagster.sources.http import BadKey, Unavailable
from aicmo_dagster.stages.operating.faults import FIRST_WAIT, RETRIES, is_transient, wait_before
from aicmo_dagster.store.engines import make_engine, unreachable


def test_servers_that_are_down_and_locks_may_pass() -> None:
    locked = sa.exc.OperationalError("SELECT 1", {}, Exception("database is locked"))

    assert is_transient(Unavailable("Apollo answers 503"))
    assert is_transient(locked)
    assert is_transient(unreachable(make_engine("postgresql://nowhere.example/aicmo"), locked))
    assert is_transient(ConnectionResetError())


def test_bad_documents_bad_keys_and_our_own_faults_do_not() -> None:
    assert not is_transient(BadInput(Problem("leads.csv", "", "nothing", "a header")))
    assert not is_transient(BadKey("Apollo refuses the key"))
    assert not is_transient(AicmoError("there is no campaign 'x'"))
    assert not is_transient(ZeroDivisionError())


def test_waits_grow_and_are_spread() -> None:
    waits = [wait_before(retry, 1.0) for retry in range(1, RETRIES + 1)]

    assert waits == [FIRST_WAIT, 3 * FIRST_WAIT, 9 * FIRST_WAIT]
    assert wait_before(2, 0.0) == waits[1] / 2
