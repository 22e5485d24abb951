"""What is kept for how long: history, spools, logs. The ledger and decisions are kept for good.

Not here: Dagster's runs, events and ticks (`defs.housekeeping`).
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from aicmo_dagster.settings import Settings
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store import incidents, results, ticks, uploads
from aicmo_dagster.store.files import compact
from aicmo_dagster.store.spool import REFUSED


@dataclass(frozen=True)
class Ages:
    """How old what may be.

    Args:
        runs: Dagster's runs, their events and logs, unless they made the latest of something; the
            looks of its daemon that started a run.
        idle_looks: Looks of its daemon that started nothing.
        failed_looks: Those that failed.
        ticks: Of campaigns, and what became of them.
        results: What each stage did, and incidents that are over.
        refused: Segments of events that the database would not take.
        copies: Of remote files and imports, which only a process that was killed leaves.
    """

    runs: timedelta = timedelta(days=7)
    idle_looks: timedelta = timedelta(days=1)
    failed_looks: timedelta = timedelta(days=30)
    ticks: timedelta = timedelta(days=30)
    results: timedelta = timedelta(days=90)
    refused: timedelta = timedelta(days=30)
    copies: timedelta = timedelta(days=2)


AGES = Ages()


def keep_house(workspace: Workspace, now: datetime, ages: Ages = AGES) -> dict[str, int]:
    """What is too old is gone: what, and how much of it."""
    settings = workspace.settings
    with workspace.database.write() as connection:
        uploads.remove_abandoned(connection, now)
        gone = {
            "ticks": ticks.forget_before(connection, now - ages.ticks),
            "stage_results": results.forget_before(connection, now - ages.results),
            "incidents": incidents.forget_before(connection, now - ages.results),
        }
    gone["refused_segments"] = _remove(settings.spool.glob(f"*{REFUSED}"), now - ages.refused)
    gone["copies"] = _remove_folders(settings.copies, now - ages.copies)
    logs = [*(settings.dagster_home / "storage").rglob("*")]
    gone["log_files"] = _remove(logs, now - ages.runs)
    _remove_empty(settings.dagster_home / "storage", now - ages.runs)
    return gone


def compact_files(settings: Settings) -> int:
    """SQLite files of ours and of Dagster hold little that is free; tells how many were rewritten.

    Those of single runs go with their run.
    """
    url = sa.make_url(settings.database_url)
    ours = [Path(url.database)] if url.get_backend_name() == "sqlite" and url.database else []
    home = settings.dagster_home
    theirs = [home / "history" / "runs.db", home / "history" / "runs" / "index.db"]
    return sum(compact(path) for path in (*ours, *theirs, home / "schedules" / "schedules.db"))


def _remove(paths: Iterator[Path] | list[Path], before: datetime) -> int:
    """Files last written before then are gone."""
    old = [p for p in paths if p.is_file() and p.stat().st_mtime < before.timestamp()]
    for path in old:
        path.unlink(missing_ok=True)
    return len(old)


def _remove_folders(within: Path, before: datetime) -> int:
    """Folders last changed before then are gone, with what is in them."""
    found = [path for path in within.glob("*") if path.is_dir()]
    old = [path for path in found if path.stat().st_mtime < before.timestamp()]
    for path in old:
        shutil.rmtree(path, ignore_errors=True)
    return len(old)


def _remove_empty(folder: Path, before: datetime) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):  # the innermost first
        if path.is_dir() and not any(path.iterdir()) and path.stat().st_mtime < before.timestamp():
            path.rmdir()
