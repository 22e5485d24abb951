"""Leave for a request to go: asked for at the last moment, and handed back once it is answered.

What is prepared ahead is not on its way yet, and may still be kept back. Not here: how many may go
at once, or what keeps them back (`harvesting.in_flight`).
"""

from typing import Protocol

from aicmo_dagster.errors import AicmoError


class NotSent(AicmoError):
    """The request was kept back: nobody has seen it, and it may be asked again as it is."""


class Passage(Protocol):
    """The leave of one request, whenever it is sent."""

    def leave(self) -> None:
        """It leaves at once, for the first time or again.

        Raises:
            NotSent: If it is to be kept back.
        """

    def land(self, setback: bool) -> None:
        """What came back is here: nothing that keeps others back, or a setback."""


class Unhindered:
    """Nothing keeps the request back."""

    def leave(self) -> None:
        """It leaves."""

    def land(self, setback: bool) -> None:
        """Nobody minds."""


UNHINDERED = Unhindered()
