"""The campaign document: what is accepted, and that whatever is not is refused with its place."""

import copy
import json
import math
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicmo_dagster.domain.campaigns import Campaign, read_campaign
from aicmo_dagster.domain.documents import parse_yaml
from aicmo_dagster.errors import BadInput, Problem

SETTINGS = settings(derandomize=True, deadline=None, max_examples=75)

EXAMPLE = """\
campaign: nordic-revops                    # the key: a-z 0-9 -, at most 64
name: Nordic RevOps, autumn
owner: growth@acme.example
goals: {replies: 40, handoffs: 15}
schedule: {harvest: "0 6 * * 1-5", nurture: "*/15 * * * *", timezone: Europe/Oslo}

sources:
  - type: csv
    path: leads/*.csv
    columns: {email: Work Email, first_name: First, company: Account, employees: Headcount}   # ours: theirs; the rest are kept as custom fields
  - type: apollo
    search: {person_titles: [head of revenue operations], organization_num_employees_ranges: ["51,500"]}
    max_leads: 1000
enrich: {waterfall: [apollo, dropcontact], max_credits: 500}

scoring:
  model: auto                              # scorecard until a trained model passes its gate; or scorecard; or a model version
  threshold: 60
  fit: {titles: [revenue operations], seniorities: [director, vp, c_suite], industries: [software], employees: [51, 500], countries: [NO, SE, DK, FI]}
  budget: {annual_revenue: [5_000_000, null], technologies: [hubspot, salesforce]}

qualification:
  rules:                                   # all must hold; each names itself in the reason
    - {name: company size, field: employees, op: between, value: [11, 1000], missing: reject}
    - {name: not a competitor, field: domain, op: not_in, value: [rival.example]}
  tree:                                    # optional, evaluated after the rules
    if: {field: seniority, op: in, value: [owner, founder, c_suite]}
    then: qualify
    else: {if: {field: score, op: ">=", value: 75}, then: qualify, else: reject}

routing:
  strategy: weighted_round_robin           # or least_loaded, best_match
  overlap: {active_elsewhere: skip, per_company: 3, cooldown_days: 90}
  sequences:
    - {sequence: executives, when: {field: seniority, op: in, value: [owner, founder, c_suite]}, weight: 1, capacity: 50}
    - {sequence: practitioners, weight: 2}

sequences:
  executives:
    steps:
      - {id: intro, subject: "{{ company }} and pipeline hygiene", body: intro.md.j2}
      - id: nudge
        wait: {days: 4, if_opened: 3, if_clicked: 1}
        variants: [{id: short, body: nudge_short.md.j2}, {id: story, body: nudge_story.md.j2}]
  practitioners: {steps: [{id: intro, subject: "…", body: intro.md.j2}]}

nurture:
  sender: {name: Ida Berg, address: ida@acme.example, reply_to: ida@acme.example, postal_address: "Kai 7, 5003 Bergen"}
  window: {days: [mon, tue, wed, thu, fri], hours: "09:00-17:00", timezone: lead}     # the lead's own, else the campaign's
  caps: {per_sender_per_day: 50, per_domain_per_hour: 10, ramp: {start: 10, step: 5}}
  graduate: {when: {replied: true, clicks: 2}, to: webhook, url: https://crm.acme.example/hooks/leads}
  escalate: {after_days_without_owner_action: 2, to: sales-lead@acme.example}
"""  # noqa: E501 - the contract, to the letter

READ = parse_yaml(EXAMPLE, "example")

Place = tuple[str | int, ...]
"""Keys and positions that lead to a value of a document."""


def example() -> dict[str, Any]:
    """The contract's example as plain values."""
    return copy.deepcopy(READ)


def changed(place: Place, value: object) -> dict[str, Any]:
    """The example with `value` at `place`."""
    document = example()
    node: Any = document
    for step in place[:-1]:
        node = node[step]
    node[place[-1]] = value
    return document


def without(*place: str | int) -> dict[str, Any]:
    """The example without what stands at `place`."""
    document = example()
    node: Any = document
    for step in place[:-1]:
        node = node[step]
    del node[place[-1]]
    return document


