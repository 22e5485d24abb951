import json
from collections.abc import Callable
from pathlib import Path

import pytest

from aicmo_dagster.domain.campaigns import Campaign
from aicmo_dagster.errors import AicmoError
from aicmo_dagster.simulation.behaviour import Behaviour
from aicmo_dagster.simulation.history import behaviour_from_history
from aicmo_dagster.simulation.life import Setting
from aicmo_dagster.simulation.rehearsal import power, rehearse, wilson
from aicmo_dagster.simulation.report import lines, side_by_side
from aicmo_dagster.sources.campaign_files import CampaignFile
from aicmo_dagster_tests.simulation.worlds import (
    LIVELY,
    MONDAY,
    living,
    market,
    nurture,
    settle,
    world,
)
from aicmo_dagster_tests.workspaces import open_test_workspace

VARIED = {
    "everyone": {
        "steps": [
            {
                "id": "intro",
                "subject": "Hello",
                "variants": [{"id": "a", "body": "Hi."}, {"id": "b", "body": "Good day."}],
            }
        ]
    }
}


def setting(document: Campaign, folder: Path) -> Setting:
    return Setting(CampaignFile(document, {}, folder), MONDAY, 2, 60, LIVELY)


def test_the_same_seed_gives_the_same_bytes_and_the_report_tells_what_was_lived(
    tmp_path: Path,
) -> None:
    caps = {"per_sender_per_day": 20}
    limited = {"sequences": [{"sequence": "everyone", "capacity": 30}]}
    webhook = {"when": {"replied": True}, "to": "webhook", "url": "https://crm.acme.example/x"}
    document = living(
        routing=limited,
        sequences=VARIED,
        goals={"replies": 2},
        nurture=nurture(caps=caps, graduate=webhook),
    )
    first, same = (rehearse(setting(document, tmp_path), [7]) for _ in range(2))
    told = json.dumps(first.as_document(), sort_keys=True)
    assert told == json.dumps(same.as_document(), sort_keys=True)

    [life] = first.lives
    assert life.funnel.totals["sent"] == sum(life.funnel.days["sent"]) > 20
    assert sum(life.funnel.places.values()) >= 60
    assert 0 < life.funnel.held["the sender's cap is reached"] <= 10
    assert life.funnel.full == {"everyone": 1}
    assert {arm.variant for arm in life.funnel.arms} == {"a", "b"}
    assert [each.place for each in first.power()] == ["everyone.intro"]
    text = "\n".join(lines(first))
    assert "handoffs go to a file and not to webhook" in text
    assert "goal of 2 replied" in text
    assert list(tmp_path.iterdir()) == []  # nothing is left behind

    freer = living(sequences=VARIED)
    other = rehearse(setting(freer, tmp_path), [7, 8])
    assert other.expected()["sent"].mean > first.expected()["sent"].mean
    beside = "\n".join(side_by_side([first, other], ("now.yaml", "then.yaml")))
    assert "then.yaml" in beside
    low, high = other.expected()["replied"].low, other.expected()["replied"].high
    assert low <= other.expected()["replied"].mean <= high


def test_rates_from_history_move_towards_what_happened(
    tmp_path: Path, new_sqlite: Callable[[], str]
) -> None:
    workspace = open_test_workspace(tmp_path, new_sqlite())
    market(tmp_path, 80)
    settle(workspace, living())
    with pytest.raises(AicmoError, match="has sent 0 messages"):
        behaviour_from_history(workspace, "spring", Behaviour())
    eager = Behaviour(replies=0.3, dead=0.3, away=0.0)
    world(workspace, behaviour=eager).run(MONDAY.replace(day=6))
    found, told = behaviour_from_history(workspace, "spring", Behaviour())
    workspace.database.close()

    assert told.messages >= 50
    assert Behaviour().replies < found.replies < 0.3
    assert Behaviour().dead < found.dead < 0.3
    assert found.away < Behaviour().away
    assert found.scanners == Behaviour().scanners  # which no event tells


def test_an_interval_holds_the_count_and_grows_with_doubt() -> None:
    low, high = wilson(5, 100)
    assert low < 5 < high
    wider = wilson(0, 100)
    assert wider[0] == 0 < wider[1]
    assert wilson(0, 0) == (0.0, 0.0)


def test_power_is_what_textbooks_say() -> None:
    """Fleiss, Levin and Paik: 0.10 against 0.15 needs about 680 a group for a power of 0.8."""
    assert power(0.10, 0.15, 686) == pytest.approx(0.80, abs=0.01)
    assert power(0.1, 0.1, 10_000) < 0.05
    assert power(0.0, 0.0, 100) == 0
