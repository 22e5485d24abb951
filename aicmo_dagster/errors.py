"""The errors a user is meant to read, and nothing else: what to do about them is the caller's.

No message built here may hold personal data: ids, names of rules and counts only.
"""

from dataclasses import dataclass


class AicmoError(Exception):
    """It could not be done; the message says why and what to do, in one line."""

    exit_code = 1


@dataclass(frozen=True)
class Problem:
    """One thing wrong with an input.

    Args:
        where: The file, document or variable.
        path: The place in it, such as ``routing.sequences[0].sequence`` or ``line 12``, or empty.
        found: What stands there.
        expected: What is allowed there, or what to do.
    """

    where: str
    path: str
    found: str
    expected: str

    def __str__(self) -> str:
        place = f"{self.where}: {self.path}" if self.path else self.where
        return f"{place}: found {self.found}; expected {self.expected}"


class Transient(AicmoError):
    """It could not be done now, and may well be later: a server is down, a lock is held."""


class NotFound(AicmoError):
    """There is no such thing: no campaign of that key, no lead of that id."""


class RunFailed(AicmoError):
    """A run failed; it asks for the exit code of what made it fail."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class BadInput(AicmoError):
    """An input was refused; every problem found in it is listed."""

    exit_code = 2

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems
