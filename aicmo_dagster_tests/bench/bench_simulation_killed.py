"""A month of a campaign's life that everything befalls, on both engines, with 20 seeds each.

SIGKILL at random moments, faults of mail server and providers, the database restarted, the disk
full, the clock set forward and back: nobody may be mailed twice or after an objection, no credit
spent twice, nobody lost, no cap broken, and every decision must be kept.

`python -m aicmo_dagster_tests.bench.bench_simulation_killed --help` lives through fewer of them.
"""

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import click

from aicmo_dagster_tests.bench.bench_mail_killed import postgresql
from aicmo_dagster_tests.bench.measure import Measured
from aicmo_dagster_tests.simulation.enduring import Aftermath, live_despite
from aicmo_dagster_tests.simulation.places import disk
from aicmo_dagster_tests.simulation.troubles import MONTH

SEEDS = range(1, 21)
PEOPLE, DAYS, PER_DAY = 40, 30, 6
ENGINES = {"SQLite": 64, "PostgreSQL": 400}
"""The engines, and how many MiB of disk a life has on each."""


def run(scratch: Path) -> Iterator[Measured]:
    """Breaches of what must hold, over all seeds."""
    for engine in ENGINES:
        for seed in SEEDS:
            yield _lived(engine, scratch, seed, PEOPLE, DAYS)


def _lived(engine: str, scratch: Path, seed: int, people: int, days: int) -> Measured:
    after = _aftermath(engine, scratch, seed, people, days)
    befallen = ", ".join(f"{kind} {times}" for kind, times in sorted(after.befallen.items()))
    failed = after.failures.total()
    size = (
        f"{days} days, {after.letters} mails, {after.spent:g} credits; {befallen}; {failed} failed"
    )
    for breach in after.breaches:
        click.echo(f"{engine}, seed {seed}: {breach}", err=True)
    what = f"{engine}, seed {seed}: broken promises"
    return Measured(what, size, len(after.breaches), "breaches", bound=0)


def _aftermath(engine: str, scratch: Path, seed: int, people: int, days: int) -> Aftermath:
    os.environ["NO_PROXY"] = "127.0.0.1"
    records = scratch / f"{engine}-{seed}"
    records.mkdir()
    with disk(ENGINES[engine]) as place:
        on_sqlite = engine == "SQLite"
        url = f"sqlite:///{place.folder}/aicmo.db"
        with nullcontext(url) if on_sqlite else postgresql(place.folder) as database_url:
            return live_despite(
                place,
                records,
                database_url,
                people=people,
                days=days,
                kinds=MONTH,
                seed=seed,
                per_day=PER_DAY,
            )


@click.command()
@click.option("--engine", type=click.Choice(list(ENGINES)), multiple=True, default=list(ENGINES))
@click.option("--seeds", default="1-20", show_default=True, help="FIRST-LAST, or one.")
@click.option("--people", default=PEOPLE, show_default=True, help="On the campaign's list.")
@click.option("--days", default=DAYS, show_default=True)
def main(engine: tuple[str, ...], seeds: str, people: int, days: int) -> None:
    """Lives that everything befalls; what they broke."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # servers and disks are given back
    first, _, last = seeds.partition("-")
    with tempfile.TemporaryDirectory() as scratch:
        for name in engine:
            for seed in range(int(first), int(last or first) + 1):
                told = _lived(name, Path(scratch), seed, people, days)
                click.echo(f"{told.what}, {told.size}: {told.ours}")


if __name__ == "__main__":
    main()
