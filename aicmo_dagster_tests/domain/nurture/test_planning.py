from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicmo_dagster.domain.campaigns import Campaign
from aicmo_dagster.domain.nurture.planning import Plan, Planner, step_after
from aicmo_dagster.domain.nurture.timing import days_later, is_open
from aicmo_dagster.domain.nurture.variants import Standing
from aicmo_dagster.domain.schemas import NurtureSends
from aicmo_dagster.domain.sections.nurture import WEEKDAYS
from aicmo_dagster_tests.samples import NOON, campaign, lead_id, routed_leads

TEXT = "string[pyarrow]"
DAY = timedelta(days=1)


def document(*waits: dict[str, Any] | None, **changes: Any) -> Campaign:
    """A campaign whose one sequence has a step more than `waits`: first, then step1, step2..."""
    steps = [{"id": "first", "subject": "Hello", "body": "Hi"}]
    for number, wait in enumerate(waits, 1):
        steps.append({"id": f"step{number}", "body": "Hi", **({"wait": wait} if wait else {})})
    return campaign(sequences={"everyone": {"steps": steps}}, **changes)


def leads(count: int, **columns: Any) -> pd.DataFrame:
    """New leads in a sequence, with what planning needs of them, unless `columns` say else."""
    routed = ("campaign_version", "seed")
    frame = routed_leads(count, **{k: v for k, v in columns.items() if k in routed})
    given = {
        "email": [f"a@company{n}.example" for n in range(count)],
        **dict.fromkeys(("timezone", "country", "city", "step")),
        "sent_at": pd.NaT,
        "opened": False,
        "clicked": False,
    }
    frame = frame.assign(**(given | {k: v for k, v in columns.items() if k not in routed}))
    return frame.astype(dict.fromkeys(("timezone", "country", "city", "step"), TEXT))


def plan(frame: pd.DataFrame, *versions: Campaign, now: datetime = NOON, **more: Any) -> Plan:
    planner = Planner(
        versions=dict(enumerate(versions, 1)),
        name_message=lambda lead, step: f"<{lead}.{step}@acme.example>",
        now=now,
        **more,
    )
    found = planner.plan(frame)
    NurtureSends.validate(found.sends)
    return found


def planned(frame: pd.DataFrame, *versions: Campaign, now: datetime = NOON) -> pd.DataFrame:
    return plan(frame, *versions, now=now).sends


def after(step: str, at: datetime = NOON, count: int = 1, **columns: Any) -> pd.DataFrame:
    """Leads whose last accepted step is `step`."""
    return leads(count, step=step, sent_at=pd.Timestamp(at), **columns)


def test_the_first_step_is_planned_at_once() -> None:
    found = plan(leads(2), document({"days": 3}))
    sends = found.sends

    assert sends["step"].tolist() == ["first", "first"]
    assert sends["due_at"].tolist() == [NOON, NOON]
    assert set(sends["state"]) == {"planned"}
    assert sends["recipient_domain"].tolist() == ["company0.example", "company1.example"]
    assert sends["message_id"][0] == f"<{lead_id(1)}.first@acme.example>"
    assert sends[["sent_at", "reason", "variant"]].isna().all(axis=None)
    assert found.leads["state"].tolist() == ["enrolled", "enrolled"]
    assert found.leads["look_at"].isna().all()


def test_the_next_step_follows_the_last_accepted_one() -> None:
    frame = leads(3, step=["first", "step1", "step2"], sent_at=pd.Timestamp(NOON))
    found = plan(frame, document({"days": 0}, {"days": 0}))

    assert dict(zip(found.sends["lead_id"], found.sends["step"], strict=True)) == {
        lead_id(1): "step1",
        lead_id(2): "step2",
    }
    states = dict(zip(found.leads["lead_id"], found.leads["state"], strict=True))
    assert [states[lead_id(n)] for n in (1, 2, 3)] == ["active", "active", "finished"]


def test_nothing_follows_a_step_that_the_sequence_does_not_have() -> None:
    assert step_after(document({"days": 1}).sequences["everyone"].steps, "gone") is None


WAITS: dict[str, tuple[dict[str, Any] | None, timedelta]] = {
    "days": ({"days": 4}, timedelta(days=4)),
    "hours": ({"hours": 36}, timedelta(hours=36)),
    "none stated": (None, timedelta()),
    "no days": ({"days": 0}, timedelta()),
}


@pytest.mark.parametrize(("wait", "expected"), WAITS.values(), ids=WAITS)
def test_a_step_waits_after_the_one_before(
    wait: dict[str, Any] | None, expected: timedelta
) -> None:
    sends = planned(after("first"), document(wait))

    assert sends["due_at"].tolist() == [NOON + expected]


