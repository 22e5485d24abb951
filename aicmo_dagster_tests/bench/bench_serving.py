"""What serving takes of memory: many requests one after the other, and a large export.

The server runs in a process of its own, and its memory is what it holds itself, without what files
the system keeps for it.
"""

import http.client
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import psutil

from aicmo_dagster.api.service import BASE
from aicmo_dagster.domain.links import open_token
from aicmo_dagster.settings import Settings
from aicmo_dagster.store.database import open_database
from aicmo_dagster.store.loading import bulk_insert
from aicmo_dagster.store.tables import FRAME_TABLES
from aicmo_dagster_tests.bench.bench_reads import served
from aicmo_dagster_tests.bench.crowded import served_database
from aicmo_dagster_tests.bench.measure import Measured
from aicmo_dagster_tests.samples import SECRET, lead_id, raw_leads

REQUESTS, WARM = 50_000, 10_000
"""Requests in all, and those after which everything that is kept has been made."""

CAMPAIGNS, LEADS = 100, 10_000
EXPORTED, PART = 1_000_000, 50_000
LARGEST_EXPORT = 200


def run(scratch: Path) -> Iterator[Measured]:
    """The server's memory after many requests, and at most during an export of all leads."""
    settings, token = served_database(scratch, CAMPAIGNS, LEADS)
    headers = {"Authorization": f"Bearer {token}"}
    with served(settings) as (port, server):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        _ask(connection, WARM, headers)
        warm = _held(server)
        _ask(connection, REQUESTS - WARM, headers)
        yield Measured(
            f"memory of the server after {REQUESTS:,} requests",
            f"{LEADS:,} leads, {CAMPAIGNS} campaigns",
            _held(server),
            "MiB",
            warm,
            f"after {WARM:,}",
            1.1,
        )
        connection.close()
    _add_leads(settings)
    for kind in ("csv", "jsonl", "parquet"):
        with served(settings) as (port, server):
            octets, most = _export(port, server, kind, headers)
        size = f"{EXPORTED:,} leads, {octets / 2**20:,.0f} MiB"
        what = f"memory of the server at most during an export as {kind}"
        yield Measured(what, size, most, "MiB", bound=LARGEST_EXPORT)


def _paths() -> list[str]:
    """Reads of every kind, pages that a campaign has few of, and what recipients ask for."""
    place = f"{BASE}/campaigns"
    lead = lead_id(1)
    paths = ["/health/live", f"{BASE}/stats", f"{place}?limit=50", f"{BASE}/campaigns/none"]
    for number in range(CAMPAIGNS):
        key = f"c{number}"
        paths += [f"{place}/{key}", f"{place}/{key}/dashboard", f"{place}/{key}/leads?limit=20"]
        paths += [f"{place}/{key}/status", f"/t/o/{open_token(SECRET, key, lead, 'intro')}"]
    return paths


def _ask(connection: http.client.HTTPConnection, number: int, headers: dict[str, str]) -> None:
    for path in islice(cycle(_paths()), number):
        connection.request("GET", path, headers=headers)
        connection.getresponse().read()


def _export(
    port: int, server: psutil.Process, kind: str, headers: dict[str, str]
) -> tuple[int, float]:
    """Octets of the file, and the most MiB that the server has held while it came."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", f"{BASE}/campaigns/c0/leads:export?format={kind}", headers=headers)
    answer = connection.getresponse()
    assert answer.status == 200, answer.status
    octets, most = 0, 0.0
    while part := answer.read(1 << 20):
        octets += len(part)
        most = max(most, _held(server))
    connection.close()
    return octets, most


def _held(server: psutil.Process) -> float:
    """MiB that are the process's own."""
    return float(server.memory_full_info().uss) / 2**20


def _add_leads(settings: Settings) -> None:
    """The first campaign has as many leads as are exported."""
    database = open_database(settings.database_url)
    with database.write() as connection:
        table = FRAME_TABLES["raw_leads"]
        connection.execute(table.delete())
        for start in range(0, EXPORTED, PART):
            numbers = range(start + 1, start + PART + 1)
            named = {"lead_id": [lead_id(number) for number in numbers]}
            frame = raw_leads(PART, **named, email=[f"l{n}@acme.example" for n in numbers])
            bulk_insert(connection, table, frame, campaign="c0")
    database.close()
