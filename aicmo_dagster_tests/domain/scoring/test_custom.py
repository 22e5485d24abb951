import json
from typing import Any

import numpy as np
import pytest

from aicmo_dagster.domain.scoring.custom import custom_columns, custom_dimensions
from aicmo_dagster_tests.samples import raw_leads


def found(rows: list[dict[str, Any]], like: dict[str, str] | None = None) -> dict[str, list[Any]]:
    """The columns of leads that carry `rows`; None where missing."""
    columns = custom_columns(raw_leads(len(rows), custom=[json.dumps(r) for r in rows]), like)
    return {
        name: [None if missing else value for value, missing in zip(c, c.isna(), strict=True)]
        for name, c in columns.items()
    }


def column(values: list[str | None]) -> list[Any] | None:
    """What becomes of one column; None where it is left out."""
    rows = [{} if value is None else {"X": value} for value in values]
    return found(rows).get("custom.X")


def test_a_column_of_few_values_is_a_category() -> None:
    assert column(["No", "Yes", None, ""] * 10) == ["No", "Yes", None, None] * 10


def test_a_column_of_numbers_holds_numbers_and_a_slip_of_the_pen_is_missing() -> None:
    values = [str(number % 30) for number in range(99)]

    assert column([*values, "n/a"]) == [*map(float, values), None]


def test_a_column_of_few_numbers_among_words_is_a_category() -> None:
    assert column(["1", "two"] * 20) == ["1", "two"] * 20


def test_no_infinite_number_is_one() -> None:
    values = column([*(str(number % 30) for number in range(99)), "inf"])

    assert values is not None
    assert values[-1] is None


LEFT_OUT: dict[str, list[str | None]] = {
    "with fewer than twenty values": ["a", "b"] * 9 + ["a"] + [None] * 40,
    "that says the same of everyone": ["a"] * 40,
    "of one number": ["7"] * 40,
    "of a name for each lead": [f"name {number}" for number in range(40)],
    "of serial numbers": [str(number) for number in range(1000, 1060)],
}


@pytest.mark.parametrize("values", LEFT_OUT.values(), ids=LEFT_OUT)
def test_nothing_is_learned_from_a_column(values: list[str | None]) -> None:
    assert column(values) is None


def test_seconds_that_hardly_repeat_are_no_serial_numbers() -> None:
    seconds = [str(number * number) for number in range(60)]

    assert column(seconds) == [float(value) for value in seconds]


def test_a_date_stays_the_text_it_is() -> None:
    assert column(["2026-01-01", "2026-01-02"] * 10) == ["2026-01-01", "2026-01-02"] * 10


def test_a_model_finds_the_columns_it_knows_whatever_else_there_is() -> None:
    like = {"custom.B": "category", "custom.A": "number", "custom.Gone": "category"}
    columns = found([{"A": "1", "B": "2", "C": "3"}, {"A": "x"}], like)

    assert columns == {"custom.B": ["2", None], "custom.A": [1, None], "custom.Gone": [None] * 2}


ODD = {"nested": {"a": 1}, "number": 5, "truth": True, "null": None, "": "empty", 'q"ö\n': "y"}


def test_values_of_any_json_are_read() -> None:
    columns = found([ODD, {"nested": "text"}] * 20)

    assert columns == {"custom.nested": ['{"a": 1}', "text"] * 20}
    assert found([ODD], {'custom.q"ö\n': "category", "custom.number": "number"}) == {
        'custom.q"ö\n': ["y"],
        "custom.number": [5],
    }


def test_both_ways_of_reading_agree() -> None:
    rows = [{"A": str(number % 3), "B ö": "x" * (number % 4)} for number in range(40)]
    quick, slow = found(rows), found([*rows, {"only": 1}])

    assert {name: values[:40] for name, values in slow.items()} == quick


def test_leads_without_columns_of_their_own_have_none() -> None:
    assert found([{}, {}]) == {}
    assert custom_columns(raw_leads(0)).shape == (0, 0)


def test_columns_are_dimensions_of_their_family() -> None:
    rows = [{"A": str(number % 7), "B": "xyz"[number % 3]} for number in range(40)]
    columns = custom_columns(raw_leads(40, custom=[json.dumps(row) for row in rows]))
    told = {dimension.name: dimension for dimension in custom_dimensions(columns)}

    assert {name: d.unit for name, d in told.items()} == {
        "custom.A": "number",
        "custom.B": "category",
    }
    assert {d.family for d in told.values()} == {"custom"}
    assert columns["custom.A"].dtype == np.float64
