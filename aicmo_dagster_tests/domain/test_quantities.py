from datetime import UTC, datetime

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aicmo_dagster.domain import quantities


@pytest.mark.parametrize(
    ("texts", "number"),
    [
        ("120|~120|120.0|approx. 120|120 employees|\uff11\uff12\uff10", 120),
        ("51-200|51 \u2013 200|51 to 200|51\u2013200 employees", 126),
        ("10,001+|10001+|10.001+|10'001 or more|>10001|over 10 001", 10_001),
        ("1.000|1,000|1 000|1k|1K|1e3", 1_000),
        ("12,34,567|1.234.567|1,234,567", 1_234_567),
        ("1-5k|1k-5k|1,000-5,000", 3_000),
        ("<10|up to 10|less than 10", 10),
        ("0|0.2", 0),
        ("-5|(5)|200-51|11-Jan|n/a|1.2.3|nan|inf|9e99|99999999999999999999|1,2,3|12.5.2020", None),
        (f"{'9' * 5000}|{'1.' * 50_000}x", None),
    ],
)
def test_whole_numbers_are_read_as_people_write_them(texts: str, number: int | None):
    written = texts.replace("", "").split("|")
    found = quantities.wholes(pyarrow.array(written)).to_pylist()
    assert dict(zip(written, found, strict=True)) == dict.fromkeys(written, number)


@pytest.mark.parametrize(
    ("texts", "number"),
    [
        ("$5M|5,000,000|5.000.000|USD 5m|5 million|5000k|5,000k|€5 Mio.", 5e6),
        ("1.2bn|1,2bn|$1.2 billion|1.2E+09", 1.2e9),
        ("€ 1.250.000,50|1,250,000.50|1250000.5|1 250 000,50", 1_250_000.5),
        ("1.250M|1,25 M|1.25m", 1.25e6),
        ("$1-5M|$1M - $5M", 3e6),
        ("0.125|0,125", 0.125),
        ("-3|5%|a lot", None),
    ],
)
def test_amounts_are_read_as_people_write_them(texts: str, number: float | None):
    written = texts.split("|")
    found = quantities.reals(pyarrow.array(written)).to_pylist()
    assert dict(zip(written, found, strict=True)) == dict.fromkeys(written, number)


@given(st.text(st.sampled_from("0159.,-+ kmb~$e€'"), max_size=20))
def test_no_text_gives_a_number_that_is_negative_or_beyond_bounds(text: str):
    [number] = quantities.wholes(pyarrow.array([text])).to_pylist()
    assert number is None or 0 <= number <= 10**15


@pytest.mark.parametrize(
    ("text", "year"),
    [("1998", 1998), ("1998.0", 1998), ("1998-06-01", 1998), ("98", None), ("9999", None)],
)
def test_years_are_plausible_or_missing(text: str, year: int | None):
    assert quantities.years(pyarrow.array([text])).to_pylist() == [year]


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-05-01", datetime(2026, 5, 1, tzinfo=UTC)),
        ("2026-05-01 10:00:00", datetime(2026, 5, 1, 10, tzinfo=UTC)),
        ("2026-05-01T10:00:00+02:00", datetime(2026, 5, 1, 8, tzinfo=UTC)),
        ("2026-05-01T10:00:00.25Z", datetime(2026, 5, 1, 10, 0, 0, 250_000, tzinfo=UTC)),
        ("20260501", datetime(2026, 5, 1, tzinfo=UTC)),
        ("2026-13-01", None),
        ("2026-02-30T00:00:00", None),
        ("0001-01-01T00:00:00+05:00", None),
        ("31/12/2026", None),
        ("1767225600", None),
        ("soon", None),
    ],
)
def test_instants_are_those_of_iso_8601(text: str, instant: datetime | None):
    known = "2026-01-01T00:00:00"
    assert quantities.instants(pyarrow.array([known, text])).to_pylist() == [
        datetime(2026, 1, 1, tzinfo=UTC),
        instant,
    ]
