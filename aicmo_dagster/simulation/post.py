"""The post of a rehearsal: a transport that delivers to nobody, and its journal of what arrived.

The journal is a file, each line written in one call before the campaign is told, so that a process
that is killed leaves what really had left. Not here: what recipients do (`behaviour`).
"""

import binascii
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from aicmo_dagster.domain.links import Place, read_click_token, read_unsubscribe_token
from aicmo_dagster.mail.parcels import Book, Parcel
from aicmo_dagster.mail.replies import Delivery, judged
from aicmo_dagster.simulation.behaviour import (
    Behaviour,
    Letter,
    greylists,
    is_dead,
    refuses_at_once,
)
from aicmo_dagster.simulation.clock import VirtualClock

BATCH = 50
"""Messages that are under way at a time, as in the outbox."""

UNKNOWN_USER = (550, "5.1.1 user unknown")
GREYLISTED = (451, "4.7.1 greylisted, try again later")

_TOKEN = re.compile(r"/(t/o|t/c|u)/([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)")


class Journal:
    """What arrived, who was put off and how far the clock came; read again where there is one."""

    def __init__(self, path: Path) -> None:
        self.letters: list[Letter] = []
        self.known: set[str] = set()
        self.had: Counter[str] = Counter()
        self.put_off: set[str] = set()
        self.begun: datetime | None = None
        self.ended: datetime | None = None
        for line in path.read_bytes().splitlines() if path.exists() else ():
            self._learn(json.loads(line))
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def arrived(self, letter: Letter) -> None:
        """`letter` has left, whatever becomes of us."""
        at = letter.arrived_at.isoformat()
        self._write({"letter": {**vars(letter), "arrived_at": at}})

    def delayed(self, address: str) -> None:
        """The server of `address` has seen a first attempt."""
        self._write({"put_off": address})

    def begin(self, now: datetime) -> None:
        """It is `now`, and what is due begins to happen."""
        self._write({"begun": now.isoformat()})

    def end(self, now: datetime) -> None:
        """Everything up to `now` has happened."""
        self._write({"ended": now.isoformat()})

    def close(self) -> None:
        """The file is closed."""
        os.close(self._file)

    def _write(self, line: dict[str, Any]) -> None:
        os.write(self._file, json.dumps(line).encode() + b"\n")
        self._learn(line)

    def _learn(self, line: dict[str, Any]) -> None:
        if "letter" in line:
            told = line["letter"]
            at, links = datetime.fromisoformat(told["arrived_at"]), tuple(told["links"])
            letter = Letter(**{**told, "arrived_at": at, "links": links})
            self.letters.append(letter)
            self.known.add(letter.message_id)
            self.had[letter.recipient] += 1
        elif "put_off" in line:
            self.put_off.add(line["put_off"])
        elif "begun" in line:
            self.begun = datetime.fromisoformat(line["begun"])
        else:
            self.ended = datetime.fromisoformat(line["ended"])


@dataclass
class PostOffice:
    """Takes messages as a mail server would, and keeps them in `journal`.

    Args:
        behaviour: How its recipients' servers are.
        seed: Of all chance.
        journal: What it has taken.
        clock: The time.
        key: The installation's secret key, which the links of messages are signed with.
        pause: Called once a message has arrived and before that is told: a slow server.
    """

    behaviour: Behaviour
    seed: int
    journal: Journal
    clock: VirtualClock
    key: bytes = field(repr=False)
    name: str = "rehearsal"
    pause: Callable[[], object] = lambda: None

    def deliver(self, parcels: Iterable[Parcel], book: Book) -> None:
        """As `mail.delivery.Transport` promises."""
        queue = iter(parcels)
        settled: list[tuple[Parcel, Delivery]] = []
        while batch := list(islice(queue, BATCH)):
            allowed = book.write(settled, batch)
            taken = [parcel for parcel in batch if parcel.message_id in allowed]
            settled = [(parcel, self._take(parcel)) for parcel in taken]
        if settled:
            book.write(settled, [])

    def receive(self, parcel: Parcel) -> None:
        """The message has arrived, whoever brought it."""
        self.journal.arrived(self._letter(parcel))
        self.pause()

    def was_delivered(self, message_id: str) -> bool:
        """Whether the journal has it."""
        return message_id in self.journal.known

    def close(self) -> None:
        """Nothing is kept open but the journal, which is its owner's."""

    def _take(self, parcel: Parcel) -> Delivery:
        address = parcel.recipient
        if is_dead(self.behaviour, self.seed, address) and refuses_at_once(
            self.behaviour, self.seed, address
        ):
            return _refused(*UNKNOWN_USER)
        if address not in self.journal.put_off and greylists(self.behaviour, self.seed, address):
            self.journal.delayed(address)
            return _refused(*GREYLISTED)
        self.receive(parcel)
        return Delivery("accepted", "250 2.0.0 taken")

    def _letter(self, parcel: Parcel) -> Letter:
        found = tokens_in(parcel.content)
        links = [t for t in found["t/c"] if isinstance(read_click_token(self.key, t), Place)]
        objection = next((t for t in found["u"] if read_unsubscribe_token(self.key, t)), "")
        return Letter(
            message_id=parcel.message_id,
            recipient=parcel.recipient,
            sender=parcel.sender,
            arrived_at=self.clock.now(),
            number=self.journal.had[parcel.recipient],
            pixel=next(iter(found["t/o"]), ""),
            links=tuple(links),
            unsubscribe=objection,
        )


def tokens_in(content: bytes) -> dict[str, list[str]]:
    """The tokens of a message of ours, by what they are for, each once: `t/o`, `t/c` and `u`."""
    found: dict[str, list[str]] = {"t/o": [], "t/c": [], "u": []}
    text = binascii.a2b_qp(content).decode("ascii", "replace")
    for kind, token in _TOKEN.findall(text):
        if token not in found[kind]:
            found[kind].append(token)
    return found


def _refused(code: int, words: str) -> Delivery:
    state, fault = judged(code, words)
    return Delivery(state, f"{code} {words}", fault)
