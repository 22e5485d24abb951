"""What the endpoints of the REST API work with: the workspace, who used which token, the clock.

Not here: who may call them (`access`), or what they do.
"""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated

import sqlalchemy as sa
from fastapi import Depends, Request

from aicmo_dagster.api.rates import Rates
from aicmo_dagster.errors import AicmoError
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.tokens import StoredToken, is_use_noted, note_use

BASE = "/api/v1/cam"

_log = logging.getLogger(__name__)


@dataclass
class Uses:
    """Notes when a token was used, beside the requests: a write may have to wait for others."""

    workspace: Workspace
    _writing: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="token uses")
    )
    _under_way: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, token: StoredToken, now: datetime) -> None:
        """The use is on record soon, unless one of the same minute is."""
        if is_use_noted(token, now):
            return
        with self._lock:
            if token.id in self._under_way:
                return
            self._under_way.add(token.id)
        self._writing.submit(self._write, token.id, now)

    def stop(self) -> None:
        """What was noted is on record."""
        self._writing.shutdown(wait=True)

    def _write(self, token_id: str, now: datetime) -> None:
        try:
            with self.workspace.database.write() as connection:
                note_use(connection, token_id, now)
        except (sa.exc.SQLAlchemyError, AicmoError) as error:
            _log.warning("the use of token %s was not noted: %s", token_id, type(error).__name__)
        finally:
            with self._lock:
                self._under_way.discard(token_id)


@dataclass(frozen=True)
class Service:
    """What one process shares among its requests."""

    workspace: Workspace
    uses: Uses
    rates: Rates


async def service(request: Request) -> Service:
    """The service of the application that was asked."""
    found = request.app.state.service
    assert isinstance(found, Service)
    return found


async def workspace(serving: Annotated[Service, Depends(service)]) -> Workspace:
    """The settings and the open database."""
    return serving.workspace


async def clock() -> datetime:
    """The instant of the request."""
    return datetime.now(UTC)


Serving = Annotated[Service, Depends(service)]
Work = Annotated[Workspace, Depends(workspace)]
Now = Annotated[datetime, Depends(clock)]
