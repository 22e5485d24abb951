"""The campaign document: what is accepted, and that whatever is not is refused with its place."""

import json

import pytest

from aicmo_dagster.domain.campaigns import Campaign, read_campaign
from aicmo_dagster_tests.domain.documented import (
    CSV,
    ROUTES,
    RULE,
    STEPS,
    TREE,
    Mistake,
    Place,
    assert_refused,
    changed,
    example,
    problems,
    without,
)


def test_the_example_of_the_contract_is_valid() -> None:
    campaign = read_campaign(example(), "example")

    assert campaign.campaign == "nordic-revops"
    assert campaign.scoring.fit.countries == ["NO", "SE", "DK", "FI"]
    assert campaign.zone.key == "Europe/Oslo"


@pytest.mark.parametrize("with_defaults", [True, False])
def test_a_campaign_is_stored_and_read_again_unchanged(with_defaults: bool) -> None:
    """Each version is kept as JSON, and leads follow their version for months."""
    campaign = read_campaign(example(), "example")
    stored = campaign.model_dump(mode="json", by_alias=True, exclude_unset=not with_defaults)

    assert Campaign.model_validate_json(json.dumps(stored)) == campaign
    assert read_campaign(stored, "stored") == campaign


REFUSED: dict[str, Mistake] = {
    "a misspelt section": (("scorring",), {}, "scorring", "'scoring'"),
    "a list for text": (("name",), ["a"], "name", "string"),
    "a mapping for a list": (("sources",), {}, "sources", "a list"),
    "a key with a capital": (("campaign",), "Spring", "campaign", "text that matches"),
    "a key that ends in a line feed": (("campaign",), "spring\n", "campaign", ""),
    "a key that is too long": (("campaign",), "a" * 65, "campaign", ""),
    "an owner that is no address": (("owner",), "growth", "owner", "e-mail address"),
    "a sequence that nobody defines": (
        (*ROUTES, 1, "sequence"),
        "practitoners",
        "routing.sequences[1].sequence",
        "executives, practitioners",
    ),
    "a sequence routed to twice": (
        (*ROUTES, 1, "sequence"),
        "executives",
        "routing.sequences[1].sequence",
        "each sequence once",
    ),
    "a step's id given twice": (
        (*STEPS, 1, "id"),
        "intro",
        "sequences.executives.steps[1].id",
        "no other step",
    ),
    "a variant's id given twice": (
        (*STEPS, 1, "variants", 1, "id"),
        "short",
        "sequences.executives.steps[1].variants[1].id",
        "no other variant",
    ),
}


@pytest.mark.parametrize("mistake", REFUSED.values(), ids=REFUSED)
def test_a_mistake_is_refused_with_its_path_and_what_is_allowed(mistake: Mistake) -> None:
    assert_refused(mistake)


REQUIRED: list[Place] = [
    ("campaign",),
    ("name",),
    ("owner",),
    ("sources",),
    ("routing",),
    ("sequences",),
    ("nurture",),
    (*CSV, "path"),
    (*CSV, "columns"),
    (*RULE, "op"),
    (*TREE, "else", "else"),
    (*ROUTES, 0, "sequence"),
    (*STEPS, 0, "id"),
    ("nurture", "sender", "postal_address"),
]


@pytest.mark.parametrize("place", REQUIRED, ids=lambda place: ".".join(map(str, place)))
def test_what_is_required_is_missed_by_its_path(place: Place) -> None:
    missing = [p.path for p in problems(without(*place)) if p.found == "nothing"]
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)

    assert missing == ["".join(steps).removeprefix(".")]


UNFINISHED: dict[str, tuple[Place, object, str, str]] = {
    "a message without a body": (
        (*STEPS, 0),
        {"id": "intro", "subject": "a"},
        "sequences.executives.steps[0]",
        "no body",
    ),
    "a first message without a subject": (
        (*STEPS, 0),
        {"id": "intro", "body": "a"},
        "sequences.executives.steps[0]",
        "no subject",
    ),
    "a variant without a body": (
        (*STEPS, 1, "variants"),
        [{"id": "a", "body": "a"}, {"id": "b"}],
        "sequences.executives.steps[1].variants[1]",
        "no body",
    ),
    "a variant of the first message without a subject": (
        (*STEPS, 0),
        {"id": "intro", "body": "a", "variants": [{"id": "a", "subject": "a"}, {"id": "b"}]},
        "sequences.executives.steps[0].variants[1]",
        "no subject",
    ),
}


@pytest.mark.parametrize("mistake", UNFINISHED.values(), ids=UNFINISHED)
def test_an_unfinished_message_is_refused(mistake: tuple[Place, object, str, str]) -> None:
    place, value, path, found = mistake
    told = problems(changed(place, value))

    assert [(problem.path, problem.found) for problem in told] == [(path, found)]


def test_all_mistakes_are_told_at_once() -> None:
    document = example()
    document["owner"] = "nobody"
    document["schedule"]["harvest"] = "0 0 30 2 *"
    document["scoring"]["treshold"] = 1
    document["qualification"]["rules"][0]["field"] = "size"
    document["routing"]["sequences"][0]["sequence"] = "bosses"
    document["sequences"]["executives"]["steps"][1]["id"] = "intro"
    document["sequences"]["practitioners"]["steps"] = [{"id": 5, "subject": 6}]
    document["nurture"]["window"]["hours"] = "all day"
    document["goals"] = {1: 2}

    assert sorted(problem.path for problem in problems(document)) == [
        "goals.1",
        "nurture.window.hours",
        "owner",
        "qualification.rules[0].field",
        "routing.sequences[0].sequence",
        "schedule.harvest",
        "scoring.treshold",
        "sequences.executives.steps[1].id",
        "sequences.practitioners.steps[0]",
        "sequences.practitioners.steps[0].id",
        "sequences.practitioners.steps[0].subject",
    ]


def test_a_refusal_reads_well() -> None:
    (told,) = problems(changed(("scoring", "treshold"), 60))

    assert str(told) == (
        "spring.yaml: scoring.treshold: found unknown key 'treshold'; expected 'threshold' "
        "(allowed here: model, threshold, fit, budget, points, horizon_days, known_at_capture, "
        "ignore, won_by, learn_from)"
    )


@pytest.mark.parametrize("document", [None, [], "campaign", 5, True, [("campaign", "a")]])
def test_what_is_no_mapping_is_refused(document: object) -> None:
    (told,) = problems(document)

    assert told.path == ""
