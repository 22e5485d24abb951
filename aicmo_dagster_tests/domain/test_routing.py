import time
from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from math import gcd
from typing import Any

import pandas as pd
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicmo_dagster.domain.campaigns import Campaign
from aicmo_dagster.domain.drawing import fair_turns
from aicmo_dagster.domain.rehearsal import fairness
from aicmo_dagster.domain.routing import Routed, Standing, route
from aicmo_dagster.domain.schemas import RoutedLeads
from aicmo_dagster_tests.domain.lead_columns import lead_columns
from aicmo_dagster_tests.samples import NOON, campaign, lead_id, routed_leads

TEXT = pd.ArrowDtype(pyarrow.string())
CITIES = ("Oslo", "Bergen", "Molde")
MANY_WEIGHTS = st.lists(st.integers(1, 9) | st.integers(1, 1000), min_size=1, max_size=12)

NOBODY = routed_leads(0)
INSTANT = pd.ArrowDtype(pyarrow.timestamp("us", tz="UTC"))


def to_go_to(**sequences: str) -> pd.DataFrame:
    """Overrides by Ida: `lead1="s0"` has the first lead go to s0."""
    leads = [lead_id(int(name.removeprefix("lead"))) for name in sequences]
    actions = [f"route:{sequence}" for sequence in sequences.values()]
    texts = pd.DataFrame({"lead_id": leads, "action": actions}, dtype=TEXT)
    texts = texts.assign(reason="asked", decided_by="Ida").astype(TEXT)
    instants = {"decided_at": NOON, "expires_at": pd.NaT}
    columns = {name: pd.Series(at, texts.index, dtype=INSTANT) for name, at in instants.items()}
    return texts.assign(**columns)


NO_OVERRIDES = to_go_to()
NOT_BLOCKED = pd.DataFrame({"lead_id": [], "reason": []}, dtype=TEXT)


def in_cities(*cities: str) -> dict[str, Any]:
    return {"field": "city", "op": "in", "value": list(cities)}


def document(
    *routes: dict[str, Any],
    per_company: int | None = None,
    strategy: str = "weighted_round_robin",
) -> Campaign:
    """A campaign of these routes, whose sequences are called s0, s1 and so on."""
    named = [{"sequence": f"s{number}", **parts} for number, parts in enumerate(routes)]
    steps = {"steps": [{"id": "intro", "subject": "a", "body": "a"}]}
    return campaign(
        routing={
            "strategy": strategy,
            "sequences": named,
            "overlap": {"per_company": per_company},
        },
        schedule={"timezone": "Europe/Oslo"},
        sequences={route["sequence"]: steps for route in named},
    )


@dataclass(frozen=True)
class Lead:
    """What routing looks at."""

    number: int
    score: float = 50.0
    city: str | None = "Oslo"
    company: str | None = None
    reachable: bool = True


def qualified(*leads: Lead) -> pd.DataFrame:
    """Qualified leads with the columns that routing and these conditions look at."""
    return lead_columns(
        {
            "lead_id": [lead_id(lead.number) for lead in leads],
            "email": [f"a@{lead.number}.example" if lead.reachable else None for lead in leads],
            "city": [lead.city for lead in leads],
            "domain": [lead.company for lead in leads],
            "custom": ["{}" for _ in leads],
            "score": [lead.score for lead in leads],
        }
    )


def run(
    leads: pd.DataFrame,
    campaign: Campaign,
    *,
    routed: pd.DataFrame = NOBODY,
    blocked: pd.DataFrame = NOT_BLOCKED,
    by_hand: pd.DataFrame = NO_OVERRIDES,
    load: dict[str, int] | None = None,
    ended: Collection[str] = (),
    unsent: Collection[str] = (),
    version: int = 1,
    now: datetime = NOON,
) -> Routed:
    standing = Standing(
        blocked.assign(cause=blocked["reason"]), by_hand, load or {}, ended=ended, unsent=unsent
    )
    return route(leads, routed, campaign, standing, version=version, now=now)


