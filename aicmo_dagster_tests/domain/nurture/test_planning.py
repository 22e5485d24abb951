from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

from aicmo_dagster.domain.campaigns import Campaign, Step
from aicmo_dagster.domain.documents import validate
from aicmo_dagster.domain.nurture.planning import Progress, lead_zone, next_step, plan, variant
from aicmo_dagster.domain.schemas import SEND_STATES, NurtureSends
from aicmo_dagster_tests.samples import NOON, campaign, lead_id, routed_leads

TEXT = "string[pyarrow]"


def document(*waits: dict[str, Any] | None, **changes: Any) -> Campaign:
    """A campaign whose one sequence has a step more than `waits`: first, then step1, step2..."""
    steps = [{"id": "first", "subject": "Hello", "body": "Hi"}]
    for number, wait in enumerate(waits, 1):
        steps.append({"id": f"step{number}", "body": "Hi", **({"wait": wait} if wait else {})})
    return campaign(sequences={"everyone": {"steps": steps}}, **changes)


def leads(count: int, **columns: Any) -> pd.DataFrame:
    """Leads in a sequence, with what planning needs of them."""
    frame = routed_leads(count, **{k: v for k, v in columns.items() if k != "timezone"})
    return frame.assign(
        email=pd.Series([f"a@company{n}.example" for n in range(count)], dtype="object"),
        timezone=columns.get("timezone"),
    )


def planned(
    frame: pd.DataFrame,
    *versions: Campaign,
    progress: dict[int, Progress] | None = None,
    now: datetime = NOON,
) -> pd.DataFrame:
    sends = plan(
        frame,
        {lead_id(number): done for number, done in (progress or {}).items()},
        dict(enumerate(versions, 1)),
        name_message=lambda lead, step: f"<{lead}.{step}@acme.example>",
        now=now,
    )
    NurtureSends.validate(sends)
    return sends


def accepted(step: str, at: datetime = NOON) -> Progress:
    return Progress(step, "accepted", at)


def test_the_first_step_is_planned_at_once() -> None:
    sends = planned(leads(2), document({"days": 3}))

    assert sends["step"].tolist() == ["first", "first"]
    assert sends["due_at"].tolist() == [NOON, NOON]
    assert set(sends["state"]) == {"planned"}
    assert sends["recipient_domain"].tolist() == ["company0.example", "company1.example"]
    assert sends["message_id"][0] == f"<{lead_id(1)}.first@acme.example>"
    assert sends[["sent_at", "reason", "variant"]].isna().all(axis=None)


@pytest.mark.parametrize("state", [state for state in SEND_STATES if state != "accepted"])
def test_nothing_follows_a_step_that_was_not_accepted(state: str) -> None:
    progress = {1: Progress("first", state, None)}

    assert len(planned(leads(1), document({"days": 0}), progress=progress)) == 0


def test_the_next_step_follows_the_last_accepted_one() -> None:
    progress = {1: accepted("first"), 2: accepted("step1"), 3: accepted("step2")}
    sends = planned(leads(3), document({"days": 0}, {"days": 0}), progress=progress)

    assert dict(zip(sends["lead_id"], sends["step"], strict=True)) == {
        lead_id(1): "step1",
        lead_id(2): "step2",
    }


def test_nothing_follows_a_step_that_the_sequence_does_not_have() -> None:
    assert next_step(document({"days": 1}).sequences["everyone"].steps, accepted("gone")) is None


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
    sends = planned(leads(1), document(wait), progress={1: accepted("first")})

    assert sends["due_at"].tolist() == [NOON + expected]


def test_a_wait_that_is_over_is_due_now() -> None:
    progress = {1: accepted("first", NOON - timedelta(days=30))}

    assert planned(leads(1), document({"days": 4}), progress=progress)["due_at"].tolist() == [NOON]