def test_a_wait_that_is_over_is_due_now() -> None:
    frame = after("first", NOON - timedelta(days=30))

    assert planned(frame, document({"days": 4}))["due_at"].tolist() == [NOON]


def test_days_are_counted_on_the_lead_s_calendar() -> None:
    """New York's clocks changed on 8 March 2026: four days of 24 hours would be an hour off."""
    sent = datetime(2026, 3, 6, 17, tzinfo=UTC)
    frame = after("first", sent, 2, timezone=["America/New_York", None])
    sends = planned(frame, document({"days": 4}), now=sent)

    assert sends["due_at"].tolist() == [
        datetime(2026, 3, 10, 16, tzinfo=UTC),
        datetime(2026, 3, 10, 17, tzinfo=UTC),
    ]


OFFICE = {"days": ["mon", "tue", "wed", "thu", "fri"], "hours": "09:00-17:00"}


def with_window(**window: Any) -> Campaign:
    nurture = document().nurture.model_dump(mode="json", by_alias=True, exclude_none=True)
    nurture["window"] = {**OFFICE, "jitter_minutes": 0, **window}
    return document({"days": 1}, nurture=nurture, schedule={"timezone": "Europe/Oslo"})


def test_a_send_is_due_when_the_window_of_the_lead_opens() -> None:
    zones = ["Asia/Tokyo", "America/Los_Angeles", None]
    sends = planned(leads(3, timezone=zones), with_window())

    assert sends["due_at"].tolist() == [
        datetime(2026, 3, 5, 0, tzinfo=UTC),
        datetime(2026, 3, 4, 17, tzinfo=UTC),
        NOON,
    ]


def test_the_window_may_be_the_campaign_s_for_everyone() -> None:
    frame = leads(2, timezone=["Asia/Tokyo", None])

    assert set(planned(frame, with_window(timezone="campaign"))["due_at"]) == {NOON}


def test_country_and_city_tell_the_zone_where_they_can() -> None:
    frame = leads(3, country=["JP", "US", "US"], city=[None, "Los Angeles", "Springfield"])
    sends = planned(frame, with_window())

    assert sends["due_at"].tolist() == [
        datetime(2026, 3, 5, 0, tzinfo=UTC),
        datetime(2026, 3, 4, 17, tzinfo=UTC),
        NOON,  # there are too many Springfields: the campaign's zone counts
    ]


def test_nothing_is_due_on_a_holiday_of_the_lead_s_country() -> None:
    holy = datetime(2026, 5, 1, 8, tzinfo=UTC)  # Labour Day, a Friday
    frame = leads(2, country=["NO", "US"], timezone="Europe/Oslo")
    found = planned(frame, with_window(holidays="lead"), now=holy)["due_at"].tolist()

    assert found == [datetime(2026, 5, 4, 7, tzinfo=UTC), holy]
    assert set(planned(frame, with_window(holidays="NO"), now=holy)["due_at"]) == {found[0]}


def test_those_who_wait_for_the_opening_are_spread_over_its_first_hour() -> None:
    night = datetime(2026, 3, 4, 1, tzinfo=UTC)
    frame = leads(200, seed=range(200))
    sends = planned(frame, with_window(jitter_minutes=60), now=night)["due_at"]
    opening = datetime(2026, 3, 4, 8, tzinfo=UTC)

    assert sends.min() >= opening
    assert sends.max() < opening + timedelta(hours=1)
    assert sends.nunique() == 200
    assert 90 < (sends < opening + timedelta(minutes=30)).sum() < 110
    again = planned(frame, with_window(jitter_minutes=60), now=night + timedelta(hours=1))
    assert again["due_at"].tolist() == sends.tolist()


IF = {"days": 4, "if_opened": 3, "if_clicked": 1}


@pytest.mark.parametrize(
    ("days", "opened", "clicked", "due", "look"),
    [
        (0.1, False, False, 4, 1),
        (1, False, False, 4, 3),
        (1, False, True, 1, None),
        (2, True, False, 4, 3),
        (2, False, True, 2, None),
        (3, True, False, 3, None),
        (3.5, False, False, 4, None),
        (3.5, True, False, 3.5, None),
        (4, False, False, 4, None),
    ],
)
def test_a_wait_is_shortened_by_what_the_lead_did(
    days: float, opened: bool, clicked: bool, due: float, look: float | None
) -> None:
    frame = after("first", opened=opened, clicked=clicked)
    found = plan(frame, document(IF), now=NOON + days * DAY)

    assert found.sends["due_at"].tolist() == [NOON + due * DAY]
    looks = found.leads["look_at"].dropna().tolist()
    assert looks == ([] if look is None else [NOON + look * DAY])


