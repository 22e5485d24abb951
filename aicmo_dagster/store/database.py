"""The database: opening it, its one schema, and transactions.

Not here: what goes through them in bulk (`loading`, `fetching`) or by the row (`upserts`), what a
table means (one module a subject), connecting (`engines`), the schema's history (`migrations`).
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from aicmo_dagster.errors import AicmoError, Transient
from aicmo_dagster.settings import USUAL_LIMITS, DatabaseLimits
from aicmo_dagster.store import migrations
from aicmo_dagster.store.engines import DatabaseAway, is_its_own, make_engine, unreachable

_READING: dict[str, dict[str, Any]] = {
    "sqlite": {"sqlite_read_only": True},
    "postgresql": {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True},
}
"""How a transaction that only reads is begun."""


@dataclass(frozen=True)
class Database:
    """An open database whose schema is ours.

    Args:
        engine: What connects to it.
        unseen: Set while nobody has seen it yet: whoever comes next brings its schema up to date.
    """

    engine: sa.Engine
    unseen: threading.Event = field(default_factory=threading.Event, repr=False, compare=False)

    @contextmanager
    def write(self, *, durable: bool = False) -> Iterator[sa.Connection]:
        """One transaction, kept if the block ends well. On SQLite writers queue; never nest two.

        Args:
            durable: Survives a power cut too once committed; on PostgreSQL all transactions do.
        """
        with (
            self._connected() as connection,
            _synced(connection) if durable else nullcontext(),
            self._begun(connection.execution_options(sqlite_begin="IMMEDIATE")),
        ):
            yield connection

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """One consistent snapshot; writing through it is refused."""
        reading = _READING[self.engine.dialect.name]
        with self._connected() as connection, self._begun(connection.execution_options(**reading)):
            yield connection

    def close(self) -> None:
        """All connections are given back."""
        self.engine.dispose()

    @contextmanager
    def _connected(self) -> Iterator[sa.Connection]:
        if self.unseen.is_set():
            self._see()
        try:
            connection = self.engine.connect()
        except (sa.exc.OperationalError, sa.exc.TimeoutError) as error:
            raise unreachable(self.engine, error) from error
        with connection:
            yield connection

    def _see(self) -> None:
        """The schema is ours, and it is looked at no more; or a `Transient` says why not."""
        try:
            bring_up_to_date(Database(self.engine))
        except Transient:
            raise
        except AicmoError as error:  # another version may be installed, here or there
            raise DatabaseAway(str(error)) from error
        self.unseen.clear()

    @contextmanager
    def _begun(self, connection: sa.Connection) -> Iterator[None]:
        try:
            transaction = connection.begin()
        except sa.exc.OperationalError as error:
            raise unreachable(self.engine, error) from error
        try:
            with transaction:
                yield
        except sa.exc.DBAPIError as error:
            if is_its_own(connection.dialect, error.orig):
                raise unreachable(self.engine, error) from error
            raise


def take_turn(connection: sa.Connection, what: str, *, shared: bool = False) -> None:
    """Whoever writes `what` waits for the end of this transaction; call it first.

    Those who share a turn wait for those alone who do not. SQLite's write transactions queue
    anyway.
    """
    if connection.dialect.name == "postgresql":
        number = sa.func.hashtextextended(what, 0)
        lock = sa.func.pg_advisory_xact_lock_shared if shared else sa.func.pg_advisory_xact_lock
        connection.execute(sa.select(lock(number)))


def open_database(url: str, limits: DatabaseLimits = USUAL_LIMITS) -> Database:
    """The database at `url`, made or brought up to date if need be.

    Args:
        url: Where it is.
        limits: What this process may ask of its server.

    Raises:
        AicmoError: If it cannot be reached or read, or a newer version of AICMO made it.
    """
    _spare_memory()
    database = Database(make_engine(url, limits))
    bring_up_to_date(database)
    return database


def bring_up_to_date(database: Database) -> None:
    """The schema of `database` is ours; else all connections are given back.

    Several who do this at once do no harm.

    Raises:
        AicmoError: If it cannot be reached or read, or a newer version of AICMO made it.
    """
    refusal: AicmoError
    try:
        with database.engine.begin() as connection:
            current = migrations.is_current(connection)
        if not current:
            with database.write() as connection:
                migrations.upgrade(connection)
        return
    except sa.exc.DBAPIError as error:
        refusal = unreachable(database.engine, error)
    except AicmoError as error:
        refusal = error
    database.close()
    raise refusal  # out here: the driver's error may tell more of the URL than anyone should read


def open_or_await(url: str, limits: DatabaseLimits = USUAL_LIMITS) -> Database:
    """Like `open_database`; one that cannot be used now is brought up to date once it can.

    Whoever asks anything of it before that gets a `Transient`.

    Raises:
        AicmoError: If it is there and will not do, or the URL will not.
    """
    try:
        return open_database(url, limits)
    except Transient:
        database = Database(make_engine(url, limits))
        database.unseen.set()
        return database


def _spare_memory() -> None:
    """Frames have their memory of jemalloc, where they would have it of mimalloc.

    Of what Arrow takes otherwise, most goes back to the system at once and has to be cleared anew:
    a harvest spent a seventh of its time on that, and held a sixth more.
    """
    usual = pa.default_memory_pool().backend_name == "mimalloc"
    if usual and "jemalloc" in pa.supported_memory_backends():
        pa.set_memory_pool(pa.jemalloc_memory_pool())


@contextmanager
def _synced(connection: sa.Connection) -> Iterator[None]:
    """What SQLite commits is on the disk; set around a transaction, since not heeded within."""
    if connection.dialect.name != "sqlite":
        yield
        return
    cursor = connection.connection.cursor()
    cursor.execute("PRAGMA synchronous = FULL")
    try:
        yield
    finally:
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.close()
