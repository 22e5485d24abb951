"""Who asks and pays: a campaign in one run, with its budget, and how its calls are written down.

Not here: the calls (`paid_calls`, `batches`).
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import compress
from typing import Any, TypeVar

import sqlalchemy as sa

from aicmo_dagster.domain.sections.sources import Enrich
from aicmo_dagster.domain.tokens import person_keys
from aicmo_dagster.stages.harvesting.providers import Providers
from aicmo_dagster.store import provider_calls
from aicmo_dagster.store.departures import Departures
from aicmo_dagster.store.provider_answers import Answer
from aicmo_dagster.store.provider_calls import OpenCall
from aicmo_dagster.store.workers import has_ended, this_worker

Who = TypeVar("Who")


@dataclass(frozen=True)
class Payer:
    """Who asks and pays.

    Args:
        providers: The clients.
        campaign: Whose budget it is.
        wanted: Its `enrich` section.
        now: The instant that freshness counts from, and that answers are dated by.
        outcomes: What became of people, counted.
        serve: Told of answers that somebody else paid for meanwhile, and at which provider.
        untried: The leads for whom there was no credit.
        worker: This process.
        departures: Which of its calls have left.
    """

    providers: Providers
    campaign: str
    wanted: Enrich
    now: datetime
    outcomes: Counter[str] = field(default_factory=Counter)
    serve: Callable[[str, Collection[Answer]], None] = lambda provider, answers: None
    untried: set[str] = field(default_factory=set)
    worker: str = field(default_factory=this_worker)
    departures: Departures = field(init=False)

    def __post_init__(self) -> None:
        folder = self.providers.workspace.settings.departures
        object.__setattr__(self, "departures", Departures(folder, self.worker))

    @property
    def since(self) -> datetime:
        """The instant from which on an answer is fresh."""
        return self.now - timedelta(days=self.wanted.fresh_days)

    def persons(
        self, provider: str, identities: Sequence[str | None], whose: Sequence[Who]
    ) -> dict[str, Who]:
        """Those of `whose` that have an identity, by what the person is known by in the store."""
        key = self.providers.workspace.settings.secret_key()
        persons = person_keys(key, provider, filter(None, identities))
        return dict(zip(persons, compress(whose, identities), strict=True))

    def open_calls(self, provider: str) -> list[OpenCall]:
        """The campaign's calls whose answers may still come, or whose outcome nobody knows."""
        now = self.providers.time.now()
        with self.providers.workspace.database.read() as connection:
            return provider_calls.open_calls(
                connection, self.campaign, provider, has_ended=has_ended, now=now
            )

    def finish(
        self, connection: sa.Connection, call: int, state: Any, detail: str, **known: Any
    ) -> None:
        """The call's outcome is written."""
        values = {"credits": None, "request_id": None, **known}
        now = self.providers.time.now()
        provider_calls.finish_call(connection, call, state=state, detail=detail, now=now, **values)
