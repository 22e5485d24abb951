"""Where mail is handed over: the protocol that every transport keeps, and the choice of one.

Not here: the transports themselves (`outbox`, `smtp`), or what a reply means (`replies`).
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from aicmo_dagster.mail.outbox import Outbox
from aicmo_dagster.mail.parcels import Book, Parcel
from aicmo_dagster.mail.smtp import Smtp


class Transport(Protocol):
    """Takes messages, from one thread.

    `name` is the same for the same server or folder, and holds no secret: only it is asked later
    about what was handed over to it.
    """

    name: str

    def deliver(self, parcels: Iterable[Parcel], book: Book) -> None:
        """Every parcel is handed over if `book` allows it, and what came of it is in `book`.

        No message leaves before `book` has committed its attempt, and at most one a connection
        is between that and its outcome.

        Raises:
            AicmoError: If nothing can be handed over at all, whatever the message.
        """

    def was_delivered(self, message_id: str) -> bool | None:
        """Whether the message arrived; none if this transport cannot tell."""

    def close(self) -> None:
        """Whatever is open is given back."""


def open_transport(smtp_url: str | None, outbox: Path) -> Transport:
    """The SMTP server of `smtp_url`, else the folder `outbox`.

    Raises:
        BadInput: If `smtp_url` cannot be read; the message does not quote it.
    """
    return Smtp(smtp_url) if smtp_url else Outbox(outbox)