def problems(document: object) -> list[Problem]:
    """Everything that is wrong with `document`."""
    with pytest.raises(BadInput) as refused:
        read_campaign(document, "spring.yaml")
    return list(refused.value.problems)


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


def test_a_step_tells_its_texts_variant_by_variant() -> None:
    intro, nudge = read_campaign(example(), "example").sequences["executives"].steps

    assert intro.texts() == [(None, "{{ company }} and pipeline hygiene", "intro.md.j2")]
    assert nudge.texts() == [
        ("short", None, "nudge_short.md.j2"),
        ("story", None, "nudge_story.md.j2"),
    ]


ROUTES = ("routing", "sequences")
STEPS = ("sequences", "executives", "steps")
RULE = ("qualification", "rules", 0)
TREE = ("qualification", "tree")
CSV = ("sources", 0)
POINTS = ("scoring", "points")

REFUSED: dict[str, tuple[Place, object, str, str]] = {
    "a misspelt section": (("scorring",), {}, "scorring", "'scoring'"),
    "a misspelt key": (("scoring", "treshold"), 1, "scoring.treshold", "'threshold'"),
    "a misspelt key of a route": (
        (*ROUTES, 0, "wieght"),
        1,
        "routing.sequences[0].wieght",
        "'weight'",
    ),
    "a misspelt key of a step": (
        (*STEPS, 1, "wiat"),
        {},
        "sequences.executives.steps[1].wiat",
        "'wait'",
    ),
    "a misspelt key of a condition": (
        (*RULE, "vlaue"),
        1,
        "qualification.rules[0].vlaue",
        "'value'",
    ),
    "a misspelt key of a source": ((*CSV, "pth"), "a", "sources[0].pth", "'path'"),
    "a misspelt field of ours": (
        (*CSV, "columns", "emial"),
        "E-Mail",
        "sources[0].columns.emial",
        "'email'",
    ),
    "a field that intake furnishes": (
        (*CSV, "columns", "lead_id"),
        "Id",
        "sources[0].columns.lead_id",
        "",
    ),
    "a column template over another name": (
        (*CSV, "columns", "email"),
        "{{ rwo['x'] }}",
        "sources[0].columns.email",
        "'row'",
    ),
    "a column template that is none": (
        (*CSV, "columns", "email"),
        "{{ row[ }}",
        "sources[0].columns.email",
        "Jinja",
    ),
    "text for a number": (("scoring", "threshold"), "60", "scoring.threshold", "number"),
    "a truth for a number": ((*ROUTES, 0, "capacity"), True, "routing.sequences[0].capacity", ""),
    "a list for text": (("name",), ["a"], "name", "string"),
    "a mapping for a list": (("sources",), {}, "sources", "a list"),
    "a threshold beyond the scale": (("scoring", "threshold"), 101, "scoring.threshold", "100"),
    "a point rule for no dimension": (
        POINTS,
        {"rules": {"titel_match": {"points": 5}}},
        "scoring.points.rules",
        "'title_match'",
    ),
    "a point rule for a category without its values": (
        POINTS,
        {"rules": {"industry": {"points": 5}}},
        "scoring.points.rules",
        "'values' in 'industry'",
    ),
    "a point rule for values of a number": (
        POINTS,
        {"rules": {"visits": {"points": 5, "values": ["9"]}}},
        "scoring.points.rules",
        "no 'values' in 'visits'",
    ),
    "a point rule for a column of the campaign's, of either kind": (
        POINTS,
        {"rules": {"custom.Hours": {"points": 5}}},
        "scoring.points.rules",
        "either 'full_at' (a number) or 'values' (a category)",
    ),
    "both ways of ageing": (
        POINTS,
        {"rules": {"engaged": {"points": 5, "half_life_days": 9, "within_days": 9}}},
        "scoring.points.rules.engaged",
        "not both",
    ),
    "ageing of what nobody does": (
        POINTS,
        {"rules": {"title_match": {"points": 5, "within_days": 9}}},
        "scoring.points.rules",
        "nothing a lead does",
    ),
    "an amount without its measure": (
        POINTS,
        {"rules": {"visits": {"points": 5}}},
        "scoring.points.rules",
        "'full_at'",
    ),
    "a measure of a truth": (
        POINTS,
        {"rules": {"engaged": {"points": 5, "full_at": 2}}},
        "scoring.points.rules",
        "yes or no",
    ),
    "points for what is not stated": (
        ("scoring",),
        {"points": {"rules": {"technology_match": {"points": 5}}}},
        "scoring",
        "'budget.technologies' too",
    ),
    "more points than the scale has": (
        POINTS,
        {"rules": {"engaged": {"points": 101}}},
        "scoring.points.rules.engaged.points",
        "100",
    ),
    "a cap of no family": (
        POINTS,
        {"rules": {"engaged": {"points": 5}}, "families": {"fits": 5}},
        "scoring.points.families.fits",
        "'fit'",
    ),
    "no point rules": (POINTS, {"rules": {}}, "scoring.points.rules", "at least 1"),
    "bounds of three": (("scoring", "fit", "employees"), [1, 2, 3], "scoring.fit.employees", "2"),
    "bounds that fall": (
        ("scoring", "fit", "employees"),
        [500, 51],
        "scoring.fit.employees",
        "lower bound first",
    ),
    "an empty title, which any lead would match": (
        ("scoring", "fit", "titles"),
        [""],
        "scoring.fit.titles[0]",
        "",
    ),
    "a country that is none": (
        ("scoring", "fit", "countries"),
        ["NO", "ZZ"],
        "scoring.fit.countries[1]",
        "ISO 3166",
    ),
    "a seniority that is none": (
        ("scoring", "fit", "seniorities"),
        ["boss"],
        "scoring.fit.seniorities[0]",
        "'owner'",
    ),
    "a key with a capital": (("campaign",), "Spring", "campaign", "text that matches"),
    "a key that ends in a line feed": (("campaign",), "spring\n", "campaign", ""),
    "a key that is too long": (("campaign",), "a" * 65, "campaign", ""),
    "an owner that is no address": (("owner",), "growth", "owner", "e-mail address"),
    "a header that would smuggle another": (
        ("nurture", "sender", "name"),
        "Ida\r\nBcc: x@y.example",
        "nurture.sender.name",
        "one line",
    ),
    "a postal address of spaces": (
        ("nurture", "sender", "postal_address"),
        "  ",
        "nurture.sender.postal_address",
        "the law demands it",
    ),
    "a subject of two lines": (
        (*STEPS, 0, "subject"),
        "a\nb",
        "sequences.executives.steps[0].subject",
        "one line",
    ),
    "a zone that is none": (("schedule", "timezone"), "Oslo", "schedule.timezone", "IANA"),
    "the zone of whatever machine it is": (
        ("schedule", "timezone"),
        "localtime",
        "schedule.timezone",
        "IANA",
    ),
    "a window that closes before it opens": (
        ("nurture", "window", "hours"),
        "17:00-09:00",
        "nurture.window",
        "hours that open before they close",
    ),
    "a window at an hour that is none": (
        ("nurture", "window", "hours"),
        "09:00-25:00",
        "nurture.window.hours",
        "",
    ),
    "a window in other digits": (
        ("nurture", "window", "hours"),
        "0٩:00-17:00",
        "nurture.window.hours",
        "",
    ),
    "a window on no day": (("nurture", "window", "days"), [], "nurture.window.days", ""),
    "a day that is none": (
        ("nurture", "window", "days"),
        ["Mon"],
        "nurture.window.days[0]",
        "'mon'",
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
    "an outcome told in two ways": (
        (*CSV, "outcome"),
        {"column": "a", "won": "1", "at": "b"},
        "sources[0].outcome",
        "either 'column' with 'won', or 'at'",
    ),
    "an outcome told by half": (
        (*CSV, "outcome"),
        {"column": "a"},
        "sources[0].outcome",
        "either 'column' with 'won', or 'at'",
    ),
    "companies maybe": (("enrich", "companies"), "maybe", "enrich.companies", "bool"),
    "an unknown provider": (("enrich", "waterfall"), ["hunter"], "enrich.waterfall[0]", "'apollo'"),
    "an unknown source": (("sources", 0, "type"), "xlsx", "sources[0]", "'csv', 'apollo'"),
    "an unknown strategy": (("routing", "strategy"), "random", "routing.strategy", "weighted"),
    "no route": (ROUTES, [], "routing.sequences", ""),
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
    "a weight of nothing": ((*ROUTES, 0, "weight"), 0, "routing.sequences[0].weight", "1"),
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
    "an unknown field": (
        (*RULE, "field"),
        "headcount",
        "qualification.rules[0].field",
        "employees",
    ),
    "a custom field without a name": (
        (*RULE, "field"),
        "custom.",
        "qualification.rules[0].field",
        "",
    ),
    "an unknown operator": ((*RULE, "op"), "=~", "qualification.rules[0].op", "'between'"),
    "words compared with a number": (
        (*RULE,),
        {"field": "employees", "op": "==", "value": "many"},
        "qualification.rules[0]",
        "a number",
    ),
    "a number compared with words": (
        (*RULE,),
        {"field": "city", "op": "==", "value": 5},
        "qualification.rules[0]",
        "text",
    ),
    "a pattern that is none": (
        (*RULE,),
        {"field": "city", "op": "matches", "value": "(a"},
        "qualification.rules[0]",
        "RE2",
    ),
    "a pattern that could take for ever": (
        (*RULE,),
        {"field": "city", "op": "matches", "value": r"(a+)\1"},
        "qualification.rules[0]",
        "RE2",
    ),
    "a verdict that is none": (
        (*TREE, "then"),
        "accept",
        "qualification.tree.then",
        "'qualify' or 'reject'",
    ),
    "a misspelt key deep in the tree": (
        (*TREE, "else", "esle"),
        "reject",
        "qualification.tree.else.esle",
        "'else'",
    ),
    "a mistake deep in the tree": (
        (*TREE, "else", "if", "op"),
        "over",
        "qualification.tree.else.if.op",
        "'>='",
    ),
}


@pytest.mark.parametrize("mistake", REFUSED.values(), ids=REFUSED)
def test_a_mistake_is_refused_with_its_path_and_what_is_allowed(
    mistake: tuple[Place, object, str, str],
) -> None:
    place, value, path, expected = mistake
    told = problems(changed(place, value))

    assert [problem.path for problem in told] == [path]
    assert expected in told[0].expected
    assert told[0].where == "spring.yaml"


CRONS = {
    "text": "daily",
    "nothing": "",
    "four fields": "0 6 * *",
    "six fields, of which the first would be seconds": "* * * * * *",
    "a name": "@daily",
    "the thirtieth of February": "0 0 30 2 *",
    "the thirty-first of short months": "0 0 31 4,6 *",
    "a minute that is none": "60 * * * *",
    "steps of nothing": "*/0 * * * *",
    "a range that falls": "0 0 20-10 * *",
}


@pytest.mark.parametrize("cron", CRONS.values(), ids=CRONS)
def test_a_cron_expression_that_never_fires_is_refused(cron: str) -> None:
    (told,) = problems(changed(("schedule", "harvest"), cron))

    assert told.path == "schedule.harvest"
    assert told.found == json.dumps(cron)
    assert told.expected == "a five-field cron expression that fires at some instant"


@pytest.mark.parametrize("cron", ["0 0 29 2 *", "*/15 * * * *", "0 9 * * mon#1", "0 0 L * *"])
def test_a_cron_expression_that_fires_now_and_then_is_accepted(cron: str) -> None:
    assert read_campaign(changed(("schedule", "report"), cron), "x").schedule.report == cron


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


def test_more_routes_than_a_machine_word_can_tell_apart_are_refused() -> None:
    document = example()
    steps = document["sequences"]["practitioners"]
    document["sequences"] = {f"s{number}": steps for number in range(61)}
    document["routing"]["sequences"] = [{"sequence": f"s{number}"} for number in range(61)]
    (told,) = problems(document)

    assert (told.path, told.expected) == ("routing.sequences", "at most 60 items, not 61")


def test_a_refusal_reads_well() -> None:
    (told,) = problems(changed(("scoring", "treshold"), 60))

    assert str(told) == (
        "spring.yaml: scoring.treshold: found unknown key 'treshold'; expected 'threshold' "
        "(allowed here: model, threshold, fit, budget, points, horizon_days, known_at_capture, "
        "ignore, won_by, learn_from)"
    )


def test_norway_is_a_country_and_no_falsehood() -> None:
    document = parse_yaml(EXAMPLE, "x")

    assert document["scoring"]["fit"]["countries"][0] == "NO"


def test_the_domain_of_a_sender_is_ascii_since_message_ids_carry_it() -> None:
    campaign = read_campaign(changed(("nurture", "sender", "address"), "ida@bücher.example"), "x")

    assert campaign.nurture.sender.address == "ida@xn--bcher-kva.example"


@pytest.mark.parametrize("document", [None, [], "campaign", 5, True, [("campaign", "a")]])
def test_what_is_no_mapping_is_refused(document: object) -> None:
    (told,) = problems(document)

    assert told.path == ""


def test_a_tree_of_ninety_levels_is_read_and_one_without_end_refused() -> None:
    tree: Any = "reject"
    for _ in range(90):
        tree = {"if": {"field": "score", "op": ">=", "value": 1}, "then": "qualify", "else": tree}
    assert read_campaign(changed(TREE, tree), "x").qualification.tree is not None

    for _ in range(900):
        tree = {"if": {"field": "score", "op": ">=", "value": 1}, "then": "qualify", "else": tree}
    assert "levels" in problems(changed(TREE, tree))[0].expected


KEYS = st.sampled_from(
    [
        *("all", "any", "not", "if", "then", "else", "field", "op", "value", "comparison", "a"),
        *("id", "type", "steps", "sequence", "sequences", "weight", "variants", "body", "columns"),
    ]
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 10**30, math.inf, math.nan, 1e300, date(2026, 3, 4), b"a", {1}, ()]),
    st.sampled_from(["", "csv", "score", "employees", "between", "in", "matches", "qualify", "*"]),
    st.sampled_from(["{{", "{{ row }}", "x.j2", "\ud800", "\x00", "0 0 * * *", "a@b.example"]),
    st.text(max_size=5),
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(KEYS | st.integers(0, 3) | st.tuples(KEYS), inner, max_size=4)
    ),
    max_leaves=8,
)
SECTIONS = st.sampled_from([*Campaign.model_fields])


