"""The stand-in in a process of its own, so that it takes no time from the one that is measured."""

import multiprocessing
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aicmo_dagster_tests.providers.server import StandIn


@dataclass
class Apart:
    """A stand-in that runs elsewhere.

    Args:
        url: Where.
        calls: How often each kind of request was answered, once it has ended.
    """

    url: str
    calls: Counter[str] = field(default_factory=Counter)


@contextmanager
def stand_in_apart(people: int, credits: float, delay: float) -> Iterator[Apart]:
    """It runs until the end of the block; arguments are those of `StandIn`."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, people, credits, delay))
    process.start()
    apart = Apart(ours.recv())
    try:
        yield apart
    finally:
        ours.send(None)
        apart.calls.update(ours.recv())
        process.join()


def _serve(pipe: Any, people: int, credits: float, delay: float) -> None:
    with StandIn(people, credits, delay=delay).running() as stand_in:
        pipe.send(stand_in.url)
        pipe.recv()
        entries = stand_in.ledger.entries
        pipe.send(Counter(f"{e.method} {'/'.join(e.path.split('/')[:3])}" for e in entries))