def taken(found: Routed) -> dict[int, str]:
    """Lead number to sequence."""
    ids = [int(lead, 16) for lead in found.leads["lead_id"]]
    return dict(zip(ids, found.leads["sequence"], strict=True))


def reasons(found: Routed) -> dict[int, str]:
    """Lead number to the reason why it has no sequence."""
    without = found.decisions[found.decisions["outcome"] == "not_routed"]
    ids = [int(lead, 16) for lead in without["lead_id"]]
    return dict(zip(ids, without["reason"], strict=True))


@settings(derandomize=True, deadline=None, max_examples=80)
@given(MANY_WEIGHTS)
def test_after_any_number_of_turns_each_is_within_one_of_its_share(weights: list[int]) -> None:
    total = sum(weights)
    had = [0] * len(weights)
    for number, turn in enumerate(fair_turns(weights, min(total, 500)), 1):
        had[turn] += 1
        for weight, count in zip(weights, had, strict=True):
            assert abs(count * total - number * weight) < total


def test_weights_that_smooth_weighted_round_robin_is_unfair_to() -> None:
    """Nginx's algorithm strays by 1.31 here."""
    weights = [2, 3, 10, 1, 50, 1, 50, 1, 5, 50, 1]
    had: Counter[int] = Counter()
    for number, turn in enumerate(fair_turns(weights, sum(weights)), 1):
        had[turn] += 1
        assert all(abs(had[p] - number * w / 174) < 1 for p, w in enumerate(weights))


