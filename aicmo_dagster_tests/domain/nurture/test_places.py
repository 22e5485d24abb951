from datetime import date

import pandas as pd
import pytest

from aicmo_dagster.domain.nurture.places import is_holiday, known_zone, place_of
from aicmo_dagster_tests.samples import campaign

TOLD = {
    "what is told counts first": (("Asia/Tokyo", "NO", "Oslo"), "Asia/Tokyo"),
    "a country with one zone": ((None, "NO", None), "Europe/Oslo"),
    "a country with many, and no city": ((None, "US", None), None),
    "a city that a zone is named after": ((None, "US", "new york"), "America/New_York"),
    "a city with accents": ((None, "BR", "São Paulo"), "America/Sao_Paulo"),
    "a city with a hyphen": ((None, "AU", "Lord-Howe"), "Australia/Lord_Howe"),
    "a city in another country": ((None, "US", "Oslo"), None),
    "a zone that there is not": (("Mars/Base", "NO", None), "Europe/Oslo"),
    "no zone at all": (("../etc/passwd", None, None), None),
    "an unknown country": ((None, "XX", "Oslo"), None),
    "nothing": ((None, None, None), None),
}


@pytest.mark.parametrize(("told", "zone"), TOLD.values(), ids=TOLD)
def test_a_zone_is_known_where_it_is_certain(
    told: tuple[str | None, str | None, str | None], zone: str | None
) -> None:
    assert known_zone(*told) == zone


def test_what_is_missing_counts_as_unknown() -> None:
    each = campaign(schedule={"timezone": "Asia/Kolkata"})

    assert place_of(each, pd.NA, pd.NA, pd.NA).zone.key == "Asia/Kolkata"
    assert place_of(each, float("nan")).calendar is None


def test_a_country_without_known_holidays_has_none() -> None:
    assert is_holiday("NO", date(2026, 5, 17))
    assert not is_holiday("NO", date(2026, 5, 18))
    assert not is_holiday("XX", date(2026, 12, 25))
    assert not is_holiday(None, date(2026, 12, 25))
