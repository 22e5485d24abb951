import json
from pathlib import Path

from aicmo_dagster_tests.cli.conftest import Aicmo

SAMPLE = Path(__file__).parents[2] / "aicmo_dagster" / "sample" / "campaign.yaml"


def test_a_document_is_lived_through_and_the_home_stays_as_it_was(aicmo: Aicmo, home: Path) -> None:
    told = aicmo("simulate", str(SAMPLE), "--days", "2", "--start", "2026-03-02", "--json")
    assert told.code == 0
    document = json.loads(told.output)
    assert document["start"] == "2026-03-02T00:00:00+00:00"
    assert document["expected"]["sent"]["mean"] == 80
    assert document["lives"][0]["funnel"]["days"]["sent"] == [40, 40]
    assert not home.exists() or not any(home.iterdir())


def test_rates_are_shown_with_their_sources(aicmo: Aicmo) -> None:
    shown = aicmo("simulate", str(SAMPLE), "--rates", "--rate", "replies=0.05")
    assert "Instantly" in shown.output
    assert "0.05" in shown.output


def test_what_is_no_rate_day_or_campaign_is_told(aicmo: Aicmo) -> None:
    assert aicmo("simulate", str(SAMPLE), "--rate", "replies").code == 2
    assert aicmo("simulate", str(SAMPLE), "--start", "soon").code == 2
    assert aicmo("simulate", "nobody").code == 1
