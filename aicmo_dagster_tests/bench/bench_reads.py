"""What reading costs over HTTP: the 95th percentile against a constant of the same server.

One client asks one thing after the other over one connection, by turns with the constant, of a
server in a process of its own. Each campaign is asked for in turn, so that hardly any was asked for
a moment before.
"""

import http.client
import multiprocessing
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from unittest.mock import patch

import numpy as np
import psutil
import uvicorn
from fastapi import Response

from aicmo_dagster.api.app import create_app
from aicmo_dagster.api.service import BASE
from aicmo_dagster.cli.api import FRUGAL
from aicmo_dagster.settings import Settings
from aicmo_dagster_tests.bench.crowded import served_database
from aicmo_dagster_tests.bench.measure import Measured

CAMPAIGNS, LEADS = 1_000, 100_000
ROUNDS = 1_000
BOUND = 5
CONSTANT = "/constant"


def run(scratch: Path) -> Iterator[Measured]:
    """Each read's 95th percentile, warm, and that of a campaign's figures that nobody kept."""
    settings, token = served_database(scratch, CAMPAIGNS, LEADS)
    keys = _keys()
    with served(settings) as (port, _):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        headers = {"Authorization": f"Bearer {token}"}
        _percentile(connection, ["/stats"], headers, 1)  # what everyone else made meanwhile
        yield _measured(connection, "a campaign's figures, not asked for before", keys, headers)
        for what, paths in (
            ("a campaign's figures", keys),
            ("all campaigns' figures", ["/stats"]),
            ("a page of campaigns", ["/campaigns?limit=50"]),
            ("a campaign", [key.removesuffix("/dashboard") for key in keys]),
        ):
            yield _measured(connection, what, paths, headers)
        connection.close()


def _measured(
    connection: http.client.HTTPConnection,
    what: str,
    paths: Sequence[str],
    headers: dict[str, str],
) -> Measured:
    number = CAMPAIGNS if what.endswith("before") else ROUNDS
    ours, constant = _percentile(connection, paths, headers, number)
    size = f"{LEADS:,} leads, {CAMPAIGNS:,} campaigns"
    return Measured(
        f"95th percentile of reading {what}",
        size,
        ours * 1000,
        "ms",
        constant * 1000,
        "a constant answer",
        BOUND,
    )


def _percentile(
    connection: http.client.HTTPConnection,
    paths: Sequence[str],
    headers: dict[str, str],
    number: int,
) -> tuple[float, float]:
    """The 95th percentile in seconds of `number` requests, and of as many for the constant."""
    waits: dict[bool, list[float]] = {True: [], False: []}
    for path in islice(cycle(paths), number):
        for ours, asked in ((True, BASE + path), (False, CONSTANT)):
            begun = time.perf_counter()
            connection.request("GET", asked, headers=headers)
            answer = connection.getresponse()
            answer.read()
            waits[ours].append(time.perf_counter() - begun)
            assert answer.status == 200, (asked, answer.status)
    return float(np.percentile(waits[True], 95)), float(np.percentile(waits[False], 95))


def _keys() -> list[str]:
    return [f"/campaigns/c{number}/dashboard" for number in range(CAMPAIGNS)]


def _serve(settings: Settings, listener: socket.socket) -> None:
    app = create_app(settings)

    async def constant() -> Response:
        return Response(b"{}", media_type="application/json")

    app.add_api_route(CONSTANT, constant, methods=["GET"])
    config = uvicorn.Config(app, http="h11", access_log=False, log_level="critical")
    uvicorn.Server(config).run([listener])


@contextmanager
def served(settings: Settings) -> Iterator[tuple[int, psutil.Process]]:
    """The port of a server in a process of its own, and the process."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=_serve, args=(settings, listener))
        with patch.dict(os.environ, FRUGAL):
            process.start()
        try:
            _await(listener.getsockname()[1])
            yield listener.getsockname()[1], psutil.Process(process.pid)
        finally:
            process.terminate()
            process.join()


def _await(port: int) -> None:
    """It answers: until then, all that it imports is what a request would wait for."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("GET", "/health/live")
    connection.getresponse().read()
    connection.close()
