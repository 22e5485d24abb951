import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicmo_dagster.domain.intake import Intake, intake
from aicmo_dagster.domain.records import text_rows
from aicmo_dagster.domain.schemas import RawLeads

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
NOBODY = pd.DataFrame({"alias": [], "lead_id": []}, dtype="string[pyarrow]")
ADA = {"email": "ada@acme.example"}


def _rows(*rows: dict[str, Any]) -> pd.DataFrame:
    """Rows as a source gives them."""
    return pd.DataFrame(
        [
            {"source": "csv-1", "file": "leads.csv", "row": place, "custom": "{}", **row}
            for place, row in enumerate(rows, start=2)
        ]
    )


def _take(*rows: dict[str, Any], after: Intake | None = None, now: datetime = NOW) -> Intake:
    """The intake of `rows`, perhaps after another whose aliases were stored."""
    taken = intake(
        _rows(*rows) if rows else pd.DataFrame(),
        campaign="spring",
        known=NOBODY if after is None else after.aliases,
        previous=pd.DataFrame() if after is None else after.leads,
        now=now,
    )
    RawLeads.validate(taken.leads, lazy=True)
    return taken


def _lead(taken: Intake) -> dict[str, Any]:
    """The only lead, missing values left out."""
    [lead] = taken.leads.to_dict("records")
    return {name: value for name, value in lead.items() if not pd.isna(value)}


def _stored(known: pd.DataFrame, news: pd.DataFrame) -> pd.DataFrame:
    """What the store holds after an upsert of `news`."""
    both = pd.concat([known, news]).drop_duplicates("alias", keep="last")
    return both.sort_values("alias", ignore_index=True)


def _alias(kind: str, value: str) -> str:
    return sha256(f"spring\x1f{kind}\x1f{value}".encode()).hexdigest()[:20]


def test_a_row_becomes_a_lead_with_every_field_in_its_one_spelling():
    lead = _lead(
        _take(
            {
                "email": " Ada@ACME.example ",
                "first_name": "Ada  ",
                "title": "VP, Sales",
                "linkedin_url": "linkedin.com/in/Ada?x",
                "domain": "https://www.acme.example/",
                "employees": "51-200",
                "annual_revenue": "$5M",
                "technologies": "B, a",
                "founded_year": "1998",
                "country": "Norge",
                "timezone": "europe/oslo",
                "visits": "7",
                "last_engaged_at": "2026-02-01T01:00:00+01:00",
                "custom": '{"Shoe size": "41"}',
                "won": True,
            }
        )
    )
    assert lead == {
        "lead_id": _alias("address", "ada@acme.example"),
        "email": "ada@acme.example",
        "address_kind": "company",
        "first_name": "Ada",
        "title": "VP, Sales",
        "seniority": "vp",
        "linkedin_url": "https://www.linkedin.com/in/ada",
        "domain": "acme.example",
        "employees": 126,
        "annual_revenue": 5e6,
        "technologies": "a;b",
        "founded_year": 1998,
        "country": "NO",
        "timezone": "Europe/Oslo",
        "visits": 7,
        "last_engaged_at": datetime(2026, 2, 1, tzinfo=UTC),
        "source": "csv-1",
        "sources": "csv-1",
        "origins": "{}",
        "custom": '{"Shoe size": "41"}',
        "won": True,
        "first_seen_at": NOW,
        "last_seen_at": NOW,
    }


def test_what_cannot_be_read_in_an_optional_field_is_missing_and_the_lead_kept():
    bad = {"employees": "-5", "country": "unknown", "visits": "many", "founded_year": "12"}
    assert set(_lead(_take({**ADA, **bad}))) == {
        *("lead_id", "email", "address_kind", "domain", "source", "sources", "origins", "custom"),
        *("first_seen_at", "last_seen_at"),
    }


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"email": "ada@", "external_id": "7"}, "email: not an address"),
        ({"first_name": "Ada", "last_name": "Lovelace"}, "no identity"),
        ({"first_name": "Ada", "company": "Acme"}, "no identity"),
        ({"company": "Acme", "domain": "acme.example"}, "no identity"),
        ({"linkedin_url": "https://www.linkedin.com/company/acme"}, "no identity"),
        ({"email": " \x00"}, "no identity"),
        ({}, "no identity"),
    ],
)
def test_a_row_that_is_nobody_is_refused_by_the_name_of_the_rule(row: dict[str, Any], reason: str):
    taken = _take({**row, "custom": '{"Note": "x"}'})
    [reject] = taken.rejects.to_dict("records")
    content = json.loads(reject.pop("content"))
    assert reject == {"source": "csv-1", "file": "leads.csv", "row": 2, "reason": reason}
    assert content == {**row, "custom": {"Note": "x"}}
    assert len(taken.leads) == 0


