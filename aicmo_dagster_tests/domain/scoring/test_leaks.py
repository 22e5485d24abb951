from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from aicmo_dagster.domain.scoring.dimensions import Dimension
from aicmo_dagster.domain.scoring.leaks import Finding, find_leaks, left_out
from aicmo_dagster_tests.domain.scoring.histories import BEGIN, TEXT, history, texts

COUNT = 2_000
WON = history(COUNT).won
ARRIVED = history(COUNT).arrival


def _dimension(name: str, family: str = "custom") -> Dimension:
    return Dimension(name, family, "", "")


def _found(name: str, values: pd.Series, won: pd.Series = WON) -> dict[str, str]:
    """Rule to evidence for a column of that name."""
    found = find_leaks(pd.DataFrame({name: values}), (_dimension(name),), won, ARRIVED)
    assert {finding.column for finding in found} <= {name}
    return {finding.rule: finding.evidence for finding in found}


def _where(won: pd.Series, if_won: str | None, otherwise: str | None) -> pd.Series:
    return pd.Series(np.where(won.fillna(value=False), if_won, otherwise), dtype=TEXT)


def test_honest_columns_are_not_accused() -> None:
    honest = history(COUNT)
    assert find_leaks(honest.columns, honest.dimensions, honest.won, honest.arrival) == ()


def test_a_column_that_ranks_too_well_alone_is_named() -> None:
    draw = np.random.default_rng(0)
    revenue = pd.Series(WON.to_numpy(dtype=float) * 2 + draw.normal(size=COUNT))
    assert _found("custom.Revenue", revenue) == {"auc": "alone it ranks leads with an AUC of 0.91"}


def test_a_useful_column_of_many_values_is_not_mistaken_for_its_own_outcomes() -> None:
    """The share won by value looks like an AUC of 1 when every value is another."""
    noise = pd.Series(np.random.default_rng(0).normal(size=COUNT))
    names = texts([f"name {number % 90}" for number in range(COUNT)])
    assert _found("custom.Noise", noise) == {}
    assert _found("custom.Name", names) == {}


def test_a_value_that_nearly_only_winners_have_is_named() -> None:
    first = WON.to_numpy(dtype=bool) & (np.arange(COUNT) < 200)
    values = pd.Series(np.where(first, "paperwork", "none"), dtype=TEXT)
    count = int(first.sum())
    assert count >= 20
    found = _found("custom.Phase", values)
    assert found["purity"].endswith(f"were won: 'paperwork' (100% of {count})")
    assert "auc" not in found


def _mostly_won(name: str, share: float) -> dict[str, str]:
    """What gives away a value of 400 leads, of which `share` were won, as 3 in 8 of all."""
    won = pd.Series(np.arange(COUNT) < 750, dtype="boolean")
    first = 750 - round(400 * share)
    held = (np.arange(COUNT) >= first) & (np.arange(COUNT) < first + 400)
    return _found(name, pd.Series(np.where(held, "ours", "none"), dtype=TEXT), won)


@pytest.mark.parametrize(("share", "named"), [(0.91, False), (0.93, True)])
def test_a_value_whose_share_reaches_the_bound_by_chance_is_not_named(
    share: float, named: bool
) -> None:
    assert list(_mostly_won("custom.Form", share)) == (["purity"] if named else [])


def test_where_a_lead_came_from_is_settled_when_it_comes() -> None:
    assert _mostly_won("channel", 0.99) == {}
    assert list(_mostly_won("title", 0.99)) == ["purity"]


def test_purity_is_of_the_rarer_outcome() -> None:
    """Where nine in ten are lost, a value of losers only gives nothing away."""
    won = pd.Series(np.arange(COUNT) % 20 == 0, dtype="boolean")
    half = texts(["a" if number % 20 == 1 else "b" for number in range(COUNT)])
    assert _found("custom.Half", half, won) == {}
    mostly_won = ~won
    assert "were lost" in _found("custom.Half", _where(won, "x", "y"), mostly_won)["purity"]


def test_a_number_that_only_winners_have_is_named_unless_its_neighbours_lead_up_to_it() -> None:
    winners = WON.to_numpy(dtype=bool)
    invoices = np.where(winners & (np.arange(COUNT) % 3 == 0), 1.0 + np.arange(COUNT) % 2, 0.0)
    assert list(_found("custom.Bills", pd.Series(invoices))) == ["purity"]
    draw = np.random.default_rng(0)
    steps = draw.integers(0, 10, COUNT)
    won = pd.Series(draw.random(COUNT) < steps / 10, dtype="boolean")
    assert _found("custom.Steps", pd.Series(steps.astype(float)), won) == {}


