"""Events from requests to disk, many to one fsync, and from disk to the database.

A request waits for the disk and never for the database. Not here: the spool's files
(`store.spool`), or what becomes of an event (`engaging.record`).
"""

import asyncio
import logging
import queue
import threading
import time

import sqlalchemy as sa

from aicmo_dagster.errors import AicmoError
from aicmo_dagster.stages.engaging.record import replay
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.spool import Record, Writer

CLOSE_SECONDS = 0.3
"""How long a segment is open at most before its events go on to the database."""

GATHER_SECONDS = 0.002
"""How long events gather where several came at once before, so that more of them share an fsync."""

REPLAY_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0
_MOST_AT_ONCE = 2_000

_log = logging.getLogger(__name__)

_Waiting = tuple[Record, asyncio.AbstractEventLoop, "asyncio.Future[bool]"]


class Recorder:
    """Keeps events for one process; `start` and `stop` belong around its event loop."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._write, name="spool"),
            threading.Thread(target=self._replay, name="replay"),
        ]

    def start(self) -> None:
        """Events are taken from now on."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """What was taken is on disk, and in the database if that can be reached now."""
        self._waiting.put(None)
        self._threads[0].join()
        self._ended.set()
        self._threads[1].join()

    def keep(self, event: Record) -> "asyncio.Future[bool]":
        """Whether `event` is on disk; if not, the disk does not take it and the log says so."""
        loop = asyncio.get_running_loop()
        kept: asyncio.Future[bool] = loop.create_future()
        self._waiting.put((event, loop, kept))
        return kept

    def _write(self) -> None:
        writer = Writer(self._workspace.settings.spool)
        opened = time.monotonic()
        batch: list[_Waiting] = []
        ended = False
        while not ended:
            batch, ended = self._batch(GATHER_SECONDS if len(batch) > 1 else 0)
            if batch:
                self._append(writer, batch)
            if not batch or time.monotonic() - opened > CLOSE_SECONDS:
                writer.close()
                opened = time.monotonic()
        writer.close()

    def _batch(self, gather: float) -> tuple[list[_Waiting], bool]:
        """What is waiting, after a short wait for the first, and whether it was the last."""
        batch: list[_Waiting] = []
        try:
            found = self._waiting.get(timeout=CLOSE_SECONDS)
            if gather:
                time.sleep(gather)
            while found is not None and len(batch) < _MOST_AT_ONCE:
                batch.append(found)
                found = self._waiting.get_nowait()
        except queue.Empty:
            return batch, False
        if found is not None:
            batch.append(found)
        return batch, found is None

    def _append(self, writer: Writer, batch: list[_Waiting]) -> None:
        try:
            writer.append([record for record, _, _ in batch])
            kept = True
        except OSError as error:
            _log.error("%d events are lost: the spool refused (%s)", len(batch), error.strerror)
            kept = False
        loops = {loop for _, loop, _ in batch}
        for loop in loops:
            futures = [future for _, owner, future in batch if owner is loop]
            loop.call_soon_threadsafe(_settle, futures, kept)

    def _replay(self) -> None:
        pause = REPLAY_SECONDS
        while not self._ended.wait(pause):
            pause = self._replay_once(pause)
        self._replay_once(pause)

    def _replay_once(self, pause: float) -> float:
        """Seconds to wait before the next time; more and more while the database is away."""
        try:
            replay(self._workspace)
        except (sa.exc.SQLAlchemyError, AicmoError, OSError) as error:
            _log.warning("events wait on disk: %s", type(error).__name__)
            return min(2 * pause, LONGEST_PAUSE_SECONDS)
        return REPLAY_SECONDS


def _settle(futures: list["asyncio.Future[bool]"], kept: bool) -> None:
    for future in futures:
        if not future.done():  # a client may have gone, and its request with it
            future.set_result(kept)
