"""What a transport is given, and whom it must ask before a message leaves.

Not here: the transports (`outbox`, `smtp`), or what a message says (`messages`).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from aicmo_dagster.mail.headers import Undeliverable, ascii_address
from aicmo_dagster.mail.replies import Delivery

_PATH = re.compile(r"[!-;=?-~]+@[!-;=?-~]+")
_NO_ENDS = bytes(byte for byte in range(256) if byte not in b"\r\n")


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message for one recipient, and whom it is from.

    Args:
        sender: The envelope's sender.
        recipient: The envelope's only recipient.
        message_id: With angle brackets; the same send always has the same.
        content: The message, with CRLF line ends.

    Raises:
        Undeliverable: If an address or the content could be read as another command.
    """

    sender: str
    recipient: str
    message_id: str
    content: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Bare line ends are how one message is smuggled into another (VU#302671)."""
        ascii_address(self.sender)
        if not _PATH.fullmatch(self.recipient):
            raise Undeliverable("the address cannot be given in SMTP")
        ends = self.content.translate(None, _NO_ENDS)
        if ends != b"\r\n" * (len(ends) // 2):
            raise Undeliverable("the message has line ends other than CRLF")


class Book(Protocol):
    """Where attempts and outcomes are written down; it decides whether a message may leave."""

    def write(
        self, outcomes: Sequence[tuple[Parcel, Delivery]], attempts: Sequence[Parcel]
    ) -> set[str]:
        """Outcomes and the beginning of `attempts` are committed, all in one transaction.

        Returns:
            Message-IDs of those `attempts` that may be made now.
        """


def until_failure(parcels: Iterable[Parcel], failures: list[Exception]) -> Iterator[Parcel]:
    """Those of `parcels` that can be had; why there are no more, in `failures`, if they fail."""
    try:
        yield from parcels
    except Exception as error:  # whatever it is, it is raised once what is under way has ended
        failures.append(error)
