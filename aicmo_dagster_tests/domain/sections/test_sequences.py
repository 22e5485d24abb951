import pytest

from aicmo_dagster.domain.campaigns import read_campaign
from aicmo_dagster_tests.domain.documented import STEPS, Mistake, assert_refused, changed, example

REFUSED: dict[str, Mistake] = {
    "a misspelt key of a step": (
        (*STEPS, 1, "wiat"),
        {},
        "sequences.executives.steps[1].wiat",
        "'wait'",
    ),
    "a subject of two lines": (
        (*STEPS, 0, "subject"),
        "a\nb",
        "sequences.executives.steps[0].subject",
        "one line",
    ),
    "two units to wait": (
        (*STEPS, 1, "wait"),
        {"days": 1, "hours": 2},
        "sequences.executives.steps[1].wait",
        "either 'days' or 'hours'",
    ),
    "a wait of no unit": (
        (*STEPS, 1, "wait"),
        {},
        "sequences.executives.steps[1].wait",
        "either 'days' or 'hours'",
    ),
    "a wait beyond all calendars": (
        (*STEPS, 1, "wait", "days"),
        10**9,
        "sequences.executives.steps[1].wait.days",
        "3650",
    ),
    "a sequence without steps": (
        ("sequences", "practitioners", "steps"),
        [],
        "sequences.practitioners.steps",
        "",
    ),
    "a sequence of an unspeakable name": (
        ("sequences", "a b"),
        {"steps": [{"id": "a", "subject": "a", "body": "a"}]},
        "sequences.a b",
        "",
    ),
}


@pytest.mark.parametrize("mistake", REFUSED.values(), ids=REFUSED)
def test_a_mistake_is_refused_with_its_path_and_what_is_allowed(mistake: Mistake) -> None:
    assert_refused(mistake)


def test_a_step_tells_its_texts_variant_by_variant() -> None:
    intro, nudge = read_campaign(example(), "example").sequences["executives"].steps

    assert intro.texts() == [(None, "{{ company }} and pipeline hygiene", "intro.md.j2")]
    assert nudge.texts() == [
        ("short", None, "nudge_short.md.j2"),
        ("story", None, "nudge_story.md.j2"),
    ]


def test_a_variant_borrows_from_its_step_and_a_later_step_from_the_thread() -> None:
    steps = [
        {"id": "a", "subject": "a", "variants": [{"id": "x", "body": "x"}]},
        {"id": "b", "body": "b", "variants": [{"id": "x"}]},
    ]
    campaign = read_campaign(changed(STEPS, steps), "x")

    assert [step.texts() for step in campaign.sequences["executives"].steps] == [
        [("x", "a", "x")],
        [("x", None, "b")],
    ]
