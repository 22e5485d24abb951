"""How soon threads take turns at the interpreter while requests are under way.

By itself one that computes goes on for 5 ms while others wait, and a request waits for its turn a
dozen times: to be sent, for the headers, for each part of the body, and for the next to leave. That
was 7 % of a harvest from a provider that answers in 20 ms. And whoever wakes another goes on all
the same, and keeps it waiting, unless it steps aside. Not here: requests (`in_flight`).
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

SECONDS = 0.0005

_ASIDE = 0.0001
"""Longer than it takes to wake a thread, and far shorter than any request."""

_lock = Lock()
_usual: list[float] = []
"""What it was before each that is inside came in; the first alone is the process's own."""


@contextmanager
def quick_turns() -> Iterator[None]:
    """Threads of this process take turns after `SECONDS`, until the last such block has ended."""
    with _lock:
        _usual.append(sys.getswitchinterval())
        sys.setswitchinterval(min(SECONDS, _usual[0]))
    try:
        yield
    finally:
        with _lock:
            if len(_usual) == 1:
                sys.setswitchinterval(_usual[0])
            _usual.pop()


def step_aside() -> None:
    """The thread that was woken just now has its turn at the interpreter first."""
    time.sleep(_ASIDE)