def test_days_are_counted_on_the_lead_s_calendar() -> None:
    """New York's clocks changed on 8 March 2026: four days of 24 hours would be an hour off."""
    sent = datetime(2026, 3, 6, 17, tzinfo=UTC)
    frame = leads(2, timezone=pd.Series(["America/New_York", None], dtype=TEXT))
    progress = {1: accepted("first", sent), 2: accepted("first", sent)}
    sends = planned(frame, document({"days": 4}), progress=progress, now=sent)

    assert sends["due_at"].tolist() == [
        datetime(2026, 3, 10, 16, tzinfo=UTC),
        datetime(2026, 3, 10, 17, tzinfo=UTC),
    ]


OFFICE = {"days": ["mon", "tue", "wed", "thu", "fri"], "hours": "09:00-17:00"}


def office_hours(timezone: str) -> Campaign:
    nurture = document().nurture.model_dump(mode="json", by_alias=True, exclude_none=True)
    nurture["window"] = {**OFFICE, "timezone": timezone}
    return document(nurture=nurture, schedule={"timezone": "Europe/Oslo"})


def test_a_send_is_due_when_the_window_of_the_lead_opens() -> None:
    zones = pd.Series(["Asia/Tokyo", "America/Los_Angeles", None], dtype=TEXT)
    sends = planned(leads(3, timezone=zones), office_hours("lead"))

    assert sends["due_at"].tolist() == [
        datetime(2026, 3, 5, 0, tzinfo=UTC),
        datetime(2026, 3, 4, 17, tzinfo=UTC),
        NOON,
    ]


def test_the_window_may_be_the_campaign_s_for_everyone() -> None:
    each = office_hours("campaign")
    zones = pd.Series(["Asia/Tokyo", None], dtype=TEXT)

    assert set(planned(leads(2, timezone=zones), each)["due_at"]) == {NOON}
    assert lead_zone(each, "Asia/Tokyo") == ZoneInfo("Europe/Oslo")


def test_everyone_follows_the_version_they_were_routed_by() -> None:
    old, new = document({"days": 1}), document({"days": 9}, {"days": 1})
    frame = leads(2, campaign_version=[1, 2])
    progress = {1: accepted("first"), 2: accepted("first")}
    sends = planned(frame, old, new, progress=progress)
    later = planned(frame, old, new, progress={1: accepted("step1"), 2: accepted("step1")})

    assert sends["campaign_version"].tolist() == [1, 2]
    assert sends["due_at"].tolist() == [NOON + timedelta(days=1), NOON + timedelta(days=9)]
    assert later["lead_id"].tolist() == [lead_id(2)]


def test_nothing_is_planned_for_nobody() -> None:
    assert len(planned(leads(0), document())) == 0


def test_whoever_is_at_the_end_is_planned_no_more() -> None:
    assert len(planned(leads(1), document(), progress={1: accepted("first")})) == 0


def step(*weights: int) -> Step:
    variants = [{"id": f"v{n}", "body": "Hi", "weight": weight} for n, weight in enumerate(weights)]
    return validate(Step, {"id": "a", "variants": variants}, "x")


@pytest.mark.parametrize("weights", [(1,), (1, 1), (3, 1), (1, 2, 7), (1, 1, 1), (1000, 1)])
def test_variants_are_drawn_by_weight(weights: tuple[int, ...]) -> None:
    weighted = step(*weights)
    drawn = Counter(variant(weighted, seed) for seed in range(10_000))

    assert sum(drawn.values()) == 10_000
    for number, weight in enumerate(weights):
        assert abs(drawn[f"v{number}"] - 10_000 * weight / sum(weights)) < 1


def test_a_step_without_variants_draws_none() -> None:
    assert variant(step(), 0) is None


def test_a_plan_names_the_variant_that_the_seed_falls_to() -> None:
    variants = [{"id": "short", "body": "a"}, {"id": "long", "body": "b"}]
    steps = [{"id": "first", "subject": "Hello", "variants": variants}]
    sends = planned(
        leads(3, seed=[0, 4999, 5000]), campaign(sequences={"everyone": {"steps": steps}})
    )

    assert sends["variant"].tolist() == ["short", "short", "long"]