@pytest.mark.parametrize(
    ("row", "kind", "value"),
    [
        ({"email": "a@x.example", "external_id": "7"}, "address", "a@x.example"),
        ({"external_id": "7", "linkedin_url": "linkedin.com/in/a"}, "external_id", "csv:7"),
        ({"linkedin_url": "linkedin.com/in/a"}, "linkedin", "https://www.linkedin.com/in/a"),
        (
            {"first_name": "Ada", "last_name": "King", "domain": "x.example", "company": "X"},
            "name",
            "ada king\x1fx.example",
        ),
        ({"last_name": "Ada King", "company": "X Ltd"}, "name", "ada king\x1fx ltd"),
    ],
)
def test_the_lead_id_is_the_hash_of_the_strongest_identity(
    row: dict[str, Any], kind: str, value: str
):
    taken = _take(row)
    assert _lead(taken)["lead_id"] == _alias(kind, value)
    assert set(taken.aliases["lead_id"]) == {_alias(kind, value)}


def test_every_identity_of_a_lead_is_remembered():
    row = {"external_id": "7", "linkedin_url": "linkedin.com/in/a", "last_name": "Ada King"}
    assert set(_take({**ADA, **row, "company": "X"}).aliases["alias"]) == {
        _alias("address", "ada@acme.example"),
        _alias("external_id", "csv:7"),
        _alias("linkedin", "https://www.linkedin.com/in/a"),
    }


def test_the_same_external_id_of_another_type_of_source_is_another_person():
    taken = _take({"external_id": "7"}, {"external_id": "7", "source": "apollo-2"})
    assert (taken.counts.seen, taken.counts.merged) == (2, 0)


def test_rows_that_share_any_identity_are_one_person_over_any_number_of_steps():
    taken = _take(
        {"email": "a@x.example", "external_id": "1"},
        {"external_id": "1", "linkedin_url": "linkedin.com/in/a"},
        {"linkedin_url": "linkedin.com/in/a", "email": "b@x.example"},
        {"email": "c@x.example"},
    )
    assert (taken.counts.seen, taken.counts.merged) == (2, 2)


def test_people_who_share_a_name_are_told_apart_by_anything_better():
    name = {"first_name": "Ada", "last_name": "King", "company": "X"}
    taken = _take({**name, "email": "a@x.example"}, {**name, "email": "b@x.example"}, name, name)
    assert (taken.counts.seen, taken.counts.merged) == (3, 1)


def test_the_later_record_wins_field_by_field_where_it_has_a_value():
    taken = _take(
        {**ADA, "first_name": "A.", "city": "Oslo", "won": True, "custom": '{"a": "1", "b": "1"}'},
        {**ADA, "first_name": "Ada", "city": "", "won": None, "custom": '{"b": "2", "c": "2"}'},
    )
    lead = _lead(taken)
    assert (lead["first_name"], lead["city"], lead["won"]) == ("Ada", "Oslo", True)
    assert json.loads(lead["custom"]) == {"a": "1", "b": "2", "c": "2"}
    assert (taken.counts.seen, taken.counts.merged) == (1, 1)


def test_a_bad_copy_of_a_person_does_not_take_the_good_one_with_it():
    taken = _take({**ADA, "external_id": "7"}, {"email": "broken@", "external_id": "7"})
    assert (taken.counts.seen, taken.counts.merged, len(taken.rejects)) == (1, 0, 1)