def test_a_value_of_fewer_than_twenty_leads_gives_nothing_away() -> None:
    winners = np.flatnonzero(WON.to_numpy(dtype=bool))[:19]
    values = np.zeros(COUNT)
    values[winners] = 1.0
    assert _found("custom.Calls", pd.Series(values)) == {}


def test_a_column_that_is_filled_in_for_losers_only_is_named() -> None:
    draw = np.random.default_rng(0)
    values = pd.Series(draw.normal(size=COUNT)).mask(WON.to_numpy(dtype=bool))
    found = _found("custom.Objection", values.mask(draw.random(COUNT) < 0.5))
    assert list(found) == ["presence"]
    assert "were lost" in found["presence"]


def test_a_column_that_is_filled_in_now_and_then_is_not() -> None:
    present = np.random.default_rng(0).random(COUNT) < 0.03
    assert _found("custom.Fax", pd.Series(np.where(present, 1.0, np.nan))) == {}


def test_a_column_of_few_leads_that_all_lost_is_not_named_where_nearly_all_lose() -> None:
    won = pd.Series(np.arange(COUNT) % 50 == 0, dtype="boolean")
    present = np.arange(COUNT) % 50 == 1
    assert _found("custom.Fax", pd.Series(np.where(present, np.arange(COUNT), np.nan)), won) == {}


@pytest.mark.parametrize(("days", "named"), [(-3, False), (1, False), (5, True)])
def test_dates_later_than_the_lead_are_named(days: int, named: bool) -> None:
    dates = [f"{BEGIN + timedelta(hours=hour, days=days):%Y-%m-%d %H:%M}" for hour in range(COUNT)]
    found = _found("custom.Signed", texts(dates))
    assert ("later" in found) is named


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("custom.Last Activity", True),
        ("custom.last_modified", True),
        ("custom.Last Name", False),
        ("custom.Lead Quality", True),
        ("custom.Lead Source", False),
        ("custom.Tags", True),
        ("custom.Asymmetrique Activity Score", True),
        ("custom.Indexing", False),
        ("custom.Deal-Stage", True),
        ("custom.Date Won", True),
        ("custom.Wonder", False),
    ],
)
def test_the_name_of_a_custom_column_may_give_it_away(name: str, named: bool) -> None:
    noise = pd.Series(np.random.default_rng(0).normal(size=COUNT))
    assert list(_found(name, noise)) == (["name"] if named else [])


def test_the_name_of_a_dimension_of_ours_gives_nothing_away() -> None:
    frame = pd.DataFrame({"days_since_last_visit": np.zeros(COUNT)})
    dimension = _dimension("days_since_last_visit", "engagement")
    assert find_leaks(frame, (dimension,), WON, ARRIVED) == ()


def test_unknown_outcomes_give_nothing_away() -> None:
    unknown = WON.where(np.arange(COUNT) < 0, other=pd.NA)
    assert _found("custom.Phase", _where(WON, "a", "b"), unknown) == {}


def test_training_leaves_out_what_nobody_vouched_for_and_what_is_ignored() -> None:
    names = ("custom.Tags", "custom.Origin", "custom.City", "visits", "title")
    dimensions = tuple(_dimension(name) for name in names)
    findings = tuple(Finding(name, "purity", "") for name in ("custom.Tags", "custom.Origin"))
    assert left_out(dimensions, findings, [], []) == ("custom.Tags", "custom.Origin")
    assert left_out(dimensions, findings, ["Origin"], []) == ("custom.Tags",)
    assert left_out(dimensions, findings, ["custom.Tags", "Origin"], ["City", "visits"]) == (
        "custom.City",
        "visits",
    )
    assert left_out(dimensions, findings, ["Tags", "Origin"], ["Tags"]) == ("custom.Tags",)


def test_a_finding_says_what_to_write_in_the_document() -> None:
    remedy = Finding("custom.Tags", "purity", "").remedy
    assert "'Tags' in scoring.known_at_capture" in remedy
    assert "scoring.ignore" in remedy
