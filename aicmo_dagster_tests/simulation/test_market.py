from pathlib import Path

import pandas as pd

from aicmo_dagster.simulation.market import NOISE, Market, custom_values, latent_fits
from aicmo_dagster_tests.simulation.worlds import FIT, living


def listed(folder: Path, market: Market) -> pd.DataFrame:
    market.write(folder / "list.csv")
    return pd.read_csv(folder / "list.csv", dtype=str, keep_default_na=False)


def test_the_same_seed_makes_the_same_list(tmp_path: Path) -> None:
    first, same = (listed(tmp_path, Market(living(), 50, 1)) for _ in range(2))
    pd.testing.assert_frame_equal(first, same)
    assert not first.equals(listed(tmp_path, Market(living(), 50, 2)))


def test_a_list_has_the_dirt_of_lists(tmp_path: Path) -> None:
    rows = listed(tmp_path, Market(living(), 400, 1))
    assert len(rows) > 400  # some come twice
    assert (rows["email"] == "").any()
    assert rows["email"].isin(["n/a", "unknown@", "see card"]).any()
    assert not rows["last_name"].map(str.isascii).all()
    assert rows["employees"].str.contains(",").any()


def test_a_part_of_the_market_is_whom_the_campaign_is_for(tmp_path: Path) -> None:
    rows = listed(tmp_path, Market(living(), 400, 1))
    fitting = rows["title"].str.contains("revenue operations").mean()
    assert 0.35 < fitting < 0.65


def test_addresses_that_a_provider_finds_are_paid_for_within_the_budget(tmp_path: Path) -> None:
    enrich = {"waterfall": ["apollo", "dropcontact"], "max_credits": 30}
    market = Market(living(enrich=enrich), 200, 1, unlisted=True)
    rows = listed(tmp_path, market)
    assert market.credits.total() == 30
    assert rows.loc[rows["email"] != "", "email"].str.lower().nunique() == 30
    unpaid = Market(living(), 200, 1, unlisted=True)
    assert (listed(tmp_path, unpaid)["email"] == "").all()


def test_custom_columns_are_those_that_conditions_name() -> None:
    rule = {"field": "custom.Opted Out", "op": "not_in", "value": ["Yes"], "missing": "accept"}
    assert custom_values(living(qualification={"rules": [rule]})) == {"Opted Out": ["Yes"]}


def test_a_latent_fit_is_what_the_fields_tell_but_for_the_noise() -> None:
    leads = pd.DataFrame(
        {
            "email": ["a@x.example", "b@x.example", None],
            "title": ["Head of Revenue Operations", "Cook", "Cook"],
            "country": ["NO", "US", "US"],
            "employees": [100, 9000, 1],
            **dict.fromkeys(("seniority", "industry"), "none"),
        }
    )
    fits = latent_fits(leads, living(scoring={"fit": FIT}).scoring.fit, 1)
    assert set(fits) == {"a@x.example", "b@x.example"}
    assert fits["a@x.example"] >= 1 - NOISE
    assert fits["b@x.example"] <= NOISE
