"""The whole path from a CSV to routed leads, by stage and size, beside the lean floor.

The leads are the floor's. A stage's figure has what Dagster would add to it left out: its own work,
validation and reasons; the claims about its outcome are told apart. Then the same as a Dagster run,
and what a small campaign takes from the command line, the start of the process included.
"""

import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from aicmo_dagster.definitions import defs
from aicmo_dagster.defs.assets import STAGE_FUNCTIONS
from aicmo_dagster.defs.partitions import register_campaign
from aicmo_dagster.defs.resources import Clock
from aicmo_dagster.defs.runs import open_instance, run_campaign
from aicmo_dagster.domain.schemas import SCHEMAS, STAGES
from aicmo_dagster.stages import claims
from aicmo_dagster.stages.claims import Finding
from aicmo_dagster.stages.deciding import model_claims, routing_claims
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.frames import read_frame
from aicmo_dagster_tests.bench.floor import leads_file, missing, run_floor
from aicmo_dagster_tests.bench.floor_campaign import KEY, apply_floor
from aicmo_dagster_tests.bench.measure import Cost, Measured, cost, least, peak_memory
from aicmo_dagster_tests.samples import NOON
from aicmo_dagster_tests.workspaces import apply, open_test_workspace

SIZES = (100, 1_000, 10_000, 100_000)
MILLION = 1_000_000
ROUNDS = 2
PATH = STAGES[:4]

CLAIMS: tuple[Callable[[Workspace, str], Finding], ...] = (
    claims.few_records_are_rejected,
    claims.most_leads_can_be_written_to,
    claims.every_lead_is_scored,
    model_claims.something_is_known_of_most_leads,
    claims.some_leads_qualify,
    routing_claims.capacity_is_kept,
    routing_claims.nobody_suppressed_is_routed,
    routing_claims.each_routed_lead_has_one_sequence,
    routing_claims.shares_are_fair,
)
"""What is checked of the four stages in a Dagster run."""

PANDERA = "validation by Pandera"

Told = dict[str, tuple[float, float]]
"""Stage to CPU seconds and the peak MiB up to its end."""

Way = Callable[[Path, Path], Told]
"""The path in a home over a CSV."""


def run(scratch: Path) -> Iterator[Measured]:
    """Everything, the largest size last."""
    for part in PARTS.values():
        yield from part(scratch)


def by_size(scratch: Path) -> Iterator[Measured]:
    """Each stage up to 100,000 leads."""
    if _absent():
        return
    for size in SIZES:
        yield from _stages(size, _path(scratch, size))


def million(scratch: Path) -> Iterator[Measured]:
    """The largest size beside the floor, once each since that takes minutes, and how costs grew."""
    if _absent():
        return
    floor, found = run_floor(_folder(), MILLION), _path(scratch, MILLION)
    yield from _stages(MILLION, found)
    size = f"{MILLION:,} leads"
    against = "lean floor, polars"
    yield Measured("whole path", size, found.cpu, "CPU s", floor.cpu, against, 2.5)
    yield Measured("whole path, peak", size, found.peak, "MiB", floor.peak, against)
    yield Measured("whole path, peak", size, found.peak, "MiB", bound=2048)
    spent = found.value[PANDERA][0]
    yield Measured(PANDERA, size, spent, "CPU s", found.cpu, "whole path", 0.08)
    yield from _growth(scratch, found)


def dagster_run(scratch: Path) -> Iterator[Measured]:
    """The path as a Dagster run, checks and metadata included, against the plain calls."""
    if _absent():
        return
    for leads in SIZES[-2:]:
        ways = (walk_path, run_by_dagster)
        plain, ran = least(*(partial(_path, scratch, leads, way) for way in ways), rounds=ROUNDS)
        size = f"{leads:,} leads"
        yield Measured("Dagster run", size, ran.cpu, "CPU s", plain.cpu, "plain calls", 1.25)


def small(scratch: Path) -> Iterator[Measured]:
    """`aicmo run` of all five stages, start of the process included."""
    few = min(_command(scratch, SIZES[0]) for _ in range(ROUNDS))
    what = "aicmo run, five stages"
    yield Measured(what, "100 leads", few[1], "wall s", bound=10)
    yield Measured(what, "100 leads", few[0], "CPU s", bound=10)
    more = min(_command(scratch, SIZES[1]) for _ in range(ROUNDS))
    yield Measured(what, "1,000 leads", more[0], "CPU s", few[0], "100 leads", 1.5)


PARTS = {"small": small, "sizes": by_size, "dagster": dagster_run, "million": million}
"""What can be run alone."""


