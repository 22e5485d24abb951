import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicmo_dagster.domain.scoring.bands import bands


def letters(scores: list[float], cohorts: list[int] | None = None) -> str:
    found = bands(np.array(scores, float), np.array(cohorts or [0] * len(scores)))
    return "".join(found)


def test_a_cohort_of_twenty_is_parted_by_tenths_and_quarters() -> None:
    assert letters(list(range(20, 0, -1))) == "AABBBCCCCCDDDDDDDDDD"


def test_each_cohort_is_ranked_by_itself() -> None:
    assert letters([1, 50, 2, 99, 3, 98, 4, 97], [0, 1, 0, 1, 0, 1, 0, 1]) == "DDDBCCBD"


@pytest.mark.parametrize(
    ("scores", "expected"),
    [([7.0] * 12, "D" * 12), ([9, 9, *range(8)], "BBDDDDDCCC"), ([5], "D"), ([], "")],
)
def test_equal_scores_have_the_band_of_the_last_of_them(scores: list[float], expected: str) -> None:
    assert letters(scores) == expected


def test_scores_that_differ_in_the_last_bit_are_equal() -> None:
    assert letters([0.1 + 0.2, 0.3]) == "DD"


@settings(derandomize=True, deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2)), min_size=1, max_size=60))
def test_a_band_holds_no_more_than_its_share_and_goes_with_the_score(
    leads: list[tuple[int, int]],
) -> None:
    scores, cohorts = map(list, zip(*leads, strict=True))
    found = letters([float(score) for score in scores], cohorts)
    for cohort in set(cohorts):
        own = [(s, b) for s, c, b in zip(scores, cohorts, found, strict=True) if c == cohort]
        for reached, share in (("A", 0.1), ("AB", 0.25), ("ABC", 0.5)):
            assert sum(band in reached for _, band in own) <= share * len(own) + 1e-9
        assert [b for _, b in sorted(own, reverse=True)] == sorted(b for _, b in own)
