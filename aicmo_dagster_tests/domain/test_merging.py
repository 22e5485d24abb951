"""Merging against a plain record-by-record reference, and where each field is said to be from."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pandas as pd
import pyarrow
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicmo_dagster.domain.identity import all_claims, find_people
from aicmo_dagster.domain.intake import (
    Counts,
    Intake,
    columns_of,
    intake,
    lead_columns,
    take_in,
)
from aicmo_dagster.domain.normalise import told_seniorities
from aicmo_dagster.domain.precedence import PRECEDENCE, kind_of, ranks
from aicmo_dagster.domain.records import read_rows
from aicmo_dagster.domain.schemas import RawLeads, dtypes

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOBODY = pd.DataFrame({"alias": [], "lead_id": []}, dtype="string[pyarrow]")
SOURCES = ("csv-1", "csv-2", "apollo-3", "dropcontact-4", "hubspot-5")

ROW = st.fixed_dictionaries(
    {"source": st.sampled_from(SOURCES), "person": st.sampled_from("abc")},
    optional={
        "mail": st.sampled_from(["x.example", "y.example", "gmail.com"]),
        "external_id": st.sampled_from(["1", "2"]),
        "first_name": st.sampled_from(["Ada", "Bob"]),
        "title": st.sampled_from(["CEO", "Intern", "Florist"]),
        "city": st.sampled_from(["Oslo", "Bergen"]),
        "industry": st.sampled_from(["software", "retail"]),
        "domain": st.sampled_from(["x.example", "group.example"]),
        "seniority": st.sampled_from(["owner", "c_suite", "intern"]),
        "won": st.booleans(),
        "custom": st.sampled_from([{"a": "1"}, {"a": "2", "b": "1"}, {"c": "3"}]),
    },
)
HARVEST = st.lists(ROW, min_size=1, max_size=9)

Lead = dict[str, Any]


@dataclass
class Record:
    """What a source said of somebody, or what was known of them before.

    Args:
        values: Field to value.
        source: What gave it.
        origins: Field to what gave that one, if it was another.
    """

    values: Lead
    source: str
    origins: dict[str, str] = field(default_factory=dict)

    def origin(self, name: str) -> str:
        return self.origins.get(name, self.source)


def records_of(harvest: list[Lead]) -> list[Record]:
    """The rows of `harvest` as intake spells them; nobody shares an identity with another."""
    records = []
    for row in harvest:
        values = {name: value for name, value in row.items() if name not in ("person", "mail")}
        values["linkedin_url"] = f"https://www.linkedin.com/in/{row['person']}"
        if "mail" in row:
            values["email"] = f"{row['person']}@{row['mail']}"
        if "external_id" in row:
            values["external_id"] = f"{row['person']}{row['external_id']}"
        records.append(Record(values, row["source"]))
    return records


def frame_of(records: list[Record]) -> pd.DataFrame:
    """The records as a source gives them."""
    return pd.DataFrame(
        [
            {
                **record.values,
                "custom": json.dumps(record.values.get("custom", {})),
                "file": "leads.csv",
                "row": place,
            }
            for place, record in enumerate(records, start=2)
        ]
    )


def take(harvest: list[Lead], after: Intake | None = None) -> Intake:
    taken = intake(
        frame_of(records_of(harvest)),
        campaign="spring",
        known=NOBODY if after is None else after.aliases,
        previous=pd.DataFrame() if after is None else after.leads,
        now=NOW if after is None else NOW + timedelta(days=1),
    )
    RawLeads.validate(taken.leads, lazy=True)
    return taken


def leads_of(taken: Intake) -> dict[str, Lead]:
    """Profile to lead, without what is missing; JSON read."""
    leads = {}
    for row in taken.leads.to_dict("records"):
        held = {name: value for name, value in row.items() if not pd.isna(value)}
        held |= {name: json.loads(held[name]) for name in ("custom", "origins")}
        leads[row["linkedin_url"]] = held
    return leads


def seniority(title: str | None) -> str | None:
    return told_seniorities(pyarrow.array([title], pyarrow.string()))[0].as_py()


def derived(values: Lead) -> Lead:
    """What follows from the address and the title."""
    email = values.get("email")
    return {"domain": email and email.split("@")[1], "seniority": seniority(values.get("title"))}


BASES = {"domain": "email", "seniority": "title"}


def earlier(lead: Lead) -> Record:
    """A lead as the first of its records, without what only follows from other fields."""
    kept = Record(dict(lead), lead["source"], lead["origins"])
    for name, value in derived(lead).items():
        if lead.get(name) == value and kept.origin(name) == kept.origin(BASES[name]):
            kept.values.pop(name, None)
    return kept


def merged(records: list[Record]) -> tuple[Lead, dict[str, str]]:
    """The fields of one person, and the source of each."""
    values: Lead = {}
    origins: dict[str, str] = {}
    for name in dtypes("raw_leads"):
        holding = [record for record in records if record.values.get(name) not in (None, {})]
        weakest_first = sorted(holding, key=lambda r: -ranks(name, [r.origin(name)])[0])
        for record in weakest_first:
            value = record.values[name]
            values[name] = values.get(name, {}) | value if name == "custom" else value
            origins[name] = record.origin(name)
    for name, value in derived(values).items():
        if name not in values and value is not None:
            values[name], origins[name] = value, origins[BASES[name]]
    return values, origins


@settings(max_examples=30, deadline=None)
@given(HARVEST, HARVEST)
def test_a_lead_is_what_its_records_make_one_by_one(before: list[Lead], harvest: list[Lead]):
    first = take(before)
    known = leads_of(first)
    second = take(harvest, first)
    found = leads_of(second)
    changed = 0
    for profile in {record.values["linkedin_url"] for record in records_of(harvest)}:
        own = [r for r in records_of(harvest) if r.values["linkedin_url"] == profile]
        held = known.get(profile)
        values, origins = merged(([earlier(held)] if held else []) + own)
        lead = found[profile]
        compared = set(dtypes("raw_leads")) & set(values) - {"sources", "origins", "last_seen_at"}
        compared -= {"address_kind"}
        assert {name: lead[name] for name in compared} == {n: values[n] for n in compared}
        stated = {n: s for n, s in origins.items() if n in compared - {"lead_id", "first_seen_at"}}
        assert lead["origins"] == {n: s for n, s in stated.items() if s != lead["source"]}
        ever = {*(held["sources"].split(";") if held else ()), *(r.source for r in own)}
        assert lead["sources"] == ";".join(sorted(ever))
        changed += held is not None and _without_last(held) != _without_last(lead)
    assert (second.counts.changed, second.counts.new) == (changed, len(found) - len(known))


def _without_last(lead: Lead) -> Lead:
    return {name: value for name, value in lead.items() if name != "last_seen_at"}


@settings(max_examples=30, deadline=None)
@given(HARVEST)
def test_every_value_stands_in_a_record_of_the_source_it_is_said_to_be_from(harvest: list[Lead]):
    told = {
        (r.values["linkedin_url"], r.source, n, str(v))
        for r in records_of(harvest)
        for n, v in r.values.items()
    }
    for profile, lead in leads_of(take(harvest)).items():
        for name in ("external_id", "email", "first_name", "title", "city", "industry", "won"):
            if name in lead:
                source = lead["origins"].get(name, lead["source"])
                assert (profile, source, name, str(lead[name])) in told


LINKED = st.fixed_dictionaries(
    {"source": st.sampled_from(SOURCES)},
    optional={
        "email": st.sampled_from([f"{who}@x.example" for who in "abcd"]),
        "external_id": st.sampled_from(["1", "2", "3", "4"]),
        "linkedin_url": st.sampled_from([f"linkedin.com/in/{who}" for who in "abcd"]),
        "title": st.sampled_from(["CEO", "Intern"]),
        "city": st.sampled_from(["Oslo", "Bergen"]),
        "custom": st.sampled_from(['{"a": "1"}', '{"a": "2", "b": "1"}', "{}"]),
    },
)
"""Of whom any may turn out to be one person, by way of others."""
LINKED_HARVEST = st.lists(LINKED, min_size=1, max_size=12)


def rows_of(harvest: list[Lead]) -> pd.DataFrame:
    return pd.DataFrame(
        [{"custom": "{}", "file": "leads.csv", "row": n, **row} for n, row in enumerate(harvest)]
    )


def taken_in_ranges(
    rows: pd.DataFrame, first: Intake, cuts: list[int], places: list[int]
) -> tuple[pd.DataFrame, pd.DataFrame, Counts]:
    """Leads, aliases and counts where rows come cut in parts, and leads are merged in ranges.

    Args:
        rows: The harvest.
        first: What there was before.
        cuts: Where a part of the rows ends.
        places: Which of all lead ids, in order, begin a range.
    """
    starts = sorted({0, *(cut % (len(rows) + 1) for cut in cuts)})
    parts = [
        read_rows(rows.iloc[start:end], "spring")
        for start, end in zip(starts, [*starts[1:], len(rows)], strict=True)
    ]
    claims = all_claims([part.claims for part in parts], [len(part.records) for part in parts])
    given = pyarrow.concat_tables([part.records for part in parts])
    people = find_people(claims, len(given), first.aliases)
    before = pyarrow.table(lead_columns(first.leads))
    known = before["lead_id"].combine_chunks()
    met = people.now_of(known)
    now_of_known = pc.coalesce(met, known)
    ids = sorted({*people.lead_ids.to_pylist(), *now_of_known.to_pylist()})
    ends = ["", *sorted({ids[place % len(ids)] for place in places} if ids else ()), "~"]
    leads, counts = [], Counts()
    for low, high in pairwise(ends):
        own, kept = (
            pc.and_(pc.greater_equal(of, low), pc.less(of, high))
            for of in (people.lead_ids, now_of_known)
        )
        records = columns_of(given.filter(own)) | {"lead_id": people.lead_ids.filter(own)}
        held = columns_of(before.filter(kept))
        frame, of_range = take_in(held, met.filter(kept), records, NOW + timedelta(days=1))
        leads.append(frame)
        counts += of_range
    return pd.concat(leads, ignore_index=True), people.aliases, counts


@settings(max_examples=60, deadline=None)
@given(
    LINKED_HARVEST,
    LINKED_HARVEST,
    st.lists(st.integers(0, 12), max_size=3),
    st.lists(st.integers(0, 12), max_size=3),
)
def test_it_does_not_matter_how_a_harvest_is_cut(
    before: list[Lead], harvest: list[Lead], cuts: list[int], places: list[int]
):
    first = intake(
        rows_of(before), campaign="spring", known=NOBODY, previous=pd.DataFrame(), now=NOW
    )
    rows = rows_of([*harvest, {"email": "broken@", "source": "csv-1"}])
    whole = intake(
        rows,
        campaign="spring",
        known=first.aliases,
        previous=first.leads,
        now=NOW + timedelta(days=1),
    )
    leads, aliases, counts = taken_in_ranges(rows, first, cuts, places)
    pd.testing.assert_frame_equal(leads, whole.leads)
    pd.testing.assert_frame_equal(aliases, whole.aliases)
    assert counts == whole.counts


@pytest.mark.parametrize(
    ("name", "values", "winner"),
    [
        ("first_name", {"csv-1": "Ada", "apollo-2": "A.", "dropcontact": "Adah"}, "csv-1"),
        ("first_name", {"dropcontact": "Adah", "apollo-2": "A."}, "dropcontact"),
        ("title", {"dropcontact": "CFO", "apollo": "CEO"}, "apollo"),
        ("title", {"apollo": "CEO", "dropcontact": "CFO"}, "dropcontact"),
        ("title", {"apollo": "CEO", "apollo-2": "CFO"}, "apollo"),
        ("seniority", {"apollo-2": "vp", "dropcontact": "owner"}, "apollo-2"),
        ("city", {"csv-1": "Oslo", "csv-2": "Bergen"}, "csv-2"),
        ("city", {"apollo-1": "Oslo", "hubspot": "Bergen"}, "apollo-1"),
        ("source", {"csv-1": "csv-1", "apollo-2": "apollo-2"}, "csv-1"),
    ],
)
def test_the_stronger_source_wins_a_field_and_of_equals_the_later(
    name: str, values: dict[str, str], winner: str
):
    rows = [{"source": s, "email": "a@x.example", name: value} for s, value in values.items()]
    records = [Record(row, row["source"]) for row in rows]
    taken = intake(
        frame_of(records), campaign="spring", known=NOBODY, previous=pd.DataFrame(), now=NOW
    )
    assert taken.leads[name].tolist() == [values[winner]]


def test_what_the_file_said_is_not_undone_by_a_provider_that_answers_later():
    first = take([{"source": "csv-1", "person": "a", "city": "Oslo"}])
    again = take(
        [{"source": "apollo-2", "person": "a", "city": "Paris", "industry": "retail"}], first
    )
    [lead] = leads_of(again).values()
    assert (lead["city"], lead["source"]) == ("Oslo", "csv-1")
    assert lead["origins"] == {"industry": "apollo-2"}
    assert lead["sources"] == "apollo-2;csv-1"


def test_an_answer_without_a_source_is_of_the_provider_in_its_file():
    first = take([{"source": "csv-1", "person": "a", "city": "Oslo"}])
    [lead_id] = first.leads["lead_id"]
    answer = {"lead_id": lead_id, "file": "dropcontact", "row": 1, "custom": "{}", "title": "CEO"}
    taken = intake(
        pd.DataFrame([answer]),
        campaign="spring",
        known=first.aliases,
        previous=first.leads,
        now=NOW,
    )
    [lead] = leads_of(taken).values()
    assert (lead["title"], lead["source"]) == ("CEO", "csv-1")
    assert lead["origins"] == {"title": "dropcontact", "seniority": "dropcontact"}


def test_leads_of_one_source_name_no_origins():
    taken = take([{"source": "csv-1", "person": p, "city": "Oslo", "title": "CEO"} for p in "abca"])
    assert set(taken.leads["origins"]) == {"{}"}


def test_a_kind_of_source_that_the_table_does_not_know_is_the_weakest():
    for name in (*PRECEDENCE, "city"):
        known = ranks(name, ["csv-1", "apollo-2", "apollo", "dropcontact"])
        assert max(known) < ranks(name, ["hubspot"])[0]
    assert set(PRECEDENCE) < set(dtypes("raw_leads"))
    assert [kind_of(s) for s in ("csv-12", "apollo-1", "apollo")] == ["csv", "search", "apollo"]
