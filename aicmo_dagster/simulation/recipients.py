"""Recipients at work: each letter's reactions, told in their order to where they are told for real.

Not here: which reactions a letter meets (`behaviour`), or what follows from them (`stages`).
"""

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any

from aicmo_dagster.domain.links import (
    Place,
    read_click_token,
    read_open_token,
    read_unsubscribe_token,
)
from aicmo_dagster.simulation.answers import message
from aicmo_dagster.simulation.behaviour import Behaviour, Letter, Reaction, reactions
from aicmo_dagster.simulation.post import Journal
from aicmo_dagster.stages.engaging.listen import handle
from aicmo_dagster.stages.engaging.record import unsubscribe
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.spool import Writer

Fit = Callable[[str], float]

MAILBOX = "rehearsal"

_BY_MAIL = ("reply", "objection", "out_of_office", "bounce", "complaint")
_READ: Mapping[str, Callable[[bytes, str], Place | None]] = MappingProxyType(
    {"open": read_open_token, "click": read_click_token}
)


@dataclass
class Recipients:
    """Whoever got a letter, and what they have yet to do.

    Args:
        workspace: Where it is told.
        behaviour: How they are.
        seed: Of all chance.
        journal: Which letters arrived.
        fit: The latent fit of an address, from 0 to 1.
    """

    workspace: Workspace
    behaviour: Behaviour
    seed: int
    journal: Journal
    fit: Fit
    _coming: list[tuple[datetime, str, Reaction]] = field(default_factory=list)
    _received: int = 0

    def receive(self, since: datetime | None = None) -> None:
        """Letters that are new in the journal will be reacted to, as far as that is after `since`.

        What was told before a crash may be told again: each reaction is known by its key.
        """
        for letter in self.journal.letters[self._received :]:
            for reaction in self._reactions(letter):
                if since is None or reaction.at > since:
                    heapq.heappush(self._coming, (reaction.at, reaction.key, reaction))
        self._received = len(self.journal.letters)

    def next_at(self) -> datetime | None:
        """When somebody does something next; none if nobody does."""
        return self._coming[0][0] if self._coming else None

    def act(self, now: datetime) -> int:
        """Everything up to `now` is done, each at its own instant; tells how much that was.

        What cannot be told is told the next time: a mail waits, and who objects tries again.
        """
        seen: list[dict[str, Any]] = []
        done = 0
        try:
            while self._coming and self._coming[0][0] <= now:
                seen += self._done(self._coming[0][2])
                heapq.heappop(self._coming)
                done += 1
        finally:
            self._spool(seen)
        return done

    def _done(self, reaction: Reaction) -> list[dict[str, Any]]:
        """It is told; what is seen at the public service is given back, to be spooled together."""
        if reaction.kind in _BY_MAIL:
            handle(self.workspace, message(reaction), reaction.at, MAILBOX, reaction.key)
        elif reaction.kind == "unsubscribe":
            self._object(reaction)
        else:
            return self._seen(reaction)
        return []

    def _spool(self, seen: list[dict[str, Any]]) -> None:
        if seen:
            spool = Writer(self.workspace.settings.spool)
            spool.append(seen)
            spool.close()

    def _reactions(self, letter: Letter) -> list[Reaction]:
        return reactions(self.behaviour, self.seed, letter, self.fit(letter.recipient))

    def _object(self, reaction: Reaction) -> None:
        """As the public service does it: in the database before the page says so."""
        key = self.workspace.settings.secret_key()
        place = read_unsubscribe_token(key, reaction.token)
        if place is None:
            return
        with self.workspace.database.write(durable=True) as connection:
            unsubscribe(
                connection, key, place.campaign, place.lead_id, scope="everything", now=reaction.at
            )

    def _seen(self, reaction: Reaction) -> list[dict[str, Any]]:
        """The request as the public service spools it; nothing if the token is none of ours."""
        place = _READ[reaction.kind](self.workspace.settings.secret_key(), reaction.token)
        if place is None:
            return []
        return [
            {
                **vars(place),
                "kind": reaction.kind,
                "happened_at": reaction.at.isoformat(),
                "key": reaction.key,
                "method": "GET",
                "agent": reaction.agent,
                "client": reaction.client,
            }
        ]
