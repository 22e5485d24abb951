"""The contract's example of a campaign document, changed in places, and what becomes of it."""

import copy
import math
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from hypothesis import strategies as st

from aicmo_dagster.domain.campaigns import Campaign, read_campaign
from aicmo_dagster.domain.documents import parse_yaml
from aicmo_dagster.errors import BadInput, Problem

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


ROUTES = ("routing", "sequences")

STEPS = ("sequences", "executives", "steps")

RULE = ("qualification", "rules", 0)

TREE = ("qualification", "tree")

CSV = ("sources", 0)

POINTS = ("scoring", "points")


Mistake = tuple[Place, object, str, str]
"""A place of the example, what is put there, the path that is told, part of what is expected."""


def assert_refused(mistake: Mistake) -> None:
    """`mistake` is refused, and nothing else is."""
    place, value, path, expected = mistake
    told = problems(changed(place, value))

    assert [problem.path for problem in told] == [path]
    assert expected in told[0].expected
    assert told[0].where == "spring.yaml"


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
    """What `document` is read as, or why it is refused."""
    try:
        return read_campaign(document, "x")
    except BadInput as error:
        return error