def _absent() -> bool:
    """Whether there is nothing to compare with, which is told."""
    reason = missing()
    if reason:
        print(f"pipeline: left out, since {reason}")
    return bool(reason)


def _folder() -> Path:
    """Where the floor keeps its data, which takes minutes to make and is kept between runs."""
    return Path(os.environ.get("FLOOR_DIR", Path(tempfile.gettempdir()) / "aicmo-floor"))


def _path(scratch: Path, leads: int, way: Way | None = None) -> Cost:
    """What the path costs in a new process; the value is what `way`, or `walk_path`, tells."""
    source = leads_file(_folder(), leads)
    with tempfile.TemporaryDirectory(dir=scratch) as home:
        found = cost(way or walk_path, Path(home), source)
    spent = sum(cpu for name, (cpu, _) in found.value.items() if name != PANDERA)
    return Cost(spent, found.wall, found.peak, found.value)


def walk_path(home: Path, source: Path) -> Told:
    """The plain calls."""
    workspace = _prepared(home, source)
    told = {}
    for stage in PATH:
        begun = time.process_time()
        STAGE_FUNCTIONS[stage](workspace, KEY, Clock(as_of=NOON.isoformat()))
        told[stage] = (time.process_time() - begun, peak_memory())
    begun = time.process_time()
    for claim in CLAIMS:
        if not claim(workspace, KEY).holds:
            raise RuntimeError(f"{claim.__name__} does not hold")
    told["claims"] = (time.process_time() - begun, peak_memory())
    told[PANDERA] = (_validated(workspace), peak_memory())
    workspace.database.close()
    return told


def _prepared(home: Path, source: Path) -> Workspace:
    """The campaign is applied; what is done once a process, whatever the leads, is done."""
    workspace = open_test_workspace(home, f"sqlite:///{home / 'aicmo.db'}")
    apply(workspace, "warm", 20)
    for stage in PATH:
        STAGE_FUNCTIONS[stage](workspace, "warm", Clock(as_of=NOON.isoformat()))
    apply_floor(workspace, source)
    return workspace


def _validated(workspace: Workspace) -> float:
    """CPU seconds that the validation of all four frames takes, once more."""
    spent = 0.0
    for stage in PATH:
        with workspace.database.read() as connection:
            frame = read_frame(connection, stage, KEY)
        begun = time.process_time()
        SCHEMAS[stage].validate(frame, lazy=True)
        spent += time.process_time() - begun
    return spent


def run_by_dagster(home: Path, source: Path) -> Told:
    """The same in one run."""
    workspace = _prepared(home, source)
    with open_instance(workspace.settings) as instance:
        register_campaign(instance, KEY)
        begun = time.process_time()
        as_of = NOON.isoformat()
        outcome = run_campaign(
            defs, instance, KEY, list(PATH), as_of=as_of, on_stage=lambda stage: None
        )
        spent = time.process_time() - begun
    if outcome.failure:
        raise RuntimeError(outcome.failure)
    return {"run": (spent, peak_memory())}


def _stages(leads: int, found: Cost) -> Iterator[Measured]:
    size = f"{leads:,} leads"
    for name, (cpu, peak) in found.value.items():
        yield Measured(name, size, cpu, "CPU s")
        yield Measured(f"{name}, peak by its end", size, peak, "MiB")
    yield Measured("whole path", size, found.cpu, "CPU s")


def _growth(scratch: Path, largest: Cost) -> Iterator[Measured]:
    before = _path(scratch, SIZES[-1])
    size = f"{MILLION:,} leads"
    against = f"{SIZES[-1]:,} leads"
    yield Measured("whole path, growth", size, largest.cpu, "CPU s", before.cpu, against, 13)
    exponent = math.log10(largest.cpu / before.cpu)
    yield Measured("whole path, growth exponent", f"{against} to {size}", exponent, "")


def _command(scratch: Path, leads: int) -> tuple[float, float]:
    """CPU and wall seconds of one `aicmo run` in a home where nothing ever ran."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        home = Path(folder)
        workspace = open_test_workspace(home, f"sqlite:///{home / 'aicmo.db'}")
        apply(workspace, "few", leads)
        workspace.database.close()
        found = cost(_run_command, home)
        return found.cpu, found.wall


def _run_command(home: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("AICMO", "DAGSTER"))}
    command = [sys.executable, "-m", "aicmo_dagster.cli.main", "run", "few", "--json"]
    environment |= {"AICMO_HOME": str(home)}
    subprocess.run(command, env=environment, check=True, capture_output=True)
