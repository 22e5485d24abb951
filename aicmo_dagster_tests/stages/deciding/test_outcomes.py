"""What is learned from beside a source's outcomes: other campaigns' leads, replies, handoffs."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from aicmo_dagster.errors import AicmoError
from aicmo_dagster.stages.deciding.model_claims import expected_wins_come_true
from aicmo_dagster.stages.deciding.score import score_leads
from aicmo_dagster.stages.deciding.train import train_model
from aicmo_dagster.stages.harvesting.harvest import harvest
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.events import add_events
from aicmo_dagster.store.frames import read_frame
from aicmo_dagster.store.tables import nurture_sends
from aicmo_dagster_tests.outcomes import apply_outcomes, outcomes_csv
from aicmo_dagster_tests.samples import NOON
from aicmo_dagster_tests.workspaces import open_test_workspace

DAY = timedelta(days=1)


@pytest.fixture
def workspace(tmp_path: Path, new_sqlite: Callable[[], str]) -> Iterator[Workspace]:
    opened = open_test_workspace(tmp_path, new_sqlite())
    yield opened
    opened.database.close()


def dated(text: str, *, since: int = 300, days: int = 180) -> str:
    """The same leads, who arrived over so many days from so many days ago on."""
    header, *lines = text.splitlines()
    begin = NOON - since * DAY
    times = [begin + days * DAY * place / len(lines) for place in range(len(lines))]
    rows = [line.rpartition(",")[0] for line in lines]
    told = [f"{row},{time.isoformat()}" for row, time in zip(rows, times, strict=True)]
    return "\n".join([header, *told])


def frame(workspace: Workspace, key: str, stage: str) -> pd.DataFrame:
    with workspace.database.read() as connection:
        return read_frame(connection, stage, key)


def test_a_young_campaign_learns_from_those_that_it_names(workspace: Workspace) -> None:
    apply_outcomes(workspace, "spring", dated(outcomes_csv(900)))
    harvest(workspace, "spring", NOON)
    alone = dated(outcomes_csv(40, seed=3, first=2_000), since=20, days=10)
    apply_outcomes(workspace, "autumn", alone)
    harvest(workspace, "autumn", NOON)
    assert "50 of each needed" in train_model(workspace, "autumn", NOON, "Ida").summary
    apply_outcomes(workspace, "autumn", alone, learn_from=["spring"])
    harvest(workspace, "autumn", NOON)
    training = train_model(workspace, "autumn", NOON, "Ida")
    score_leads(workspace, "autumn", NOON)

    assert training.leads == 940
    assert training.in_charge is not None
    assert set(frame(workspace, "autumn", "scored_leads")["model"]) == {training.in_charge}
    assert expected_wins_come_true(workspace, "autumn", NOON).holds
    assert train_model(workspace, "spring", NOON, "Ida").leads == 900


def test_a_campaign_to_learn_from_that_there_is_none_of_is_told(workspace: Workspace) -> None:
    apply_outcomes(workspace, "spring", dated(outcomes_csv(60)), learn_from=["summer"])

    with pytest.raises(AicmoError, match="summer"):
        train_model(workspace, "spring", NOON, "Ida")


def test_who_was_written_to_and_replied_is_won_and_who_did_not_is_lost(
    workspace: Workspace,
) -> None:
    text = dated(outcomes_csv(900))
    apply_outcomes(workspace, "spring", text, won_by=["reply"], ignore=["Lead Quality"])
    harvest(workspace, "spring", NOON)
    assert train_model(workspace, "spring", NOON, "Ida").summary == (
        "scorecard: 0 wins, 0 losses; 50 of each needed"
    )
    raw = frame(workspace, "spring", "raw_leads")
    written = np.arange(len(raw)) % 5 > 0
    _write_to(workspace, raw[written])
    _reply(workspace, raw[written & raw["won"].to_numpy(bool)])
    training = train_model(workspace, "spring", NOON, "Ida")

    assert training.wins == int(raw["won"][written].sum())
    assert training.wins + training.losses == int(written.sum())
    assert training.in_charge is not None


def _arrived(raw: pd.DataFrame) -> list[pd.Timestamp]:
    return [pd.Timestamp(text) for text in raw["arrived"]]


def _write_to(workspace: Workspace, raw: pd.DataFrame) -> None:
    """Each of these leads got a message a day after it arrived."""
    fixed = {"campaign": "spring", "step": "intro", "state": "accepted", "sequence": "everyone"}
    fixed |= {"campaign_version": 1, "recipient_domain": "a.example", "sender": "ida@acme.example"}
    rows = [
        {"lead_id": lead, "message_id": f"<{lead}@acme.example>", "attempts": 1}
        | {"due_at": at, "deadline_at": at, "sent_at": at + DAY}
        for lead, at in zip(raw["lead_id"], _arrived(raw), strict=True)
    ]
    with workspace.database.write() as connection:
        connection.execute(nurture_sends.insert().values(**fixed), [fixed | row for row in rows])


def _reply(workspace: Workspace, raw: pd.DataFrame) -> None:
    """Each of these leads answered five days after it arrived."""
    detail = '{"asks_to_stop": false, "matched_by": "reference"}'
    rows = [
        {"campaign": "spring", "lead_id": lead, "kind": "reply", "key": lead, "detail": detail}
        | {"happened_at": (at + 5 * DAY).to_pydatetime()}
        for lead, at in zip(raw["lead_id"], _arrived(raw), strict=True)
    ]
    with workspace.database.write() as connection:
        add_events(connection, rows)
