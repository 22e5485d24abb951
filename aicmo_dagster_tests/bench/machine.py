"""What figures depend on: the machine and the versions, without the names of either's owner."""

import importlib.metadata
import os
import platform
import sqlite3
from pathlib import Path

PACKAGES = ("dagster", "numpy", "pandas", "pandera", "pyarrow", "scikit-learn", "sqlalchemy")


def conditions() -> str:
    """Cores, memory, model of the CPU and versions, in a line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    versions = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES]
    told = [f"Python {platform.python_version()}", f"SQLite {sqlite3.sqlite_version}", *versions]
    return f"{cores} cores, {memory:.0f} GiB, {_model()}; {', '.join(told)}"


def _model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()
