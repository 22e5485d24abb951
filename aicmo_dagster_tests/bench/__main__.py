"""Runs the benchmarks: ``python -m aicmo_dagster_tests.bench [NAME...]``, all without a name.

A benchmark is a module `bench_NAME` here whose `run(scratch)` yields what it measured. The exit
code is 1 if a bound is not kept.
"""

import importlib
import pkgutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from aicmo_dagster_tests import bench
from aicmo_dagster_tests.bench.measure import Measured

PREFIX = "bench_"


def main(wanted: list[str]) -> int:
    """Prints a table of the benchmarks `wanted`."""
    names = [m.name for m in pkgutil.iter_modules(bench.__path__) if m.name.startswith(PREFIX)]
    known = [name.removeprefix(PREFIX) for name in names]
    if unknown := set(wanted) - set(known):
        print(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(known)}")
        return 2
    console = Console(width=140)
    measured: list[Measured] = []
    for name in wanted or known:
        module = importlib.import_module(f"{bench.__name__}.{PREFIX}{name}")
        with tempfile.TemporaryDirectory() as scratch:
            for row in module.run(Path(scratch)):
                measured.append(row)
                console.print(f"{name}: {row.what}, {row.size}: {row.ours:,.4g} {row.unit}")
    console.print(_table(measured))
    return 1 if any(row.kept is False for row in measured) else 0


def _table(measured: list[Measured]) -> Table:
    table = Table("what", "size", box=None, header_style="bold")
    for name in ("this", "reference", "ratio", "bound", "kept"):
        table.add_column(name, justify="right")
    for row in measured:
        sign = "at least" if row.at_least else "at most"
        table.add_row(
            row.what,
            row.size,
            f"{row.ours:,.4g} {row.unit}",
            "" if row.reference is None else f"{row.reference:,.4g} ({row.against})",
            "" if row.ratio is None else f"{row.ratio:.3g}",
            "" if row.bound is None else f"{sign} {row.bound:g}",
            {None: "", True: "yes", False: "NO"}[row.kept],
        )
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