def test_the_same_input_twice_changes_nothing_but_when_leads_were_last_seen():
    rows = ({**ADA, "custom": '{"a": "1"}'}, {**ADA, "custom": '{"b": "1"}'}, {"external_id": "8"})
    first = _take(*rows)
    again = _take(*rows, after=first, now=LATER)
    expected = first.leads.assign(last_seen_at=again.leads["last_seen_at"])
    pd.testing.assert_frame_equal(again.leads, expected)
    assert again.leads["last_seen_at"].eq(LATER).all()
    assert len(again.aliases) == 0


def test_leads_that_are_not_seen_again_stay_as_they_are():
    first = _take(ADA, {"email": "bob@acme.example", "city": "Oslo"})
    again = _take(ADA, after=first, now=LATER)
    assert (again.counts.seen, again.counts.kept) == (1, 1)
    bob = first.leads[first.leads["city"].eq("Oslo").fillna(value=False)]
    kept = again.leads[again.leads["last_seen_at"].eq(NOW)]
    pd.testing.assert_frame_equal(kept.reset_index(drop=True), bob.reset_index(drop=True))


def test_a_harvest_without_rows_keeps_every_lead():
    first = _take(ADA, {"external_id": "8"})
    again = _take(after=first, now=LATER)
    pd.testing.assert_frame_equal(again.leads, first.leads)
    assert (again.counts.seen, again.counts.kept) == (0, 2)


def test_what_a_later_harvest_does_not_say_is_not_forgotten():
    """An import of a few columns, or a source behind enrichment, must not wipe the rest."""
    first = _take({**ADA, "phone": "1", "city": "Oslo", "custom": '{"a": "1"}'})
    lead = _lead(_take({**ADA, "city": "Bergen"}, after=first, now=LATER))
    assert (lead["phone"], lead["city"], lead["custom"]) == ("1", "Bergen", '{"a": "1"}')


def test_what_was_derived_follows_what_it_was_derived_from():
    first = _take({**ADA, "external_id": "7", "title": "VP"})
    again = {"email": "ada@rival.example", "external_id": "7", "title": "CEO"}
    lead = _lead(_take(again, after=first, now=LATER))
    assert (lead["domain"], lead["seniority"]) == ("rival.example", "c_suite")


def test_what_was_given_is_not_overruled_by_what_can_be_derived():
    first = _take({**ADA, "domain": "group.example", "seniority": "owner", "title": "Clerk"})
    lead = _lead(_take({**ADA, "title": "CEO"}, after=first, now=LATER))
    assert (lead["domain"], lead["seniority"]) == ("group.example", "owner")


def test_a_person_keeps_the_id_first_given_when_a_stronger_identity_turns_up():
    first = _take({"external_id": "7"})
    again = _take({"external_id": "7", **ADA}, after=first, now=LATER)
    assert _lead(again)["lead_id"] == _alias("external_id", "csv:7")
    assert again.aliases.to_dict("records") == [
        {
            "alias": _alias("address", "ada@acme.example"),
            "lead_id": _alias("external_id", "csv:7"),
        }
    ]
    assert _lead(again)["first_seen_at"] == NOW


def test_two_leads_that_turn_out_to_be_one_person_become_the_stronger_one():
    first = _take(
        {"external_id": "7", "linkedin_url": "linkedin.com/in/a", "city": "Oslo"},
        {**ADA, "phone": "1"},
    )
    again = _take({**ADA, "external_id": "7"}, after=first, now=LATER)
    lead = _lead(again)
    assert lead["lead_id"] == _alias("address", "ada@acme.example")
    assert (lead["city"], lead["phone"], lead["first_seen_at"]) == ("Oslo", "1", NOW)
    known = _stored(first.aliases, again.aliases)
    assert set(known["lead_id"]) == {lead["lead_id"]}
    assert len(again.aliases) == 2, "the other's id and its other identity lead to this lead now"

    third = intake(
        _rows({"linkedin_url": "linkedin.com/in/a"}),
        campaign="spring",
        known=known,
        previous=again.leads,
        now=LATER,
    )
    assert _lead(third)["lead_id"] == lead["lead_id"]


