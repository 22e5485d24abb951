import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicmo_dagster.domain.scoring.binning import (
    CategoryBins,
    NumberBins,
    bins_from_data,
    bins_to_data,
    codes,
    fit_bins,
    missing_codes,
)
from aicmo_dagster.errors import BadInput
from aicmo_dagster_tests.domain.scoring.histories import texts

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


def _numbers(values: list[float]) -> pd.Series:
    return pd.Series(values, dtype=np.float64, name="visits")


def test_up_to_32_distinct_numbers_have_a_bin_each() -> None:
    column = _numbers([0.0] * 1_000 + list(range(32)))
    found = codes(fit_bins(column), column)
    assert len(np.unique(found)) == 32


def test_a_rare_count_is_not_merged_into_the_zeros_by_quantiles() -> None:
    column = _numbers([0.0] * 100_000 + list(range(1, 50)))
    found = codes(fit_bins(column), column)
    assert (found[:100_000] == 0).all()
    assert (found[100_000:] > 0).all()


def test_more_distinct_numbers_have_quantiles_of_like_size() -> None:
    column = _numbers(list(np.random.default_rng(0).normal(size=32_000)))
    counts = np.bincount(codes(fit_bins(column), column))
    assert len(counts) == 32
    assert counts.min() > 900
    assert counts.max() < 1_100


def test_a_frequent_number_stands_alone_among_quantiles() -> None:
    rest = np.random.default_rng(0).normal(size=1_000)
    column = _numbers([*([0.5] * 1_000), *rest])
    found = codes(fit_bins(column), column)
    assert len(set(found[:1_000])) == 1
    assert not set(found[:1_000]) & set(found[1_000:])


@given(st.lists(NUMBERS, min_size=1, max_size=32, unique=True))
def test_different_numbers_never_share_a_bin_however_close_or_far(values: list[float]) -> None:
    column = _numbers(sorted({value + 0.0 for value in values}))
    found = codes(fit_bins(column), column)
    assert found.tolist() == list(range(len(column)))


def test_numbers_with_no_other_between_them_have_a_bin_each() -> None:
    column = _numbers([1.0, np.nextafter(1.0, 2.0), 5e-324, 0.0])
    assert codes(fit_bins(column), column).tolist() == [2, 3, 1, 0]


@given(st.lists(NUMBERS, max_size=200))
def test_bins_follow_the_order_of_the_numbers(values: list[float]) -> None:
    column = _numbers(sorted(values))
    assert (np.diff(codes(fit_bins(column, most=7), column).astype(int)) >= 0).all()


def test_missing_and_infinite_numbers_are_in_the_last_bin() -> None:
    bins = fit_bins(_numbers([1.0, 2.0, np.nan]))
    found = codes(bins, _numbers([np.nan, np.inf, -np.inf, 1.0]))
    assert found.tolist() == [2, 2, 2, 0]
    assert missing_codes(bins, 2).tolist() == [2, 2]


def test_an_unseen_number_goes_with_the_nearest() -> None:
    bins = fit_bins(_numbers([0.0, 10.0, 20.0]))
    assert codes(bins, _numbers([-5.0, 4.0, 6.0, 99.0])).tolist() == [0, 0, 1, 2]


def test_integers_truths_and_arrow_numbers_are_numbers() -> None:
    whole = pd.Series([1, 2, None], dtype="int64[pyarrow]")
    truth = pd.Series([True, False, None], dtype="bool[pyarrow]")
    assert codes(fit_bins(whole), whole).tolist() == [0, 1, 2]
    assert codes(fit_bins(truth), truth).tolist() == [1, 0, 2]


def test_categories_under_twenty_leads_and_unseen_ones_are_pooled() -> None:
    bins = fit_bins(texts(["b"] * 20 + ["a"] * 20 + ["c"] * 19 + [None] * 50))
    assert bins == CategoryBins(("a", "b"))
    assert codes(bins, texts(["a", "b", "c", "never seen", None])).tolist() == [0, 1, 2, 2, 3]


def test_of_too_many_categories_the_most_frequent_have_bins() -> None:
    names = [f"c{number:03}" for number in range(300) for _ in range(20 + number)]
    bins = fit_bins(texts(names))
    assert bins.count == 252
    assert isinstance(bins, CategoryBins)
    assert bins.values[0] == "c050"


def test_text_for_numbers_and_numbers_for_text_are_refused_by_column() -> None:
    with pytest.raises(BadInput, match="column visits"):
        codes(NumberBins((1.0,)), texts(["a"]).rename("visits"))
    with pytest.raises(BadInput, match="column visits"):
        codes(CategoryBins(("a",)), _numbers([1.0]))
    with pytest.raises(BadInput, match="numbers or text"):
        fit_bins(pd.Series([pd.Timestamp("2026-01-01")], name="seen"))


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    st.one_of(
        st.lists(NUMBERS, max_size=12).map(lambda edges: NumberBins(tuple(sorted(edges)))),
        st.lists(st.text(), max_size=12, unique=True).map(lambda v: CategoryBins(tuple(sorted(v)))),
    )
)
def test_bins_survive_json_exactly(bins: NumberBins | CategoryBins) -> None:
    assert bins_from_data(json.loads(json.dumps(bins_to_data(bins)))) == bins


@pytest.mark.parametrize("column", [_numbers([]), _numbers([np.nan]), texts([]), texts([None])])
def test_a_column_without_any_value_has_bins_all_the_same(column: pd.Series) -> None:
    bins = fit_bins(column)
    assert codes(bins, column).tolist() == [bins.count - 1] * len(column)
