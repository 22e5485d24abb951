"""Names of worker processes, and whether one has ended.

Not here: what it had claimed (`ledger`).
"""

import os
from pathlib import Path

import psutil

from aicmo_dagster.settings import host_name


def this_worker() -> str:
    """This process, so named that a later process with the same number is another worker."""
    return _name(psutil.Process(os.getpid()))


def this_boot() -> str:
    """Names the time since this machine was started: another name means that it went down."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:  # no Linux
        return f"{psutil.boot_time():.0f}"


def has_ended(worker: str) -> bool:
    """Whether `worker` is a process of this machine that runs no more."""
    host, number, _ = worker.rsplit(":", 2)
    if host != host_name():
        return False
    try:
        return _name(psutil.Process(int(number))) != worker
    except psutil.NoSuchProcess:
        return True


def _name(process: psutil.Process) -> str:
    return f"{host_name()}:{process.pid}:{process.create_time():.2f}"
