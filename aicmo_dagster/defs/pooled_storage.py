"""Dagster's storage on PostgreSQL, of which each process keeps a few connections open.

Dagster's own connects anew for each statement everywhere but in the web server, and asks the schema
again and again what it has: on an idle system that was most of what the server did. This one is
used where a dagster.yaml names it (deploy/dagster.yaml); nothing here imports it. Not here: what is
read and written, and how, which is all dagster-postgres's.
"""

import os
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, Self

import sqlalchemy as sa
from dagster._config.config_schema import UserConfigSchema
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.config import PostgresStorageConfig, pg_config
from dagster._serdes import ConfigurableClass, ConfigurableClassData
from dagster_postgres.auth import PgTokenProvider
from dagster_postgres.event_log import PostgresEventLogStorage
from dagster_postgres.run_storage import PostgresRunStorage
from dagster_postgres.schedule_storage import PostgresScheduleStorage
from dagster_postgres.utils import (
    create_pg_engine,
    get_token_provider_from_config,
    pg_url_from_config,
    set_pg_statement_timeout,
)

KEPT = 2
"""Connections of an open instance that stay open."""

RENEWED_SECONDS = 3600
"""After which a connection is not used again: its process at the server remembers ever more."""

_NOTICING = {
    "application_name": "dagster",
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 15,
    "keepalives_count": 4,
    "tcp_user_timeout": 90_000,
}
"""A server that is gone without a word is noticed within a minute and a half."""


class _Found:
    """What a schema was found to have. It has it for good, while it may get what it has not."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    def has(self, name: str, look: Callable[[], bool]) -> bool:
        """Whether it has it; a schema that was found to is not looked at again."""
        if name not in self._names and look():
            self._names.add(name)
        return name in self._names


class _Runs(PostgresRunStorage):
    _engine: sa.Engine

    def __init__(self, **given: Any) -> None:
        self._found = _Found()
        super().__init__(**given)

    def has_run_stats_index_cols(self) -> bool:
        """Whether runs say when they began and ended; asked with each read of them."""
        return self._found.has("times", super().has_run_stats_index_cols)

    def optimize_for_webserver(
        self, statement_timeout: int, pool_recycle: int, max_overflow: int
    ) -> None:
        """Statements of all three storages are ended after `statement_timeout` milliseconds.

        How many connections there are, and for how long, is the same there as elsewhere.
        """
        limit = partial(_limit_statements, statement_timeout)
        sa.event.listen(self._engine, "connect", limit)
        self._engine.dispose()

    def dispose(self) -> None:
        """The connections of all three storages are closed; what is asked later opens others."""
        self._engine.dispose()


class _Events(PostgresEventLogStorage):
    def optimize_for_webserver(
        self, statement_timeout: int, pool_recycle: int, max_overflow: int
    ) -> None:
        """Nothing to do: the storage of runs has done it for all three."""


class _Schedules(PostgresScheduleStorage):
    def __init__(self, **given: Any) -> None:
        self._found = _Found()
        super().__init__(**given)

    def has_instigators_table(self) -> bool:
        """Whether sensors and schedules have a table; asked with each read and write of them."""
        return self._found.has("instigators", super().has_instigators_table)

    def _has_instigators_table(self, conn: sa.Connection) -> bool:
        return self._found.has("instigators", partial(super()._has_instigators_table, conn))

    def has_built_index(self, migration_name: str) -> bool:
        """Whether a change of the schema was made; asked with each read of sensors' states."""
        look = partial(super().has_built_index, migration_name)
        return self._found.has(f"index {migration_name}", look)

    def optimize_for_webserver(
        self, statement_timeout: int, pool_recycle: int, max_overflow: int
    ) -> None:
        """Nothing to do: the storage of runs does it for all three."""


class PooledPostgresStorage(DagsterStorage, ConfigurableClass):
    """As dagster-postgres's, configured like it, but its three storages share kept connections.

    A connection is asked for a sign of life before it is used, so that a restart of the server
    costs no statement. A process that is forked leaves its parent's connections alone and opens
    its own.
    """

    def __init__(
        self,
        postgres_url: str,
        should_autocreate_tables: bool = True,
        inst_data: ConfigurableClassData | None = None,
        token_provider: PgTokenProvider | None = None,
    ) -> None:
        self._inst_data = inst_data
        given: dict[str, Any] = {
            "postgres_url": postgres_url,
            "should_autocreate_tables": should_autocreate_tables,
            "token_provider": token_provider,
        }
        self._runs, self._events, self._schedules = (
            _Runs(**given),
            _Events(**given),
            _Schedules(**given),
        )
        engine = _pooled(postgres_url, token_provider)
        for storage in (self._runs, self._events, self._schedules):
            storage._engine = engine  # as their own `optimize_for_webserver` does
        super().__init__()

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """What it was configured by."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """As of dagster-postgres's `storage: postgres`."""
        return pg_config()

    @classmethod
    def from_config_value(  # type: ignore[override]
        cls, inst_data: ConfigurableClassData | None, config_value: PostgresStorageConfig
    ) -> Self:
        """The storage that a dagster.yaml asks for."""
        return cls(
            inst_data=inst_data,
            postgres_url=pg_url_from_config(config_value),
            should_autocreate_tables=bool(config_value.get("should_autocreate_tables", True)),
            token_provider=get_token_provider_from_config(config_value),
        )

    @property
    def event_log_storage(self) -> PostgresEventLogStorage:
        """Of events, asset keys, partitions and pools."""
        return self._events

    @property
    def run_storage(self) -> PostgresRunStorage:
        """Of runs, daemons' heartbeats and backfills."""
        return self._runs

    @property
    def schedule_storage(self) -> PostgresScheduleStorage:
        """Of ticks of sensors and schedules."""
        return self._schedules


def _pooled(url: str, token_provider: PgTokenProvider | None) -> sa.Engine:
    told = sa.make_url(url).query
    engine = create_pg_engine(
        url,
        token_provider,
        isolation_level="AUTOCOMMIT",
        connect_args={k: v for k, v in _NOTICING.items() if k not in told},
        pool_size=KEPT,
        max_overflow=-1,  # who holds one may ask for another: nobody is to wait for that
        pool_recycle=RENEWED_SECONDS,
        pool_pre_ping=True,
        pool_use_lifo=True,  # what the last one has warmed up
    )
    _ENGINES.add(engine)
    return engine


_ENGINES: weakref.WeakSet[sa.Engine] = weakref.WeakSet()


def _leave_to_parent() -> None:
    for engine in _ENGINES:
        engine.dispose(close=False)


os.register_at_fork(after_in_child=_leave_to_parent)


def _limit_statements(milliseconds: int, connection: Any, _record: object) -> None:
    set_pg_statement_timeout(connection, milliseconds)
