"""Where links lead, kept in memory so that no redirect waits for the database.

Links are read again and again as they are made; one that is not known yet is asked for, within a
limit of time. Not here: the table (`store.links`).
"""

import asyncio
import logging
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from aicmo_dagster.errors import AicmoError
from aicmo_dagster.store.database import Database
from aicmo_dagster.store.links import find_link, newest_links

MOST = 200_000
REFRESH_SECONDS = 2.0
PATIENCE_SECONDS = 1.0
_OVERLAP = timedelta(minutes=10)
"""A link may be committed this much later than it says it was made."""

_log = logging.getLogger(__name__)


class Unavailable(Exception):
    """The database does not answer in time."""


class Targets:
    """URLs by campaign and link."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._asking = ThreadPoolExecutor(4, thread_name_prefix="links")
        self._refreshing = threading.Thread(target=self._refresh, name="link refresh")

    def start(self) -> None:
        """Links are known as they are made from now on."""
        self._refreshing.start()

    def stop(self) -> None:
        """Nothing is read any more."""
        self._ended.set()
        self._refreshing.join()
        self._asking.shutdown(wait=False, cancel_futures=True)

    async def find(self, campaign: str, link: str) -> str | None:
        """Where the link leads; nothing if there is no such link.

        Raises:
            Unavailable: If it is not known here and the database does not say.
        """
        known = self._known.get((campaign, link))
        if known is not None:
            return known
        asked = asyncio.get_running_loop().run_in_executor(self._asking, self._ask, campaign, link)
        try:
            return await asyncio.wait_for(asked, PATIENCE_SECONDS)
        except (TimeoutError, sa.exc.SQLAlchemyError, AicmoError) as error:
            raise Unavailable from error

    def _ask(self, campaign: str, link: str) -> str | None:
        with self._database.read() as connection:
            url = find_link(connection, campaign, link)
        if url is not None:
            self._keep({(campaign, link): url})
        return url

    def _keep(self, found: dict[tuple[str, str], str]) -> None:
        with self._lock:
            self._known.update(found)
            while len(self._known) > MOST:
                self._known.popitem(last=False)

    def _refresh(self) -> None:
        since = datetime.min.replace(tzinfo=UTC)
        while True:
            begun = datetime.now(UTC)
            try:
                with self._database.read() as connection:
                    self._keep(newest_links(connection, since, MOST))
                since = begun - _OVERLAP
            except (sa.exc.SQLAlchemyError, AicmoError) as error:
                _log.warning("links are not refreshed: %s", type(error).__name__)
            if self._ended.wait(REFRESH_SECONDS):
                return
