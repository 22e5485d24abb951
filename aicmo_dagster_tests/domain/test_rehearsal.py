import pandas as pd
import pyarrow

from aicmo_dagster.domain.places import Places
from aicmo_dagster.domain.qualification import Qualified
from aicmo_dagster.domain.rehearsal import (
    compare_qualified,
    compare_routed,
    distribution,
    fairness,
)
from aicmo_dagster.domain.routing import Routed
from aicmo_dagster_tests.samples import NOON, campaign, lead_id, routed_leads

TEXT = pd.ArrowDtype(pyarrow.string())


def decided(**outcomes: str) -> pd.DataFrame:
    rows = [
        (lead_id(int(name[4:])), outcome, "rule 'size'", f"reason of {name}")
        for name, outcome in outcomes.items()
    ]
    return pd.DataFrame(rows, columns=["lead_id", "outcome", "cause", "reason"]).astype(TEXT)


def test_who_would_enter_and_who_would_leave_is_told_with_the_reason() -> None:
    after = decided(
        lead1="qualified", lead2="not_qualified", lead3="qualified", lead4="not_qualified"
    )
    changes = compare_qualified([lead_id(n) for n in (1, 2, 9)], Qualified(routed_leads(0), after))

    assert changes.to_dict("split")["data"] == [
        [lead_id(3), "enters", "rule 'size'", "reason of lead3"],
        [lead_id(2), "leaves", "rule 'size'", "reason of lead2"],
        [lead_id(9), "leaves", "no longer scored", "no longer scored"],
    ]


def test_nothing_changes_where_the_same_is_decided() -> None:
    after = Qualified(routed_leads(0), decided(lead1="qualified", lead2="not_qualified"))

    assert compare_qualified([lead_id(1)], after).empty


def test_who_would_go_elsewhere_is_told_from_where_to_where() -> None:
    before = routed_leads(3, sequence=["a", "a", "b"])
    after = routed_leads(4, sequence=["a", "b", "b", "b"]).drop(index=2)
    changes = compare_routed(
        before, Routed(after, decided(lead2="routed", lead3="not_routed", lead4="routed"), [])
    )

    assert changes["lead_id"].tolist() == [lead_id(2), lead_id(3), lead_id(4)]
    assert changes["before"].tolist() == ["a", "b", pd.NA]
    assert changes["after"].tolist() == ["b", pd.NA, "b"]
    assert changes["reason"].tolist() == [f"reason of lead{n}" for n in (2, 3, 4)]


def test_fairness_holds_each_sequence_s_turns_against_its_weight() -> None:
    among = ["a:1 b:2"] * 3 + [None] + ["b:2"]
    turns = fairness(routed_leads(5, sequence=["a", "a", "b", "a", "b"], among=among))

    assert turns.to_dict("split")["data"] == [
        ["a:1 b:2", "a", 2, 1.0],
        ["a:1 b:2", "b", 1, 2.0],
        ["b:2", "b", 1, 1.0],
    ]
    assert fairness(routed_leads(0)).empty


def test_a_distribution_tells_what_a_sequence_holds_and_its_limits() -> None:
    each = campaign(
        routing={"sequences": [{"sequence": "everyone", "capacity": 5, "weight": 3}]},
    )
    before, after = routed_leads(3), routed_leads(4)
    places = Places.of(each, before, {lead_id(1)}, NOON)

    assert distribution(each, after, places).to_dict("records") == [
        {
            "sequence": "everyone",
            "weight": 3,
            "capacity": 5,
            "per_day": None,
            "leads": 4,
            "active": 2,
            "room": 3,
        }
    ]