def test_the_same_person_is_another_lead_in_another_campaign():
    other = intake(_rows(ADA), campaign="autumn", known=NOBODY, previous=pd.DataFrame(), now=NOW)
    assert _lead(other)["lead_id"] != _lead(_take(ADA))["lead_id"]


def test_aliases_lost_from_the_store_do_not_double_a_lead():
    first = _take(ADA)
    again = intake(_rows(ADA), campaign="spring", known=NOBODY, previous=first.leads, now=LATER)
    assert len(again.leads) == 1


def test_no_rows_at_all_are_no_leads():
    taken = _take()
    assert (len(taken.leads), len(taken.rejects), len(taken.aliases)) == (0, 0, 0)


ROW = st.fixed_dictionaries(
    {},
    optional={
        "email": st.sampled_from(["a@x.example", "B@x.example", "c@y.example", "bad@", ""]),
        "external_id": st.sampled_from(["1", "2", "3"]),
        "linkedin_url": st.sampled_from([f"linkedin.com/in/{slug}" for slug in "abc"]),
        "first_name": st.sampled_from(["Ada", "Bob"]),
        "last_name": st.sampled_from(["King", "Ray"]),
        "company": st.sampled_from(["X", "Y"]),
        "title": st.sampled_from(["CEO", "Clerk"]),
        "employees": st.sampled_from(["7", "1-50", "-1"]),
        "custom": st.sampled_from(['{"a": "1"}', '{"a": "2", "b": "1"}', "{}"]),
        "won": st.sampled_from([True, False, None]),
    },
)
HARVEST = st.lists(ROW, min_size=1, max_size=12)


@settings(max_examples=20, deadline=None)
@given(HARVEST)
def test_every_row_is_a_reject_merged_or_seen(rows: list[dict[str, Any]]):
    taken = _take(*rows)
    assert len(taken.rejects) + taken.counts.merged + taken.counts.seen == len(rows)
    assert len(taken.leads) == taken.counts.seen + taken.counts.kept
    assert taken.aliases["alias"].is_unique
    assert set(taken.leads["lead_id"]) == set(taken.aliases["lead_id"])


@settings(max_examples=20, deadline=None)
@given(HARVEST, HARVEST)
def test_any_input_twice_changes_nothing(earlier: list[dict[str, Any]], rows: list[dict[str, Any]]):
    first = _take(*earlier)
    known = first.aliases
    leads = first.leads
    for round_ in range(2):
        taken = intake(_rows(*rows), campaign="spring", known=known, previous=leads, now=LATER)
        RawLeads.validate(taken.leads, lazy=True)
        if round_:
            pd.testing.assert_frame_equal(taken.leads, leads)
            assert len(taken.aliases) == 0
        known, leads = _stored(known, taken.aliases), taken.leads
    assert set(known["lead_id"]) == set(leads["lead_id"]), "no alias leads to a lead that is gone"


@settings(max_examples=20, deadline=None)
@given(HARVEST, HARVEST, st.randoms(use_true_random=False))
def test_ids_do_not_depend_on_the_order_of_rows(
    earlier: list[dict[str, Any]], rows: list[dict[str, Any]], random: Any
):
    first = _take(*earlier)
    shuffled = list(rows)
    random.shuffle(shuffled)
    one, other = _take(*rows, after=first), _take(*shuffled, after=first)
    assert one.leads["lead_id"].tolist() == other.leads["lead_id"].tolist()
    pd.testing.assert_frame_equal(one.aliases, other.aliases)


@pytest.mark.parametrize("given", [[], [{"email": "a@x.example"}, {"city": "Oslo", "email": None}]])
def test_rows_for_intake_are_text_and_numbered(given: list[dict[str, Any]]):
    rows = text_rows(given, source="apollo-1")
    assert rows["row"].tolist() == list(range(1, len(given) + 1))
    for name in ("email", "city") if given else ():
        told = rows[name].astype(object).where(rows[name].notna(), None)
        assert told.tolist() == [each.get(name) for each in given]
    assert rows["source"].tolist() == ["apollo-1"] * len(given)
    assert {str(rows[name].dtype) for name in rows if name != "row"} == {"string[pyarrow]"}
