import pandas as pd
import pytest

from aicmo_dagster.domain.nurture.graduation import DEFAULT, graduates
from aicmo_dagster.domain.sections.nurture import Interest

REPLIES = pd.DataFrame({"id": [7], "lead_id": ["ann"]})
CLICKS = pd.DataFrame(
    {
        "id": [1, 2, 3, 4, 5],
        "lead_id": ["bob", "bob", "cy", "cy", "ann"],
        "step": ["intro", "nudge", "intro", "intro", "intro"],
    }
)


def test_a_reply_or_clicks_in_two_steps_are_interest_unless_said_otherwise() -> None:
    found = graduates(REPLIES, CLICKS, Interest())

    assert [(each.lead_id, each.reason) for each in found] == [
        ("ann", "replied"),
        ("bob", "clicked in 2 steps"),
    ]
    assert found == graduates(REPLIES, CLICKS, DEFAULT)


def test_the_evidence_is_named() -> None:
    ann, bob = graduates(REPLIES, CLICKS, Interest())

    assert ann.evidence == (5, 7)
    assert bob.evidence == (1, 2)


@pytest.mark.parametrize(
    ("when", "leads"),
    [
        ({"clicks": 1}, ["ann", "bob", "cy"]),
        ({"clicks": 2}, ["bob"]),
        ({"clicks": 3}, []),
        ({"replied": True}, ["ann"]),
        ({"replied": False, "clicks": 2}, ["bob"]),
        ({"replied": True, "clicks": 1}, ["ann", "bob", "cy"]),
    ],
)
def test_a_campaign_says_what_counts(when: dict[str, int], leads: list[str]) -> None:
    found = graduates(REPLIES, CLICKS, Interest.model_validate(when))

    assert [each.lead_id for each in found] == leads


def test_nobody_did_anything() -> None:
    assert graduates(REPLIES.iloc[:0], CLICKS.iloc[:0], DEFAULT) == []
