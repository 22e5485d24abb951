"""Pools that Dagster is told of, whoever else tells it."""

import time
from concurrent.futures import ThreadPoolExecutor

import dagster as dg
import sqlalchemy as sa

from aicmo_dagster.defs.pools import POOLS, introduce_pools
from aicmo_dagster_tests.conftest import NewDatabase

WAITING = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")


def test_of_two_processes_that_introduce_pools_at_once_none_fails(
    postgresql_server: str, new_postgresql: NewDatabase
) -> None:
    empty = sa.make_url(postgresql_server).set(database="template1")
    made = sa.make_url(new_postgresql(empty.render_as_string(hide_password=False)))
    url = made.set(drivername="postgresql+psycopg2").render_as_string(hide_password=False)
    storage = {
        "module": "dagster_postgres.event_log",
        "class": "PostgresEventLogStorage",
        "config": {"postgres_url": url},
    }
    pools = {"granularity": "op", "default_limit": 4}
    settings = {"event_log_storage": storage, "concurrency": {"pools": pools}}
    with (
        dg.instance_for_test(overrides=settings) as instance,
        ThreadPoolExecutor() as pool,
        sa.create_engine(url).connect() as other,
    ):
        rows = ", ".join(f"('{name}', 4, true)" for name in POOLS)
        names = 'concurrency_key, "limit", using_default_limit'
        other.exec_driver_sql(f"INSERT INTO concurrency_limits ({names}) VALUES {rows}")
        introduced = pool.submit(introduce_pools, instance)
        while not other.scalar(WAITING) and not introduced.done():
            time.sleep(0.01)
        other.commit()
        introduced.result()
        found = {each.name: each.limit for each in instance.event_log_storage.get_pool_limits()}

    assert found == dict.fromkeys(POOLS, 4)
