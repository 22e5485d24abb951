"""The table of benchmarks: read back as written, brought up to date in pieces, compared."""

from dataclasses import replace

import pytest

from aicmo_dagster_tests.bench.measure import Measured
from aicmo_dagster_tests.bench.table import Row, Table, markdown, parsed, updated, worse

HERE = "2 cores, 8 GiB, Some CPU; Python 3.11.2, pandas 2.3.3"
FREE = Measured("route", "1,000 leads", 2.0, "CPU s")
AGAINST = Measured("qualify | reasons", "10 leads", 1234.0, "µs", 617.0, "by hand (NumPy)", 3.0)
LEAST = Measured("guard on", "9 leads", 0.9, "AUC", bound=0.87, at_least=True)


def row(measured: Measured, bench: str = "decisions", where: str = HERE) -> Row:
    return Row(bench, measured, where, "2026-03-01")


BEFORE = Table((row(FREE), row(AGAINST), row(LEAST, "scoring")), {"mail": "OSError"})


def test_what_is_written_is_read_back() -> None:
    elsewhere = Table((*BEFORE.rows, row(FREE, "spring", "8 cores")), BEFORE.ended)
    assert parsed(markdown(elsewhere)) == elsewhere
    assert parsed(markdown(Table())) == Table()


def test_a_row_of_too_few_cells_is_no_row() -> None:
    with pytest.raises(ValueError, match="expected benchmark, what"):
        parsed(markdown(BEFORE) + "| a | b |\n")


def test_a_whole_run_takes_the_place_of_its_own_rows_and_no_others() -> None:
    new = row(replace(FREE, ours=3.0))
    assert updated(BEFORE, "decisions", [new], whole=True).rows == (new, BEFORE.rows[2])


@pytest.mark.parametrize(("whole", "error"), [(False, ""), (True, "MemoryError")])
def test_a_part_or_a_run_that_ended_early_leaves_the_rows_it_did_not_measure(
    whole: bool, error: str
) -> None:
    new, other = row(replace(FREE, ours=3.0)), row(replace(FREE, size="9 leads"))
    after = updated(BEFORE, "decisions", [new, other], whole=whole, error=error)
    assert set(after.rows) == {new, other, *BEFORE.rows[1:]}
    assert after.ended == {"mail": "OSError"} | ({"decisions": error} if error else {})


def test_a_benchmark_that_ends_well_is_no_longer_told_as_ended_early() -> None:
    assert not updated(BEFORE, "mail", [], whole=True).ended


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (replace(FREE, ours=2.5), False),
        (replace(FREE, ours=2.7), True),
        (replace(FREE, ours=1.0), False),
        (replace(AGAINST, ours=2000.0, reference=1000.0), False),
        (replace(AGAINST, ours=1234.0, reference=500.0), True),
        (replace(LEAST, ours=0.6), True),
        (replace(LEAST, ours=1.0), False),
    ],
)
def test_worse_is_what_differs_by_more_than_the_noise(now: Measured, told: bool) -> None:
    rows = [row(now, "scoring" if now.unit == "AUC" else "decisions")]
    assert bool(worse(BEFORE, rows)) is told


def test_seconds_of_another_machine_are_not_compared_but_ratios_are() -> None:
    slow = [row(replace(FREE, ours=9.0), where="elsewhere")]
    dear = [row(replace(AGAINST, ours=9e3), where="elsewhere")]
    assert not worse(BEFORE, slow)
    assert worse(BEFORE, dear) == [
        "decisions: qualify | reasons, 10 leads: 14.59 of the reference, was 2 on 2026-03-01"
    ]


def test_a_count_that_was_none_is_worse_as_soon_as_there_is_one() -> None:
    twice = Measured("mailed twice", "30 days", 0, "mails", bound=0)
    before = Table((row(twice),))
    assert worse(before, [row(replace(twice, ours=1))])
    assert not worse(before, [row(twice)])