def test_a_wait_is_lengthened_too() -> None:
    longer = document({"days": 2, "if_clicked": 5})

    def due(days: float, clicked: bool) -> list[Any]:
        frame = after("first", clicked=clicked)
        return planned(frame, longer, now=NOON + days * DAY)["due_at"].tolist()

    assert due(1, False) == due(2, True) == [NOON + 5 * DAY]
    assert due(2, False) == [NOON + 2 * DAY]


def test_everyone_follows_the_version_they_were_routed_by() -> None:
    old, new = document({"days": 1}), document({"days": 9}, {"days": 1})
    sends = planned(after("first", count=2, campaign_version=[1, 2]), old, new)
    later = planned(after("step1", count=2, campaign_version=[1, 2]), old, new)

    assert sends["campaign_version"].tolist() == [1, 2]
    assert sends["due_at"].tolist() == [NOON + DAY, NOON + 9 * DAY]
    assert later["lead_id"].tolist() == [lead_id(2)]


def test_nothing_is_planned_for_nobody() -> None:
    assert len(planned(leads(0), document())) == 0


VARIED = [{"id": "short", "body": "a"}, {"id": "long", "body": "b"}]
TWO_TESTS = [
    {"id": "first", "subject": "Hello", "variants": VARIED},
    {"id": "second", "variants": VARIED},
]


def test_the_variants_of_two_steps_are_drawn_independently() -> None:
    each = campaign(sequences={"everyone": {"steps": TWO_TESTS}})
    drawn = planned(leads(4000), each)["variant"] == "short"
    then = planned(after("first", count=4000), each)["variant"] == "short"

    assert 1900 < drawn.sum() < 2100
    assert 1900 < then.sum() < 2100
    assert 900 < (drawn & then).sum() < 1100


def test_new_leads_get_the_winner_and_none_what_did_harm() -> None:
    each = campaign(sequences={"everyone": {"steps": TWO_TESTS}})
    at = (1, "everyone", "first")

    won = plan(leads(50), each, standings={at: Standing(winner="long")}).sends
    stopped = Standing(stopped=frozenset({"long"}))
    safe = plan(leads(50), each, standings={at: stopped}).sends
    assert set(won["variant"]) == {"long"}
    assert set(safe["variant"]) == {"short"}


ZONES = ["Europe/Oslo", "America/Havana", "Africa/Cairo", "Australia/Lord_Howe", "Asia/Kathmandu"]


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    zone=st.sampled_from(ZONES),
    days=st.sets(st.sampled_from(WEEKDAYS), min_size=1),
    opens=st.integers(0, 22),
    length=st.integers(1, 24),
    jitter=st.integers(0, 1440),
    wait=st.fixed_dictionaries({"days": st.integers(0, 9)})
    | st.fixed_dictionaries({"hours": st.integers(0, 99)}),
    conditional=st.dictionaries(
        st.sampled_from(["if_opened", "if_clicked"]), st.integers(0, 9), max_size=2
    ),
    sent=st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 1), timezones=st.just(UTC)),
    later=st.timedeltas(timedelta(), timedelta(days=12)),
    did=st.tuples(st.booleans(), st.booleans()),
)
def test_no_send_is_due_outside_its_window_or_before_its_wait_is_over(
    zone: str,
    days: set[str],
    opens: int,
    length: int,
    jitter: int,
    wait: dict[str, int],
    conditional: dict[str, int],
    sent: datetime,
    later: timedelta,
    did: tuple[bool, bool],
) -> None:
    hours = f"{opens:02}:00-{min(opens + length, 24):02}:00"
    nurture = document().nurture.model_dump(mode="json", by_alias=True, exclude_none=True)
    nurture["window"] = {"days": sorted(days), "hours": hours, "jitter_minutes": jitter}
    each = document(wait | conditional, nurture=nurture)
    opened, clicked = did
    frame = after("first", sent, timezone=zone, opened=opened, clicked=clicked)
    found = plan(frame, each, now=sent + later)
    due = found.sends["due_at"][0].to_pydatetime()

    assert is_open(each.nurture.window, ZoneInfo(zone), due)
    assert due >= sent + later
    local = {name: days_later(sent, n, ZoneInfo(zone)) for name, n in conditional.items()}
    base = sent + timedelta(hours=wait["hours"]) if "hours" in wait else None
    ends = {**local, "base": base or days_later(sent, wait.get("days", 0), ZoneInfo(zone))}
    told = ["if_clicked"] * clicked + ["if_opened"] * (opened or clicked) + ["base"]
    valid = next(ends[name] for name in told if name in ends)
    assert due >= valid
    if valid > sent + later and conditional:
        assert due >= max(ends.values())
    look = found.leads["look_at"][0]
    assert pd.isna(look) or sent + later < look < max(ends.values())
