"""The one table of all benchmarks: as Markdown, read back, brought up to date, compared.

What `docs/benchmarks.md` says is the last run. Not here: measuring, the machine, files.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from aicmo_dagster_tests.bench.measure import Measured

HEADER = ("benchmark", "what", "size", "this", "reference", "ratio", "bound", "kept", "on", "date")

TIMED_NOISE, RATIO_NOISE = 1.3, 1.15
"""How much a figure differs between runs on a machine with other work; a ratio's two sides were
measured by turns and differ less."""

INTRODUCTION = """\
# Benchmarks

Written by `make bench`, which runs everything, or by `make bench BENCH="NAME..."`, which brings the
rows of some benchmarks up to date. CPU seconds are those of a process and its children; the bound
is on the ratio, where there is a reference, and on the figure itself where there is none. A
reference is measured in the same run, by turns.
"""

_NONE = "every benchmark ran to its end"
_ENDED = "Ended early, so that rows are missing or of an earlier run: "


@dataclass(frozen=True)
class Row:
    """What a benchmark measured, on which machine with which versions, and the day (ISO)."""

    bench: str
    measured: Measured
    conditions: str
    date: str

    @property
    def key(self) -> tuple[str, ...]:
        """What makes two rows the same measurement at different times."""
        told = self.measured
        return self.bench, told.what.strip(), told.size, told.unit, told.against


@dataclass(frozen=True)
class Table:
    """All rows, by benchmark, and the benchmarks that ended early with the kind of error."""

    rows: tuple[Row, ...] = ()
    ended: dict[str, str] = field(default_factory=dict)


def updated(
    table: Table, bench: str, rows: Sequence[Row], *, whole: bool, error: str = ""
) -> Table:
    """`table` after a run of `bench` alone; the rows of others are as they were.

    Args:
        table: The last run.
        bench: What ran.
        rows: What it measured.
        whole: Whether all of it was to run; if it did, rows that it no longer has are gone.
        error: The kind of error that ended it early.
    """
    new = {row.key: row for row in rows}
    replaced = whole and not error
    kept = [row for row in table.rows if row.bench != bench]
    if not replaced:
        kept += [new.pop(row.key, row) for row in table.rows if row.bench == bench]
    ordered = sorted([*kept, *new.values()], key=lambda row: row.bench)
    ended = {name: kind for name, kind in table.ended.items() if name != bench}
    return Table(tuple(ordered), ended | ({bench: error} if error else {}))


def worse(before: Table, after: Iterable[Row]) -> list[str]:
    """What of `after` is worse than in `before` by more than the noise, in words."""
    last = {row.key: row for row in before.rows}
    pairs = ((last[row.key], row) for row in after if row.key in last)
    return [_change(old, new) for old, new in pairs if _is_worse(old, new)]


def _is_worse(old: Row, new: Row) -> bool:
    ratio = new.measured.ratio is not None and old.measured.ratio is not None
    if not ratio and old.conditions != new.conditions:
        return False  # seconds of another machine say nothing
    was, now = _figure(old.measured), _figure(new.measured)
    noise = RATIO_NOISE if ratio else TIMED_NOISE
    if new.measured.more_is_better:
        return now * noise < was
    return now > was * noise


def _figure(measured: Measured) -> float:
    return measured.ours if measured.ratio is None else measured.ratio


def _change(old: Row, new: Row) -> str:
    what = f"{new.bench}: {new.measured.what}, {new.measured.size}"
    kind = new.measured.unit if new.measured.ratio is None else "of the reference"
    was, now = _figure(old.measured), _figure(new.measured)
    return f"{what}: {number(now)} {kind}, was {number(was)} on {old.date}"


def number(value: float) -> str:
    """Four digits that matter, or all before the point."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def cells(measured: Measured) -> tuple[str, ...]:
    """What, size, this, reference, ratio, bound and kept as text."""
    sign = "at least" if measured.at_least else "at most"
    reference = measured.reference
    return (
        measured.what,
        measured.size,
        f"{number(measured.ours)} {measured.unit}",
        "" if reference is None else f"{number(reference)} ({measured.against})",
        "" if measured.ratio is None else f"{measured.ratio:.3g}",
        "" if measured.bound is None else f"{sign} {measured.bound:g}",
        {None: "", True: "yes", False: "NO"}[measured.kept],
    )


def markdown(table: Table) -> str:
    """The document."""
    conditions = list(dict.fromkeys(row.conditions for row in table.rows))
    lines = [
        INTRODUCTION,
        *(f"{place}. {told}" for place, told in enumerate(conditions, 1)),
        "",
        _line(HEADER),
        _line(["---"] * len(HEADER)),
        *(_row_line(row, conditions.index(row.conditions) + 1) for row in table.rows),
        "",
        _ENDED + (", ".join(f"{n} ({e})" for n, e in table.ended.items()) or _NONE) + ".",
        "",
    ]
    return "\n".join(lines)


def _row_line(row: Row, place: int) -> str:
    return _line([row.bench, *cells(row.measured), str(place), row.date])


def _line(texts: Iterable[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"


def parsed(text: str) -> Table:
    """The table that `markdown` wrote, its figures as exact as they are printed there.

    Raises:
        ValueError: If a row of it is not one.
    """
    lines = text.splitlines()
    told = (re.match(r"(\d+)\. (.*)", line) for line in lines)
    conditions = {match[1]: match[2] for match in told if match}
    rows = [_cells(line) for line in lines if line.startswith("| ")]
    ended = next((line for line in lines if line.startswith(_ENDED)), "")
    found = re.findall(r"(\w+) \((\w+)\)", ended.removeprefix(_ENDED))
    return Table(tuple(_row(row, conditions) for row in rows[2:]), dict(found))


def _cells(line: str) -> list[str]:
    inner = line.removeprefix("| ").removesuffix(" |")
    return [text.strip().replace("\\|", "|") for text in re.split(r" (?<!\\)\| ", inner)]


def _row(texts: Sequence[str], conditions: dict[str, str]) -> Row:
    if len(texts) != len(HEADER):
        raise ValueError(f"{len(texts)} cells, expected {', '.join(HEADER)}: {texts}")
    bench, what, size, ours, reference, _, bound, _, place, date = texts
    figure, _, unit = ours.partition(" ")
    measured = Measured(what, size, _float(figure), unit)
    if reference:
        compared, _, against = reference.partition(" ")
        measured = replace(measured, reference=_float(compared), against=against[1:-1])
    if bound:
        least = bound.startswith("at least")
        measured = replace(measured, bound=_float(bound.split()[-1]), at_least=least)
    return Row(bench, measured, conditions[place], date)


def _float(text: str) -> float:
    return float(text.replace(",", ""))
