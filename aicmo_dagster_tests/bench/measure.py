"""What a benchmark measures and how: a function's cost in a process of its own.

CPU seconds, since wall time depends on what else the machine does. A reference is measured in the
same run, by turns with ours, and the least of each side counts.
"""

import multiprocessing
import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Measured:
    """One row of the table that `make bench` prints.

    Args:
        what: What was done.
        size: How much of it, such as "1,000,000 rows".
        ours: What it cost us, in `unit`.
        unit: Such as "CPU s", "MiB", "leads/s", or "AUC".
        reference: What the reference cost, in the same unit, if there is one.
        against: What the reference is.
        bound: The ratio, or without a reference the figure, that must be kept.
        at_least: Whether the bound is the least that is good enough, and not the most.
    """

    what: str
    size: str
    ours: float
    unit: str
    reference: float | None = None
    against: str = ""
    bound: float | None = None
    at_least: bool = False

    @property
    def ratio(self) -> float | None:
        """Ours over the reference."""
        return None if self.reference is None else self.ours / self.reference

    @property
    def more_is_better(self) -> bool:
        """Whether a higher figure is a better one."""
        rate = self.unit.endswith(("/s", "/min"))
        return self.at_least or rate or self.unit in ("AUC", "x the share won")

    @property
    def kept(self) -> bool | None:
        """Whether the bound is kept; None where there is none."""
        figure = self.ours if self.ratio is None else self.ratio
        if self.bound is None:
            return None
        return figure >= self.bound if self.at_least else figure <= self.bound


@dataclass(frozen=True)
class Cost:
    """What a function cost: CPU seconds with its children's, wall seconds, peak MiB; its value."""

    cpu: float
    wall: float
    peak: float
    value: Any


def cost(function: Callable[..., Any], *args: object) -> Cost:
    """The cost of `function(*args)` in a new process; both must be importable and picklable."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_tell_cost, args=(theirs, function, args))
    process.start()
    theirs.close()
    try:
        return ours.recv()
    except EOFError:
        raise RuntimeError(f"{function.__name__} ended without a result") from None
    finally:
        process.join()


def least(*functions: Callable[[], Cost], rounds: int = 3) -> list[Cost]:
    """The least CPU of each function, measured by turns."""
    turns = [[function() for function in functions] for _ in range(rounds)]
    return [min(costs, key=lambda each: each.cpu) for costs in zip(*turns, strict=True)]


def _tell_cost(pipe: Any, function: Callable[..., Any], args: tuple[object, ...]) -> None:
    before, begun = _cpu(), time.perf_counter()
    value = function(*args)
    wall = time.perf_counter() - begun
    pipe.send(Cost(_cpu() - before, wall, peak_memory(), value))
    pipe.close()


def _cpu() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def peak_memory() -> float:
    """The most memory this process has held, in MiB; `ru_maxrss` would count its parent's too."""
    for line in Path(f"/proc/{os.getpid()}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc tells no peak memory")
