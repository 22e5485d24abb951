"""Learning from outcomes, scoring by what was learned, and comparing before a change."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from aicmo_dagster.domain.scoring.model import score
from aicmo_dagster.domain.scoring.model_documents import from_document
from aicmo_dagster.domain.scoring.model_frames import model_columns, scored_by_model
from aicmo_dagster.errors import AicmoError
from aicmo_dagster.stages.deciding.model_claims import (
    drifts,
    expected_wins_come_true,
    leads_are_like_those_learned_from,
    something_is_known_of_most_leads,
)
from aicmo_dagster.stages.deciding.qualify import qualify_leads
from aicmo_dagster.stages.deciding.rehearse import rehearse_qualification, rehearse_routing
from aicmo_dagster.stages.deciding.score import compare_scores, score_leads
from aicmo_dagster.stages.deciding.train import Training, train_model
from aicmo_dagster.stages.harvesting.harvest import harvest
from aicmo_dagster.stages.leads.explain import explain_lead
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.frames import read_frame
from aicmo_dagster.store.models import changes, find_model, list_models, roll_back
from aicmo_dagster_tests.outcomes import apply_outcomes, outcomes_csv
from aicmo_dagster_tests.samples import NOON
from aicmo_dagster_tests.workspaces import open_test_workspace


@pytest.fixture
def workspace(tmp_path: Path, new_sqlite: Callable[[], str]) -> Iterator[Workspace]:
    opened = open_test_workspace(tmp_path, new_sqlite())
    yield opened
    opened.database.close()


def learned(workspace: Workspace, text: str, **scoring: Any) -> Training:
    """What training comes to over a campaign `spring` with these leads."""
    apply_outcomes(workspace, "spring", text, **scoring)
    harvest(workspace, "spring", NOON)
    return train_model(workspace, "spring", NOON, "Ida")


def frame(workspace: Workspace, stage: str) -> pd.DataFrame:
    with workspace.database.read() as connection:
        return read_frame(connection, stage, "spring")


def versions(workspace: Workspace) -> list[tuple[str, str]]:
    with workspace.database.read() as connection:
        return [(change.version, change.state) for change in changes(connection, "spring")]


def test_without_fifty_of_each_the_scorecard_stays_and_nothing_is_kept(
    workspace: Workspace,
) -> None:
    training = learned(workspace, outcomes_csv(60))

    assert training.summary == f"scorecard: {training.wins} wins, {training.losses} losses; " + (
        "50 of each needed"
    )
    assert training.wins + training.losses == training.leads == 60
    assert versions(workspace) == []


def test_a_model_that_is_better_takes_over_and_scores(workspace: Workspace) -> None:
    training = learned(workspace, outcomes_csv(900), threshold=50)
    report = score_leads(workspace, "spring", NOON)
    scored = frame(workspace, "scored_leads")

    assert training.version == training.in_charge is not None
    assert f"{training.version} is in charge: ahead by more" in training.summary
    assert set(scored["model"]) == {training.version}
    assert set(scored["scale"]) == {"probability"}
    assert 0 < report.figures["at_or_above_threshold"] < 900
    won = frame(workspace, "raw_leads")["won"].to_numpy(bool)
    assert scored["score"][won].mean() > scored["score"][~won].mean() + 10


def test_base_and_contributions_sum_to_the_logit(workspace: Workspace) -> None:
    learned(workspace, outcomes_csv(900))
    score_leads(workspace, "spring", NOON)
    raw, scored = frame(workspace, "raw_leads"), frame(workspace, "scored_leads")
    with workspace.database.read() as connection:
        (newest,) = list_models(connection, "spring")
    model = from_document(newest.document)
    scoring = workspace.campaign("spring").campaign.scoring
    logit = score(model, model_columns(model, raw, scoring, NOON)).logit
    sums = [sum(json.loads(text).values()) for text in scored["contributions"]]

    assert np.abs(scored["base"].to_numpy(float) + sums - logit).max() < 1e-9
    assert scored["score"].tolist() == np.round(100 * expit(logit), 4).tolist()


def test_training_again_changes_nothing(workspace: Workspace) -> None:
    first = learned(workspace, outcomes_csv(900))
    before = versions(workspace)
    second = train_model(workspace, "spring", NOON + timedelta(days=1), "Ida")

    assert (
        versions(workspace) == before == [(first.version, "trained"), (first.version, "promoted")]
    )
    assert second.in_charge == first.version
    assert "stays in charge: not ahead" in second.summary


def test_an_old_version_gives_the_old_scores_bit_for_bit(workspace: Workspace) -> None:
    old = learned(workspace, outcomes_csv(900))
    score_leads(workspace, "spring", NOON)
    before = frame(workspace, "scored_leads")
    apply_outcomes(workspace, "spring", outcomes_csv(900, seed=8), ignore=["Hours"])
    harvest(workspace, "spring", NOON)
    new = train_model(workspace, "spring", NOON, "Ida")
    apply_outcomes(workspace, "spring", outcomes_csv(900), model=old.version)
    harvest(workspace, "spring", NOON)
    score_leads(workspace, "spring", NOON)

    assert new.version != old.version
    pd.testing.assert_frame_equal(frame(workspace, "scored_leads"), before, check_exact=True)


def test_a_score_is_reproduced_from_document_model_and_leads_alone(workspace: Workspace) -> None:
    training = learned(workspace, outcomes_csv(900), fit={"titles": ["boss"]})
    score_leads(workspace, "spring", NOON)
    with workspace.database.read() as connection:
        document = find_model(connection, "spring", str(training.version)).document
    raw = frame(workspace, "raw_leads")
    scoring = workspace.campaign("spring").campaign.scoring
    model = from_document(document)
    scores = score(model, model_columns(model, raw, scoring, NOON))

    pd.testing.assert_frame_equal(
        scored_by_model(raw, scores, str(training.version)),
        frame(workspace, "scored_leads"),
        check_exact=True,
    )


def test_outcomes_that_mean_nothing_promote_nothing(workspace: Workspace) -> None:
    training = learned(workspace, outcomes_csv(900, shuffled=True), ignore=["Lead Quality"])

    assert training.in_charge is None
    assert training.version is not None
    assert "scorecard stays in charge" in training.summary


def test_a_column_that_knows_the_outcome_is_named_and_not_learned_from(
    workspace: Workspace,
) -> None:
    training = learned(workspace, outcomes_csv(900))
    assert training.learned is not None
    assert training.learned.best is not None
    found = {finding.column for finding in training.learned.findings}
    names = {dimension.name for dimension in training.learned.best.model.dimensions}
    assert "custom.Lead Quality" in found & set(training.learned.left_out)
    assert "custom.Hours" in names
    assert "custom.Lead Quality" not in names

    vouched = learned(workspace, outcomes_csv(900), known_at_capture=["Lead Quality"])
    assert vouched.learned is not None
    assert vouched.learned.best is not None
    names = {dimension.name for dimension in vouched.learned.best.model.dimensions}
    assert "custom.Lead Quality" in names


def test_a_comparison_counts_who_would_move_and_writes_nothing(workspace: Workspace) -> None:
    training = learned(workspace, outcomes_csv(900), model="scorecard", threshold=40)
    score_leads(workspace, "spring", NOON)
    before = frame(workspace, "scored_leads")
    found = compare_scores(workspace, "spring", str(training.version)[:6], NOON)

    assert (found.now, found.then) == ("scorecard", training.version)
    assert found.leads == 900
    assert found.above_now + len(found.over) - len(found.under) == found.above_then
    pd.testing.assert_frame_equal(frame(workspace, "scored_leads"), before)
    after = scored_over(workspace, str(training.version), 40)
    assert set(found.over) == after - set(before["lead_id"][before["score"] >= 40])
    assert found.over
    assert sum(sum(row.values()) for row in found.bands.values()) == 900
    assert "but the campaign's document says 'model: scorecard'" in training.summary


def test_a_rehearsal_by_a_model_ends_as_the_run_by_it_does(workspace: Workspace) -> None:
    training = learned(workspace, outcomes_csv(900), model="scorecard", threshold=60)
    for stage in (score_leads, qualify_leads):
        stage(workspace, "spring", NOON)
    version = str(training.version)
    judged = rehearse_qualification(workspace, "spring", None, NOON, model=version)
    sent = rehearse_routing(workspace, "spring", None, NOON, afresh=False, model=version)
    as_it_is = rehearse_qualification(workspace, "spring", None, NOON)
    before = set(frame(workspace, "qualified_leads")["lead_id"])
    entered = scored_over(workspace, version, 60) - before
    report = qualify_leads(workspace, "spring", NOON)

    enters = judged.changes["lead_id"][judged.changes["change"] == "enters"]
    assert set(enters) == entered
    assert entered
    assert judged.after == report.rows_out == sent.distribution["leads"].sum()
    assert as_it_is.changes.empty


def scored_over(workspace: Workspace, version: str, threshold: float) -> set[str]:
    """Who reaches the threshold once `version` has scored, which nothing here undoes."""
    apply_outcomes(workspace, "spring", outcomes_csv(900), model=version, threshold=threshold)
    score_leads(workspace, "spring", NOON)
    scored = frame(workspace, "scored_leads")
    return set(scored["lead_id"][scored["score"] >= threshold])


def test_a_version_that_there_is_none_of_is_told(workspace: Workspace) -> None:
    apply_outcomes(workspace, "spring", outcomes_csv(5), model="abcdef12")

    with pytest.raises(AicmoError, match="no model 'abcdef12'"):
        score_leads(workspace, "spring", NOON)


def test_training_does_not_bring_back_what_a_person_rolled_back(workspace: Workspace) -> None:
    training = learned(workspace, outcomes_csv(900))
    with workspace.database.write() as connection:
        roll_back(connection, "spring", reason="odd", decided_by="Ida", now=NOON)
    again = train_model(workspace, "spring", NOON, "Ida")

    assert again.in_charge is None
    assert f"{training.version} is better, but a person rolled it back" in again.summary


def test_the_intercept_follows_the_share_won_since_training(workspace: Workspace) -> None:
    first = learned(workspace, outcomes_csv(900))
    later = outcomes_csv(300, seed=9, shift=-2.0, first=901)
    rows = later.split("\n", 1)[1]
    apply_outcomes(workspace, "spring", outcomes_csv(900) + rows)
    harvest(workspace, "spring", NOON)
    wins = expected_wins_come_true(workspace, "spring", NOON)
    second = train_model(workspace, "spring", NOON, "Ida")

    assert not wins.holds
    assert wins.figures["observed_wins"] < wins.figures["expected_wins"]
    assert "intercept moved by -" in second.summary
    assert second.in_charge not in (None, first.version)
    assert expected_wins_come_true(workspace, "spring", NOON).holds


def test_drift_is_told_by_column_for_the_leads_since_training(workspace: Workspace) -> None:
    text = outcomes_csv(900)
    learned(workspace, text)
    assert drifts(workspace, "spring", NOON) == ()
    assert leads_are_like_those_learned_from(workspace, "spring", NOON).holds
    rows = outcomes_csv(300, seed=9, first=901).split("\n", 1)[1].replace("team", "basic")
    apply_outcomes(workspace, "spring", text + rows)
    harvest(workspace, "spring", NOON)
    finding = leads_are_like_those_learned_from(workspace, "spring", NOON)

    assert not finding.holds
    assert finding.text.startswith("drifted since training: custom.Plan")
    assert {each.name for each in drifts(workspace, "spring", NOON)} >= {"custom.Plan", "score"}


def test_without_a_model_there_is_nothing_to_drift(workspace: Workspace) -> None:
    apply_outcomes(workspace, "spring", outcomes_csv(60))
    harvest(workspace, "spring", NOON)
    score_leads(workspace, "spring", NOON)

    assert leads_are_like_those_learned_from(workspace, "spring", NOON).holds
    assert expected_wins_come_true(workspace, "spring", NOON).holds
    assert something_is_known_of_most_leads(workspace, "spring").figures == {"scored_share": 1.0}


def test_a_learned_score_is_explained_in_the_leads_own_words(workspace: Workspace) -> None:
    training = learned(workspace, outcomes_csv(900))
    score_leads(workspace, "spring", NOON)
    scored = frame(workspace, "scored_leads").sort_values("score")
    best = explain_lead(workspace, "spring", str(scored["lead_id"].iloc[-1]), NOON).score

    assert best is not None
    assert best.base is not None
    assert best.model == training.version
    assert best.raised[0].text.startswith("'Hours' is 1")
    logit = best.base + sum(best.families.values())
    assert best.score == pytest.approx(100 * expit(logit), abs=1e-4)