def places(node: object, here: Place = ()) -> list[Place]:
    """Every place in `node`."""
    found = [here] if here else []
    children = (
        node.items()
        if isinstance(node, dict)
        else enumerate(node)
        if isinstance(node, list)
        else ()
    )
    for step, child in children:
        found += places(child, (*here, step))
    return found


PLACES = places(READ)


@st.composite
def mutated(draw: Callable[..., Any]) -> dict[str, Any]:
    """The example after up to three changes: anything put anywhere, taken away, or moved."""
    document = example()
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(PLACES))
        node: Any = document
        try:
            for step in place[:-1]:
                node = node[step]
            change = draw(st.sampled_from(["put", "take", "add", "move"]))
            if change == "put":
                node[place[-1]] = draw(ANYTHING)
            elif change == "take":
                del node[place[-1]]
            elif change == "add":
                node[place[-1]][draw(KEYS)] = draw(ANYTHING)
            else:
                node[place[-1]] = node
        except (TypeError, KeyError, IndexError):
            continue
    return document


def outcome(document: object) -> Campaign | BadInput:
    try:
        return read_campaign(document, "x")
    except BadInput as error:
        return error


def reads_or_is_refused(document: object) -> None:
    found = outcome(document)
    if isinstance(found, BadInput):
        assert found.problems
        assert "\n" not in "".join(problem.path for problem in found.problems)
    else:
        stored = found.model_dump_json(by_alias=True)
        assert Campaign.model_validate_json(stored) == found


@SETTINGS
@given(mutated())
def test_a_mutation_of_the_example_is_read_or_refused(document: dict[str, Any]) -> None:
    reads_or_is_refused(document)


@SETTINGS
@given(ANYTHING | st.dictionaries(SECTIONS, ANYTHING))
def test_any_document_is_read_or_refused(document: object) -> None:
    reads_or_is_refused(document)


@SETTINGS
@given(st.text("0123456789*/-,L# monW", max_size=12) | st.text(max_size=8))
def test_any_cron_expression_is_read_or_refused(cron: str) -> None:
    reads_or_is_refused(changed(("schedule", "harvest"), cron))
