"""What tracking costs: clicks against constants of the same server, and events judged.

Each server runs in worker processes of its own and is asked by the same client over kept
connections; the CPU seconds are the workers'. The database is stopped by a lock that nobody gets
past.
"""

import asyncio
import multiprocessing
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import uvicorn
from fastapi import FastAPI, Response

from aicmo_dagster.api.app import create_app
from aicmo_dagster.domain.links import click_token, link_name
from aicmo_dagster.domain.nurture.engagement import Tuning, judge
from aicmo_dagster.domain.tracking import Link
from aicmo_dagster.settings import Settings
from aicmo_dagster.store.database import open_database
from aicmo_dagster.store.frames import replace_frame
from aicmo_dagster.store.links import keep_links
from aicmo_dagster_tests.bench.measure import Measured, cost
from aicmo_dagster_tests.samples import NOON, SECRET, lead_id, raw_leads

CLICKS, CONNECTIONS, ROUNDS = 4_000, 32, 5
"""Clicks of each round, of which the best counts on either side."""

LEADS = 50
WORKERS = 2
EVENTS = 1_000_000
URL = "https://acme.example/offer"


def run(scratch: Path) -> Iterator[Measured]:
    """Clicks a CPU second, the 99th percentile without a database, and verdicts."""
    settings = prepared(scratch)
    paths = _paths()
    with serving(_constant, settings) as plain, serving(create_app, settings) as (port, workers):
        rounds = [
            (
                _asked(*plain, ["/constant"] * CLICKS),
                _asked(port, workers, paths * (CLICKS // LEADS)),
            )
            for _ in range(ROUNDS)
        ]
        constant, ours = map(max, zip(*rounds, strict=True))
        waits = _waits(port, paths * 20)
        with _stopped(settings):
            stopped = _waits(port, paths * 20)
    yield Measured(
        "clicks recorded a CPU second of the server",
        f"{CLICKS:,} clicks, {WORKERS} workers",
        ours,
        "clicks/s",
        constant,
        "a constant answer",
        0.5,
        at_least=True,
    )
    yield Measured(
        "99th percentile with the database stopped",
        f"{20 * LEADS:,} clicks",
        stopped * 1000,
        "ms",
        waits * 1000,
        "with it running",
        3,
    )
    judged = cost(_judge, EVENTS)
    yield Measured("events judged human or machine", f"{EVENTS:,} events", judged.cpu, "CPU s")


def prepared(scratch: Path) -> Settings:
    """Settings with a database of leads and a link."""
    url = f"sqlite:///{scratch / 'aicmo.db'}"
    database = open_database(url)
    with database.write() as connection:
        replace_frame(connection, "raw_leads", "spring", raw_leads(LEADS))
        keep_links(connection, "spring", {link_name(SECRET, "spring", URL): Link(URL)}, NOON)
    database.close()
    return Settings(scratch, url, scratch, configured_secret_key=SECRET.decode())


def _paths() -> list[str]:
    name = link_name(SECRET, "spring", URL)
    leads = [lead_id(number) for number in range(1, LEADS + 1)]
    return [f"/t/c/{click_token(SECRET, 'spring', lead, 'intro', name)}" for lead in leads]


def _constant(settings: Settings) -> FastAPI:
    app = FastAPI()

    async def answer() -> Response:
        return Response(status_code=302, headers={"Location": URL})

    app.add_api_route("/constant", answer, methods=["GET"])
    return app


def _serve(make: Any, settings: Settings, listener: socket.socket) -> None:
    config = uvicorn.Config(make(settings), http="h11", access_log=False, log_level="critical")
    uvicorn.Server(config).run([listener])


@contextmanager
def serving(make: Any, settings: Settings) -> Iterator[tuple[int, list[psutil.Process]]]:
    """A server of worker processes: its port, and the workers."""
    measures = settings.home / "measures"
    measures.mkdir(exist_ok=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(measures)  # as workers of `aicmo api` measure
    context = multiprocessing.get_context("spawn")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1024)
        port = listener.getsockname()[1]
        arguments = (make, settings, listener)
        processes = [context.Process(target=_serve, args=arguments) for _ in range(WORKERS)]
        for process in processes:
            process.start()
        workers = [psutil.Process(process.pid) for process in processes]
        _await_listening(port, workers)
        try:
            yield port, workers
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.join()


def _await_listening(port: int, workers: list[psutil.Process]) -> None:
    """Asks until each worker has taken a connection, so that all have started."""
    taken: set[int] = set()
    while len(taken) < len(workers):
        with socket.create_connection(("127.0.0.1", port)) as asking:
            asking.sendall(b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n")
            asking.recv(1)
            end = asking.getsockname()
            taken |= {w.pid for w in workers if any(c.raddr == end for c in w.net_connections())}


@contextmanager
def _stopped(settings: Settings) -> Iterator[None]:
    """The database lets nobody in."""
    database = open_database(settings.database_url)
    with database.engine.connect() as connection:
        connection = connection.execution_options(sqlite_begin="EXCLUSIVE")
        with connection.begin():
            yield
    database.close()


def _asked(port: int, workers: list[psutil.Process], paths: list[str]) -> float:
    """Answers a CPU second of the workers."""
    before = _spent(workers)
    asyncio.run(_ask(port, paths))
    return len(paths) / (_spent(workers) - before)


def _spent(workers: list[psutil.Process]) -> float:
    """CPU seconds so far."""
    return sum(sum(worker.cpu_times()[:2]) for worker in workers)


def _waits(port: int, paths: list[str]) -> float:
    """The 99th percentile of the seconds that an answer takes, one at a time."""
    times = asyncio.run(_ask(port, paths, connections=1))
    return float(np.percentile(times, 99))


async def _ask(port: int, paths: list[str], connections: int = CONNECTIONS) -> list[float]:
    """Asks for every path over kept connections; the seconds of each answer."""
    shares = [paths[start::connections] for start in range(connections)]
    taken = await asyncio.gather(*(_converse(port, share) for share in shares))
    return [seconds for share in taken for seconds in share]


async def _converse(port: int, paths: list[str]) -> list[float]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    taken = []
    for path in paths:
        begun = time.perf_counter()
        writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\nUser-Agent: b\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = next((x for x in head.lower().split(b"\r\n") if x.startswith(b"content-l")), b":0")
        await reader.readexactly(int(length.split(b":")[1]))
        taken.append(time.perf_counter() - begun)
    writer.close()
    return taken


def _judge(count: int) -> int:
    """Judges `count` events of many sends; tells how many verdicts that gave."""
    chance = np.random.default_rng(7)
    text, instant = pd.ArrowDtype(pa.string()), pd.ArrowDtype(pa.timestamp("us", tz="UTC"))
    at = pd.Timestamp(NOON) + pd.to_timedelta(chance.integers(0, 86_400_000_000, count), unit="us")
    drawn = {
        "lead_id": chance.integers(0, count // 10, count).astype(str),
        "kind": chance.choice(["click", "open", "unsubscribe_view"], count, p=[0.5, 0.45, 0.05]),
        "step": chance.choice(["intro", "nudge", "last"], count),
        "link": chance.choice(["a", "b"], count),
        "method": "GET",
        "agent": chance.choice([f"Mozilla/5.0 (X11) {n}" for n in range(1_000)], count),
        "client": chance.choice([f"198.51.{n % 256}.{n // 256}" for n in range(50_000)], count),
    }
    frame = pd.DataFrame(drawn).astype(text).assign(id=range(count), happened_at=pd.Series(at))
    sent = pd.DataFrame({"lead_id": ["0"], "step": ["intro"], "sent_at": [pd.Timestamp(NOON)]})
    now = NOON + pd.Timedelta(days=2)
    return len(judge(frame.astype({"happened_at": instant}), sent, Tuning(), now))
