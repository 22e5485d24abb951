"""`aicmo model`, from the first training to a rollback."""

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from aicmo_dagster_tests.cli.conftest import Aicmo, Furnish, audited
from aicmo_dagster_tests.outcomes import SOURCE, outcomes_csv
from aicmo_dagster_tests.samples import campaign_document


@pytest.fixture
def harvested(aicmo: Aicmo, tmp_path: Path, furnish: Furnish) -> Aicmo:
    """The commands, with a campaign `spring` whose leads have outcomes."""
    document = campaign_document(sources=[SOURCE], scoring={"threshold": 50})
    with (tmp_path / "spring.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(document, file)
    (tmp_path / "leads.csv").write_text(outcomes_csv(900), encoding="utf-8")

    def run() -> None:
        assert aicmo("campaign", "apply", tmp_path / "spring.yaml").code == 0
        assert aicmo("run", "spring", "--to", "scored_leads").code == 0

    furnish("harvested", run)
    return aicmo


def test_a_model_is_trained_compared_promoted_and_rolled_back(harvested: Aicmo) -> None:
    assert "the scorecard is in charge" in harvested("model", "list", "spring").output
    outcome = json.loads(harvested("model", "train", "spring", "--json").output)
    version = outcome["in_charge"]
    listed = json.loads(harvested("model", "list", "spring", "--json").output)
    assert [(m["version"], m["state"]) for m in listed["models"]] == [(version, "promoted")]
    assert len(listed["models"][0]["auc_within"]) == 3
    assert [change["state"] for change in listed["changes"]] == ["trained", "promoted"]
    assert version in harvested("model", "list", "spring").output

    compared = json.loads(harvested("model", "compare", "spring", "scorecard", "--json").output)
    assert (compared["now"], compared["then"], compared["leads"]) == (version, "scorecard", 900)
    assert (
        f"{len(compared['under'])} would fall below it"
        in harvested("model", "compare", "spring", "scorecard").output
    )

    shadow = ("run", "spring", "--to", "scored_leads", "--dry-run", "--model")
    assert json.loads(harvested(*shadow, "scorecard", "--json").output) == compared
    assert harvested(*shadow, "scorecard").output == (
        harvested("model", "compare", "spring", "scorecard").output
    )

    told = harvested("model", "rollback", "spring", "--reason", "odd", "--by", "Ida")
    assert "the scorecard is in charge of spring" in told.output
    again = harvested("model", "promote", "spring", version[:5], "--reason", "all right")
    assert again.output.startswith(f"{version} is in charge of spring")
    assert "odd" in harvested("model", "list", "spring").output
    changes = [(each.action, each.before, each.after) for each in audited()[:2]]
    none, made = {"version": None}, {"version": version}
    assert changes == [("model.promote", none, made), ("model.rollback", made, none)]


def test_a_score_by_a_model_is_explained(harvested: Aicmo) -> None:
    assert harvested("model", "train", "spring").code == 0
    assert harvested("run", "spring", "--from", "scored_leads", "--to", "scored_leads").code == 0
    told = harvested("explain", "spring", "lead7@company7.example").output

    assert "% likely to be won, band " in told
    assert "is what every lead has" in told
    assert "'Hours' is " in told


def test_what_there_is_none_of_is_told(harvested: Aicmo) -> None:
    for arguments in (("compare", "spring", "abcdef"), ("promote", "spring", "abcdef")):
        extra = ("--reason", "x") if arguments[0] == "promote" else ()
        result = harvested("model", *arguments, *extra)
        assert (result.code, "no model 'abcdef'" in result.errors) == (1, True)
    assert harvested("model", "train", "autumn").code == 1
    assert harvested("model", "rollback", "spring", "--reason", "x").code == 1