@settings(derandomize=True, deadline=None, max_examples=60)
@given(MANY_WEIGHTS)
def test_turns_come_round_again_after_a_period(weights: list[int]) -> None:
    period = sum(weights) // gcd(*weights)
    turns = fair_turns(weights, period)

    assert [turns.count(p) for p in range(len(weights))] == [w // gcd(*weights) for w in weights]


LEADS = st.lists(
    st.builds(
        Lead,
        number=st.integers(1, 200),
        score=st.sampled_from([0.0, 10.0, 50.0, 99.9]),
        city=st.sampled_from([*CITIES, None]),
        company=st.sampled_from([None, "a.example", "b.example", "gmail.com"]),
        reachable=st.sampled_from([True, True, True, False]),
    ),
    unique_by=lambda lead: lead.number,
    max_size=40,
)
CONDITIONS = st.none() | st.sets(st.sampled_from(CITIES), min_size=1).map(
    lambda cities: in_cities(*sorted(cities))
)
ROUTES = st.fixed_dictionaries(
    {"when": CONDITIONS, "weight": st.integers(1, 7), "capacity": st.none() | st.integers(1, 6)}
)
DOCUMENTS = st.builds(
    lambda routes, limit: document(*routes, per_company=limit),
    st.lists(ROUTES, min_size=1, max_size=4),
    st.none() | st.integers(1, 3),
)
PROPERTY = settings(derandomize=True, deadline=None, max_examples=25)


def may_take(campaign: Campaign, lead: Lead) -> list[int]:
    """The positions of the routes whose condition a lead meets."""
    return [
        position
        for position, each in enumerate(campaign.routing.sequences)
        if each.when is None or lead.city in each.when.value  # type: ignore[union-attr,operator]
    ]


def reference(leads: list[Lead], campaign: Campaign) -> dict[int, str]:
    """Who goes where, written as plainly as can be: one lead after another, best first."""
    routes = campaign.routing.sequences
    limit = campaign.routing.overlap.per_company
    used: Counter[int] = Counter()
    companies: Counter[str | None] = Counter()
    turns: defaultdict[tuple[int, ...], int] = defaultdict(int)
    chosen = {}
    for lead in sorted(leads, key=lambda lead: (-lead.score, lead.number)):
        full = {p for p, r in enumerate(routes) if r.capacity and used[p] >= r.capacity}
        choice = tuple(p for p in may_take(campaign, lead) if p not in full)
        company = None if lead.company == "gmail.com" else lead.company
        crowded = company and limit and companies[company] >= limit
        if not lead.reachable or not choice or crowded:
            continue
        turns[choice] += 1
        weights = [routes[position].weight for position in choice]
        turn = choice[fair_turns(weights, turns[choice])[-1]]
        used[turn] += 1
        companies[company] += 1
        chosen[lead.number] = routes[turn].sequence
    return chosen


@PROPERTY
@given(LEADS, DOCUMENTS)
def test_leads_are_routed_as_if_they_came_one_by_one_best_first(
    leads: list[Lead], campaign: Campaign
) -> None:
    found = run(qualified(*leads), campaign)

    assert taken(found) == reference(leads, campaign)
    assert sorted(found.decisions["lead_id"]) == sorted(lead_id(lead.number) for lead in leads)
    assert not found.decisions.isna().any(axis=None)
    RoutedLeads.validate(found.leads)


@PROPERTY
@given(LEADS, DOCUMENTS, st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(
    leads: list[Lead], campaign: Campaign, chance: Any
) -> None:
    shuffled = chance.sample(leads, len(leads))
    first, second = run(qualified(*leads), campaign), run(qualified(*shuffled), campaign)

    pd.testing.assert_frame_equal(first.leads, second.leads)
    pd.testing.assert_frame_equal(first.decisions, second.decisions)


@PROPERTY
@given(LEADS, DOCUMENTS)
def test_a_second_run_changes_nothing(leads: list[Lead], campaign: Campaign) -> None:
    first = run(qualified(*leads), campaign)
    load = dict(Counter(lead.company for lead in leads if lead.number in taken(first)))
    second = run(qualified(*leads), campaign, routed=first.leads, load=load)  # type: ignore[arg-type]

    pd.testing.assert_frame_equal(second.leads, first.leads)
    assert set(reasons(second)) == set(reasons(first))


@PROPERTY
@given(st.lists(LEADS, min_size=2, max_size=4), st.lists(DOCUMENTS, min_size=2, max_size=4))
def test_a_routed_lead_stays_whatever_comes_after(
    runs: list[list[Lead]], campaigns: list[Campaign]
) -> None:
    """Other leads, other facts, other routes; also when the lead is not known any more."""
    stored = NOBODY
    for version, (leads, each) in enumerate(zip(runs, campaigns, strict=False), 1):
        found = run(qualified(*leads), each, routed=stored, version=version)
        pd.testing.assert_frame_equal(found.leads.iloc[: len(stored)], stored)
        stored = found.leads

    assert sorted(stored["position"]) == list(range(1, len(stored) + 1))


@PROPERTY
@given(
    st.lists(st.integers(0, 15), min_size=1, max_size=4),
    st.lists(st.integers(1, 50), min_size=2, max_size=5),
)
def test_over_many_runs_each_sequence_keeps_its_share(
    arrivals: list[int], weights: list[int]
) -> None:
    each = document(*({"weight": weight} for weight in weights))
    leads, stored = [Lead(1)], NOBODY
    for count in arrivals:
        leads += [Lead(leads[-1].number + n) for n in range(1, count + 1)]
        stored = run(qualified(*leads), each, routed=stored).leads
    had = stored["sequence"].value_counts()

    for number, weight in enumerate(weights):
        due = len(leads) * weight / sum(weights)
        assert abs(had.get(f"s{number}", 0) - due) < 1


@PROPERTY
@given(
    st.lists(st.sets(st.sampled_from(CITIES), min_size=1), min_size=2, max_size=4),
    st.lists(st.integers(1, 9), min_size=4, max_size=4),
    st.lists(st.none() | st.integers(1, 9), min_size=4, max_size=4),
    st.lists(st.lists(st.sampled_from(CITIES), max_size=9), min_size=1, max_size=6),
)
def test_within_each_set_of_sequences_shares_are_exact_over_runs_whatever_fills_or_changes(
    cities: list[set[str]],
    weights: list[int],
    capacities: list[int | None],
    arrivals: list[list[str]],
) -> None:
    """Also where sequences fill, and where the facts of those who were routed change later."""
    routes = [
        {"sequence": f"s{n}", "when": in_cities(*sorted(c)), "weight": w, "capacity": most}
        for n, (c, w, most) in enumerate(zip(cities, weights, capacities, strict=False))
    ]
    leads: list[Lead] = []
    stored = NOBODY
    for turn, arrived in enumerate(arrivals):
        moved = [Lead(lead.number, city=CITIES[lead.number % 3]) for lead in leads]
        leads = [*moved, *(Lead(len(leads) + n, city=c) for n, c in enumerate(arrived, 1))]
        rotated = routes[turn % 2 :] + routes[: turn % 2]
        stored = run(qualified(*leads), document(*rotated), routed=stored).leads
    turns = fairness(stored)

    assert ((turns["had"] - turns["due"]).abs() < 1).all()
    assert turns["had"].sum() == len(stored)
    held = stored["sequence"].value_counts()
    assert all(held.get(f"s{n}", 0) <= c for n, c in enumerate(capacities) if c is not None)


def test_a_sequence_that_was_full_for_a_while_does_not_upset_the_turns_of_the_others() -> None:
    """One lead a run: the two with room take turns, though the third is open to all as well."""
    each, stored = document({"capacity": 1}, {}, {}), NOBODY
    for number in range(1, 10):
        stored = run(qualified(*(Lead(n) for n in range(1, number + 1))), each, routed=stored).leads

    assert stored["sequence"].value_counts().to_dict() == {"s0": 1, "s1": 4, "s2": 4}


def test_each_set_of_eligible_sequences_is_fair_on_its_own() -> None:
    leads = [Lead(n, city="Oslo" if n % 3 else "Bergen") for n in range(1, 91)]
    each = document({"when": in_cities("Oslo"), "weight": 2}, {"weight": 1}, {"weight": 1})
    went = taken(run(qualified(*leads), each))
    by_city = Counter((lead.city, went[lead.number]) for lead in leads)

    assert by_city == {
        ("Oslo", "s0"): 30,
        ("Oslo", "s1"): 15,
        ("Oslo", "s2"): 15,
        ("Bergen", "s1"): 15,
        ("Bergen", "s2"): 15,
    }


def test_capacity_goes_to_the_best_and_is_never_exceeded() -> None:
    """Whoever loses the turn of a full sequence gives it to others, who must not take it either."""
    leads = [Lead(n, score=100 - n) for n in range(1, 61)]
    found = run(qualified(*leads), document({"capacity": 1}, {}, {}))
    went = taken(found)

    assert [number for number, sequence in went.items() if sequence == "s0"] == [1]
    assert Counter(went.values()) == {"s0": 1, "s1": 30, "s2": 29}


def test_a_sequence_that_fills_does_not_disturb_the_turns_of_others() -> None:
    leads = [Lead(1, 90), Lead(2, 80, "Bergen"), Lead(3, 70, "Bergen"), Lead(4, 60)]
    routes = [{"when": in_cities("Bergen"), "capacity": 1}] + [{"when": in_cities("Oslo")}] * 2
    found = run(qualified(*leads), document(*routes))

    assert taken(found) == {1: "s1", 2: "s0", 4: "s2"}


def test_leads_whose_sequence_has_ended_hold_no_place() -> None:
    stored = routed_leads(3, sequence="s0")
    leads = qualified(*(Lead(number) for number in range(1, 8)))
    found = run(leads, document({"capacity": 4}), routed=stored, ended={lead_id(1), lead_id(2)})

    assert set(taken(found)) == {1, 2, 3, 4, 5, 6}


def test_only_so_many_are_new_on_a_day_of_the_campaign() -> None:
    """In Oslo it is the fifth of March from 23:00 UTC on."""
    limited, leads = document({"per_day": 2}), qualified(*(Lead(n) for n in range(1, 9)))
    first = run(leads, limited)
    again = run(leads, limited, routed=first.leads, now=NOON.replace(hour=22, minute=59))
    next_day = run(leads, limited, routed=again.leads, now=NOON.replace(hour=23))

    assert [len(each.leads) for each in (first, again, next_day)] == [2, 2, 4]
    assert reasons(again)[3] == "every sequence it may go to is full"


def test_a_day_s_limit_and_capacity_both_hold() -> None:
    leads = qualified(*(Lead(n) for n in range(1, 9)))

    assert len(run(leads, document({"per_day": 3, "capacity": 2})).leads) == 2
    assert len(run(leads, document({"per_day": 2, "capacity": 3})).leads) == 2


def test_the_least_loaded_sequence_is_the_one_with_the_fewest_leads_for_its_weight() -> None:
    stored = routed_leads(3, sequence="s0")
    leads = qualified(*(Lead(n) for n in range(1, 10)))
    found = run(leads, document({}, {"weight": 2}, strategy="least_loaded"), routed=stored)

    assert Counter(taken(found).values()) == {"s0": 3, "s1": 6}
    assert "'s1' has the fewest active leads" in found.leads["reason"].iloc[-1]
    assert found.leads["among"].isna().all()


def test_the_best_match_is_the_sequence_whose_preferences_are_met_most() -> None:
    senior = {"field": "score", "op": ">=", "value": 60}
    routes = (
        {"prefer": [in_cities("Oslo"), senior]},
        {"prefer": [in_cities("Oslo", "Bergen")], "capacity": 2},
        {},
    )
    leads = (Lead(1, 90), Lead(2, 80, "Bergen"), Lead(3, 50), Lead(4, 40, "Molde"), Lead(5, 30))
    found = run(qualified(*leads), document(*routes, strategy="best_match"))

    assert taken(found) == {1: "s0", 2: "s1", 3: "s1", 4: "s2", 5: "s0"}
    assert found.leads["reason"].tolist()[:2] == [
        "'s0' fits best: 100% of its preferences are met",
        "'s1' fits best: 100% of its preferences are met",
    ]


STRATEGIES = st.sampled_from(["least_loaded", "best_match"])


@PROPERTY
@given(LEADS, st.lists(ROUTES, min_size=1, max_size=4), STRATEGIES, st.none() | st.integers(1, 3))
def test_fit_and_load_choose_as_a_plain_reference_does(
    leads: list[Lead], routes: list[dict[str, Any]], strategy: str, limit: int | None
) -> None:
    preferring = [
        {**each, "prefer": [in_cities(*CITIES[: n + 1]), in_cities("Oslo")]}
        for n, each in enumerate(routes)
    ]
    campaign = document(*preferring, strategy=strategy, per_company=limit)
    found = run(qualified(*leads), campaign)

    assert taken(found) == reference_by_fit(leads, campaign)
    assert sorted(found.decisions["lead_id"]) == sorted(lead_id(lead.number) for lead in leads)
    RoutedLeads.validate(found.leads)


def reference_by_fit(leads: list[Lead], campaign: Campaign) -> dict[int, str]:
    """Who goes where by `least_loaded` or `best_match`, one lead after another."""
    routes, limit = campaign.routing.sequences, campaign.routing.overlap.per_company
    used: Counter[int] = Counter()
    companies: Counter[str | None] = Counter()
    chosen = {}
    for lead in sorted(leads, key=lambda lead: (-lead.score, lead.number)):
        company = None if lead.company == "gmail.com" else lead.company
        if not lead.reachable or (company and limit and companies[company] >= limit):
            continue
        open_to = [
            p
            for p in may_take(campaign, lead)
            if not routes[p].capacity or used[p] < routes[p].capacity
        ]

        def merit(position: int, city: str | None = lead.city) -> tuple[float, float, int]:
            each = routes[position]
            met = sum(city in each_wish.value for each_wish in each.prefer)  # type: ignore[union-attr,operator]
            fit = met / 2 if campaign.routing.strategy == "best_match" else 0
            return -fit, used[position] / each.weight, position

        if open_to:
            best = min(open_to, key=merit)
            used[best] += 1
            companies[company] += 1
            chosen[lead.number] = routes[best].sequence
    return chosen


def test_an_override_sends_a_lead_where_no_condition_and_no_turn_would() -> None:
    leads = [Lead(n, score=n, city="Molde") for n in range(1, 6)]
    routes = ({"when": in_cities("Oslo"), "capacity": 1}, {"weight": 2}, {})
    found = run(qualified(*leads), document(*routes), by_hand=to_go_to(lead1="s0", lead2="s0"))

    assert taken(found)[2] == "s0"
    assert reasons(found) == {
        1: "override to go through 's0' by Ida on 2026-03-04: asked; it waits: "
        "every sequence it may go to is full"
    }
    by_hand = found.decisions[found.decisions["decided_by"] == "override"]
    assert sorted(by_hand["lead_id"]) == [lead_id(1), lead_id(2)]
    turns = fairness(found.leads)
    assert turns["had"].sum() == 3
    assert ((turns["had"] - turns["due"]).abs() < 1).all()


def test_an_override_goes_before_better_scores_but_not_before_a_block() -> None:
    leads = qualified(*(Lead(n, score=n) for n in range(1, 6)))
    blocked = pd.DataFrame({"lead_id": [lead_id(2)], "reason": ["suppressed"]}, dtype=TEXT)
    by_hand = to_go_to(lead1="s0", lead2="s0")
    found = run(leads, document({"capacity": 1}), blocked=blocked, by_hand=by_hand)

    assert set(taken(found)) == {1}
    told = "override to go through 's0' by Ida on 2026-03-04: asked; it waits: suppressed"
    assert reasons(found)[2] == told


def test_an_override_moves_a_routed_lead_that_has_had_no_mail() -> None:
    stored = routed_leads(3, sequence="s0", among="s0:1 s1:1")
    leads = qualified(*(Lead(number) for number in range(1, 4)))
    by_hand, unsent = to_go_to(lead1="s1", lead2="s1", lead3="s0"), {lead_id(1)}
    later = NOON.replace(day=9)
    found = run(
        leads, document({}, {}), routed=stored, by_hand=by_hand, unsent=unsent, version=2, now=later
    )

    assert taken(found) == {1: "s1", 2: "s0", 3: "s0"}
    assert found.moved == [lead_id(1)]
    told = dict(zip(found.decisions["lead_id"], found.decisions["reason"], strict=True))
    assert told[lead_id(1)] == "override to go through 's1' by Ida on 2026-03-04: asked"
    assert told[lead_id(2)].endswith("it waits: its first message is out or under way")
    assert told[lead_id(3)] == "its turn"
    moved = found.leads.iloc[0]
    assert (moved["campaign_version"], moved["routed_at"], moved["position"]) == (2, later, 1)
    assert pd.isna(moved["among"])
    RoutedLeads.validate(found.leads)


@pytest.mark.parametrize(
    ("route", "ended", "why"),
    [
        ({"capacity": 1}, (), "'s1' is full"),
        ({}, (lead_id(1),), "its sequence has ended"),
    ],
)
def test_a_lead_that_cannot_be_moved_stays_and_says_why(
    route: dict[str, Any], ended: tuple[str, ...], why: str
) -> None:
    stored = routed_leads(2, sequence=["s0", "s1"])
    found = run(
        qualified(Lead(1), Lead(2)),
        document({}, route),
        routed=stored,
        by_hand=to_go_to(lead1="s1"),
        ended=ended,
        unsent={lead_id(1)},
    )

    assert taken(found) == {1: "s0", 2: "s1"}
    assert found.decisions["reason"].iloc[0].endswith(f"it waits: {why}")
    assert found.moved == []


def test_a_lead_to_be_sent_where_nobody_is_routed_any_more_stays() -> None:
    stored = routed_leads(1, sequence="s0")
    by_hand, unsent = to_go_to(lead1="gone"), {lead_id(1)}
    found = run(qualified(Lead(1)), document({}), routed=stored, by_hand=by_hand, unsent=unsent)

    assert "no leads are routed to 'gone' any more" in found.decisions["reason"][0]


def test_when_everything_is_full_the_worst_go_without() -> None:
    leads = [Lead(n, score=float(n)) for n in range(1, 11)]
    found = run(qualified(*leads), document({"capacity": 3}, {"capacity": 4}))

    assert set(taken(found)) == {4, 5, 6, 7, 8, 9, 10}
    assert reasons(found) == dict.fromkeys((1, 2, 3), "every sequence it may go to is full")


def test_those_who_are_routed_already_count_against_capacity() -> None:
    stored = routed_leads(3, sequence="s0")
    leads = qualified(*(Lead(number) for number in range(1, 6)))

    assert set(taken(run(leads, document({"capacity": 4}), routed=stored))) == {1, 2, 3, 4}
    assert set(taken(run(leads, document({"capacity": 2}), routed=stored))) == {1, 2, 3}


def test_room_that_is_made_goes_to_the_best_who_wait() -> None:
    leads = qualified(Lead(1, 10), Lead(2, 90), Lead(3, 50))
    first = run(leads, document({"capacity": 1}))
    second = run(leads, document({"capacity": 2}), routed=first.leads, version=2)

    assert list(taken(second)) == [2, 3]
    assert second.leads["campaign_version"].tolist() == [1, 2]


def test_a_lead_that_meets_no_condition_says_so() -> None:
    found = run(qualified(Lead(1, city=None)), document({"when": in_cities("Oslo")}))

    assert reasons(found) == {1: "no sequence's condition holds"}


def test_a_lead_without_an_address_is_not_routed() -> None:
    assert reasons(run(qualified(Lead(1, reachable=False)), document({}))) == {1: "no address"}


def test_a_blocked_lead_has_its_reason_and_takes_no_turn() -> None:
    blocked = pd.DataFrame(
        {"lead_id": [lead_id(2), lead_id(9)], "reason": ["in cool-down", "suppressed"]}, dtype=TEXT
    )
    leads = qualified(*(Lead(number) for number in range(1, 6)))
    found = run(leads, document({}, {}), blocked=blocked)

    assert reasons(found) == {2: "in cool-down"}
    assert Counter(taken(found).values()) == {"s0": 2, "s1": 2}


def test_a_block_comes_before_a_missing_address() -> None:
    blocked = pd.DataFrame({"lead_id": [lead_id(1)], "reason": ["suppressed"]}, dtype=TEXT)
    found = run(qualified(Lead(1, reachable=False)), document({}), blocked=blocked)

    assert reasons(found) == {1: "suppressed"}


CROWDED = "others of the company are contacted already"


def test_a_company_is_contacted_by_its_best_and_by_no_more_than_allowed() -> None:
    leads = [Lead(n, score=100 - n, company="acme.example") for n in range(1, 6)]
    found = run(qualified(*leads, Lead(6), Lead(7)), document({}, per_company=2))

    assert set(taken(found)) == {1, 2, 6, 7}
    assert reasons(found) == dict.fromkeys((3, 4, 5), CROWDED)


def test_those_contacted_elsewhere_count_for_the_company() -> None:
    leads = qualified(*(Lead(n, company="acme.example") for n in range(1, 6)))
    allowing = document({}, per_company=3)

    assert len(taken(run(leads, allowing, load={"acme.example": 2}))) == 1
    assert len(taken(run(leads, allowing, load={"acme.example": 9}))) == 0
    assert len(taken(run(leads, allowing, load={"beta.example": 9}))) == 3


def test_a_colleague_who_cannot_be_routed_holds_no_place_of_the_company() -> None:
    leads = [
        Lead(1, 90, city=None, company="acme.example"),
        Lead(2, 80, company="acme.example", reachable=False),
        Lead(3, 70, company="acme.example"),
        Lead(4, 60, company="acme.example"),
    ]
    found = run(qualified(*leads), document({"when": in_cities("Oslo")}, per_company=1))

    assert taken(found) == {3: "s0"}
    assert reasons(found)[4] == CROWDED


def test_a_colleague_whose_sequence_is_full_holds_no_place_of_the_company() -> None:
    leads = [
        Lead(1, 90),
        Lead(2, 80, company="acme.example"),
        Lead(3, 70, city="Bergen", company="acme.example"),
    ]
    routes = ({"when": in_cities("Oslo"), "capacity": 1}, {"when": in_cities("Bergen")})
    found = run(qualified(*leads), document(*routes, per_company=1))

    assert taken(found) == {1: "s0", 3: "s1"}


def test_people_at_a_free_mail_provider_are_no_colleagues() -> None:
    leads = qualified(*(Lead(number, company="gmail.com") for number in range(1, 6)))
    found = run(leads, document({}, per_company=1), load={"gmail.com": 1000})

    assert len(taken(found)) == 5


def test_sixty_sequences_are_told_apart() -> None:
    leads = [Lead(number) for number in range(1, 121)]
    found = run(qualified(*leads), document(*({} for _ in range(60))))

    assert set(Counter(taken(found).values()).values()) == {2}


def test_nobody_is_routed_in_an_empty_frame() -> None:
    found = run(qualified(), document({"when": in_cities("Oslo"), "capacity": 3}, per_company=2))

    RoutedLeads.validate(found.leads)
    assert len(found.leads) == len(found.decisions) == 0


def test_a_position_is_given_once_even_after_an_erasure() -> None:
    stored = routed_leads(3, sequence="s0").iloc[1:].reset_index(drop=True)
    found = run(qualified(*(Lead(number) for number in range(2, 6))), document({}), routed=stored)

    assert found.leads["position"].tolist() == [2, 3, 4, 5]


def test_a_route_tells_its_version_its_instant_and_its_reason() -> None:
    found = run(qualified(Lead(1, 77.5)), document({}), version=4).leads.iloc[0]

    assert found["campaign_version"] == 4
    assert found["routed_at"] == NOON
    assert found["score"] == 77.5
    assert found["reason"].startswith("its turn for 's0'")


def test_the_seed_is_the_lead_s_own_and_spreads_evenly() -> None:
    leads = qualified(*(Lead(number) for number in range(1, 2001)))
    here = run(leads, document({})).leads.set_index("lead_id")["seed"]
    again = run(leads.iloc[::-1], document({}, {})).leads.set_index("lead_id")["seed"]

    assert here.to_dict() == again.to_dict()
    assert here.between(0, 9999).all()
    assert 900 < (here < 5000).sum() < 1100


def test_routing_changes_nothing_of_what_it_was_given() -> None:
    leads, stored = qualified(Lead(5, company="a.example"), Lead(1)), routed_leads(1, sequence="s0")
    before = leads.copy(), stored.copy()
    run(leads, document({"capacity": 5}, per_company=1), routed=stored)

    pd.testing.assert_frame_equal(leads, before[0])
    pd.testing.assert_frame_equal(stored, before[1])


@pytest.mark.parametrize("count", [0, 1, 7])
def test_a_count_of_turns_is_as_many_turns(count: int) -> None:
    assert len(fair_turns([3, 5], count)) == count


def test_many_leads_are_routed_in_rounds_and_not_one_by_one() -> None:
    leads = qualified(*(Lead(n, score=n % 97, city=CITIES[n % 3]) for n in range(20_000)))
    routes = [{"weight": n % 5 + 1, "capacity": 100 * n} for n in range(1, 11)]
    began = time.process_time()
    found = run(leads, document(*routes, {"when": in_cities("Oslo")}))

    assert time.process_time() - began < 5
    assert Counter(taken(found).values())["s9"] == 1000
