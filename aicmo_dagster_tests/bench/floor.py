"""The lean floor beside the project, if it is there: the same path with nothing but the work.

Not here: what it is compared with (`bench_pipeline`).
"""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from aicmo_dagster_tests.bench.measure import Cost

FLOOR = Path(__file__).parents[3] / "shared" / "floor"
"""Beside the checkout, as the other data that tests and benchmarks use where it is present."""


def missing() -> str:
    """Why the floor cannot be run; empty if it can."""
    if not FLOOR.is_dir():
        return "../shared/floor is not beside this checkout"
    if find_spec("polars") is None:
        return "polars is not installed, which only the floor uses"
    return ""


def leads_file(folder: Path, leads: int) -> Path:
    """The floor's CSV of so many leads, made below `folder` if it is not there yet."""
    path = folder / "data" / f"leads_{leads}.csv"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, FLOOR / "gen.py", str(leads), path], check=True)
    return path


def run_floor(folder: Path, leads: int) -> Cost:
    """What the path cost without us, as the floor tells it: its stages, not its start."""
    leads_file(folder, leads)
    (folder / "data" / f"f_{leads}.db").unlink(missing_ok=True)
    environment = os.environ | {"PYTHON": sys.executable, "FLOOR_DIR": str(folder)}
    command = ["bash", FLOOR / "run.sh", str(leads), "polars"]
    told = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    found = re.search(r"total ([\d.]+)s cpu ([\d.]+)s peak (\d+) MB", told.stdout)
    if found is None:
        raise RuntimeError("the floor told no total")
    wall, cpu, peak = map(float, found.groups())
    return Cost(cpu, wall, peak, None)
