"""The gate that all requests of a flight pass: when one that stands ready may leave.

Not here: what leaves, or what becomes of what comes back (`in_flight`).
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

from aicmo_dagster.sources.passages import NotSent
from aicmo_dagster.stages.harvesting.switching import step_aside

READY_SECONDS = 1.0
"""How long a request may stand ready: the limits of requests count it as if it had left at once."""


@dataclass(eq=False)
class _Waiting:
    """A request that waits for its leave.

    Args:
        since: When it was made ready; None if it has left before.
        told: Held until it may leave, or is kept back.
    """

    since: float | None
    told: Lock = field(default_factory=Lock)
    is_kept_back: bool = False

    def __post_init__(self) -> None:
        self.told.acquire()


class Gate:
    """What all requests of a flight pass: so many at once, and none while it is shut.

    Of those that have left, twice as many at most have not landed in the store yet. Whoever makes
    room wakes the one that has it and nobody else: a thread that wakes in vain delays the others.
    """

    def __init__(self, width: int, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._width = width
        self._under_way, self._unsettled = 0, 0
        self._is_shut = False
        self._again: deque[_Waiting] = deque()
        self._ready: deque[_Waiting] = deque()
        self._lock = Lock()

    @property
    def is_shut(self) -> bool:
        """Whether whatever has not left yet is kept back."""
        return self._is_shut

    @is_shut.setter
    def is_shut(self, is_shut: bool) -> None:
        with self._lock:
            self._is_shut = is_shut
            self._admit()

    def let_out(self, since: float | None) -> None:
        """A request leaves, once there is room for it.

        Args:
            since: When it was made ready; None if it leaves once more, which it may do while the
                gate is shut.
        """
        waiting = _Waiting(since)
        with self._lock:
            (self._again if since is None else self._ready).append(waiting)
            self._admit()
        waiting.told.acquire()
        if waiting.is_kept_back:
            raise NotSent("it was kept back")

    def let_in(self, setback: bool) -> None:
        """What came back is here; after a setback nothing else leaves."""
        with self._lock:
            self._under_way -= 1
            self._is_shut |= setback
            others_leave = self._admit()
        if others_leave:
            step_aside()  # what came back is read later

    def settle(self, count: int) -> None:
        """So many of those that were let out have landed in the store."""
        with self._lock:
            self._unsettled -= count
            others_leave = self._admit()
        if others_leave:
            step_aside()

    def _admit(self) -> bool:
        """Whoever may leave by now does; whoever is kept back is told. Whether anybody leaves."""
        before = self._under_way
        while self._again and self._under_way < self._width:
            self._under_way += 1
            self._again.popleft().told.release()
        while self._ready and (self._is_shut or self._has_room):
            first = self._ready.popleft()
            assert first.since is not None
            if self._is_shut or self.clock() > first.since + READY_SECONDS:
                first.is_kept_back = True
            else:
                self._under_way += 1
                self._unsettled += 1
            first.told.release()
        return self._under_way > before

    @property
    def _has_room(self) -> bool:
        return self._under_way < self._width and self._unsettled < 2 * self._width


@dataclass
class OnePassage:
    """The leave of a request that has stood ready since then."""

    gate: Gate
    since: float
    has_left: bool = False

    def leave(self) -> None:
        """It leaves, for the first time or again; `NotSent` if it is kept back."""
        self.gate.let_out(None if self.has_left else self.since)
        self.has_left = True

    def land(self, setback: bool) -> None:
        """What came back is here."""
        self.gate.let_in(setback)
