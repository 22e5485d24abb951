"""Runs the benchmarks: ``python -m aicmo_dagster_tests.bench [NAME...]``, all without a name.

A benchmark is a module `bench_NAME` here whose `run(scratch)` yields what it measured. One that is
long may name functions like `run` in `PARTS`; ``NAME:PART`` runs one of them, and with ``--scratch
FOLDER`` what one leaves there is of use to the next. What was measured stands in docs/benchmarks.md
at once, and what got worse since the last run is told at the end. The exit code is 1 if a bound is
not kept or a benchmark ended early.
"""

import argparse
import importlib
import pkgutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import rich.table
from rich.console import Console

from aicmo_dagster_tests import bench
from aicmo_dagster_tests.bench.machine import conditions
from aicmo_dagster_tests.bench.measure import Measured
from aicmo_dagster_tests.bench.table import (
    HEADER,
    Row,
    Table,
    cells,
    markdown,
    number,
    parsed,
    updated,
    worse,
)

PREFIX = "bench_"
DOCUMENT = Path(__file__).parents[2] / "docs" / "benchmarks.md"


def main(wanted: list[str], scratch: Path | None) -> int:
    """Measures the benchmarks `wanted`, brings their rows up to date and prints them.

    Their files stay in `scratch`, if it is given.
    """
    names = [m.name for m in pkgutil.iter_modules(bench.__path__) if m.name.startswith(PREFIX)]
    known = [name.removeprefix(PREFIX) for name in names]
    if unknown := {name.partition(":")[0] for name in wanted} - set(known):
        print(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(known)}")
        return 2
    console = Console(width=140, markup=False)
    before = _last()
    rows: list[Row] = []
    ended = []
    for name in wanted or known:
        found, error = _measure(name, scratch, console)
        rows += found
        ended += [name] * bool(error)
    console.print(_printed(rows))
    for change in worse(before, rows):
        console.print(f"worse: {change}")
    for name in ended:
        console.print(f"ended early: {name}")
    return 1 if ended or any(row.measured.kept is False for row in rows) else 0


def _measure(name: str, scratch: Path | None, console: Console) -> tuple[list[Row], str]:
    """The rows of one benchmark, which are in the document, and the kind of error that ended it."""
    title, _, part = name.partition(":")
    told, today = conditions(), datetime.now(UTC).date().isoformat()
    rows: list[Row] = []
    error = ""
    try:
        for measured in _run(title, part, scratch):
            rows.append(Row(title, measured, told, today))
            figure = f"{number(measured.ours)} {measured.unit}"
            console.print(f"{name}: {measured.what}, {measured.size}: {figure}")
            _note(updated(_last(), title, rows[-1:], whole=False))  # whatever becomes of the rest
    except Exception as problem:  # what the others measured is worth having
        traceback.print_exc()
        error = type(problem).__name__
    _note(updated(_last(), title, rows, whole=not part, error=error))
    return rows, error


def _note(table: Table) -> None:
    DOCUMENT.write_text(markdown(table), encoding="utf-8")


def _run(title: str, part: str, scratch: Path | None) -> Iterator[Measured]:
    module = importlib.import_module(f"{bench.__name__}.{PREFIX}{title}")
    function: Callable[[Path], Iterator[Measured]] = module.PARTS[part] if part else module.run
    with _folder(scratch) as folder:
        yield from function(folder)


@contextmanager
def _folder(scratch: Path | None) -> Iterator[Path]:
    if scratch is None:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
    else:
        scratch.mkdir(parents=True, exist_ok=True)
        yield scratch


def _last() -> Table:
    return parsed(DOCUMENT.read_text(encoding="utf-8")) if DOCUMENT.exists() else Table()


def _printed(rows: Iterable[Row]) -> rich.table.Table:
    table = rich.table.Table(*HEADER[1:3], box=None, header_style="bold")
    for name in HEADER[3:8]:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*cells(row.measured))
    return table


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("names", nargs="*")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    sys.exit(main(given.names, given.scratch))
