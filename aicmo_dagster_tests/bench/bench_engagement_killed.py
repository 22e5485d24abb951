"""Clicks while the workers are killed at random: none that was answered may be lost.

Not here: what clicks cost (`bench_engagement`).
"""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import sqlalchemy as sa

from aicmo_dagster.api.app import create_app
from aicmo_dagster.domain.links import click_token, link_name
from aicmo_dagster.settings import Settings
from aicmo_dagster.stages.engaging.record import replay
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.database import open_database
from aicmo_dagster.store.tables import events
from aicmo_dagster_tests.bench.bench_engagement import CONNECTIONS, URL, prepared, serving
from aicmo_dagster_tests.bench.measure import Measured
from aicmo_dagster_tests.samples import SECRET, lead_id

CLICKS, LONGEST_LIFE = 100_000, 20_000
"""Clicks in all, and at most between two kills."""


def run(scratch: Path) -> Iterator[Measured]:
    """Acknowledged clicks that are not in the database in the end."""
    answered, kills, lost = _killed(prepared(scratch))
    size = f"{answered:,} clicks, {kills} kills"
    yield Measured("acknowledged clicks lost by SIGKILL", size, lost, "clicks", bound=0)


def _killed(settings: Settings) -> tuple[int, int, int]:
    """Clicks that were answered, kills, and how many of the clicks are not in the database.

    Each click is of a step of its own, so that one in flight cannot stand for one that is lost.
    """
    answered: set[str] = set()
    chance, kills = np.random.default_rng(7), 0
    while len(answered) < CLICKS:
        with serving(create_app, settings) as (port, workers):
            seconds = chance.uniform(1, 8)
            answered |= asyncio.run(_ask_until_killed(port, f"k{kills}", workers, seconds))
        kills += 1
    workspace = Workspace(settings, open_database(settings.database_url))
    while replay(workspace):
        pass
    with workspace.database.read() as connection:
        stored = set(connection.scalars(sa.select(events.c.step)))
    workspace.database.close()
    return len(answered), kills, len(answered - stored)


async def _ask_until_killed(
    port: int, name: str, workers: list[psutil.Process], seconds: float
) -> set[str]:
    """Clicks until the workers are killed; tells the steps of those that were answered."""
    for worker in workers:
        asyncio.get_running_loop().call_later(seconds, os.kill, worker.pid, signal.SIGKILL)
    asked = (_insist(port, f"{name}-{number}") for number in range(CONNECTIONS))
    return set().union(*await asyncio.gather(*asked))


async def _insist(port: int, name: str) -> set[str]:
    answered: set[str] = set()
    link, lead = link_name(SECRET, "spring", URL), lead_id(1)
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in range(LONGEST_LIFE // CONNECTIONS):
            step = f"{name}-{number}"
            path = f"/t/c/{click_token(SECRET, 'spring', lead, step, link)}"
            writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\nUser-Agent: b\r\n\r\n".encode())
            if (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 302"):
                answered.add(step)
    except (OSError, asyncio.IncompleteReadError):
        pass
    return answered
