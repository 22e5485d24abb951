"""Leads in bulk: what is sent becomes a source, what is asked for comes part by part."""

import io
import json
from datetime import timedelta
from typing import Any

import httpx
import pandas as pd
import pytest

from aicmo_dagster.stages.harvesting.harvest import harvest
from aicmo_dagster.store.frames import read_frame
from aicmo_dagster_tests.api.rest import LEADS, Rest
from aicmo_dagster_tests.samples import NOON, campaign_document

PEOPLE = [
    {"Email": "ada@acme.example", "First Name": "Ada", "Team": "blue, red"},
    {"Email": "bo@acme.example", "First Name": "Bo", "Team": "=1+1"},
]
CSV = 'Email,First Name,Team\nada@acme.example,Ada,"blue, red"\nbo@acme.example,Bo,=1+1\n'
LINES = "\n\n".join(map(json.dumps, PEOPLE))


def parquet() -> bytes:
    file = io.BytesIO()
    pd.DataFrame(PEOPLE).to_parquet(file)
    return file.getvalue()


def send(rest: Rest, key: str, content: Any, kind: str, **params: Any) -> httpx.Response:
    return rest.ask(
        "operator",
        "POST",
        f"/campaigns/{key}/leads:import",
        content=content,
        params={"name": "people", **params},
        headers={"Content-Type": kind},
    )


def added(rest: Rest, key: str) -> str:
    answer = rest.ask("operator", "POST", "/campaigns", json=campaign_document(key, sources=[]))
    assert answer.status_code == 201
    return key


def leads(rest: Rest, key: str) -> pd.DataFrame:
    with rest.workspace.database.read() as connection:
        return read_frame(connection, "raw_leads", key).sort_values("email")


BODIES = {
    "csv": (CSV, "text/csv"),
    "utf16": (CSV.encode("utf-16"), "text/csv; charset=utf-16"),
    "jsonl": (LINES, "application/jsonl"),
    "parquet": (parquet(), "application/vnd.apache.parquet"),
}


@pytest.mark.parametrize("kind", BODIES)
def test_what_is_imported_is_harvested(rest: Rest, kind: str) -> None:
    key = added(rest, f"from-{kind}")
    first = send(rest, key, *BODIES[kind])
    again = send(rest, key, *BODIES[kind])

    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert (first.json()["rows"], first.json()["rejected"]) == (2, 0)
    assert first.json()["columns"] == {"email": "Email", "first_name": "First Name"}
    harvest(rest.workspace, key, NOON)
    found = leads(rest, key)
    assert list(found["email"]) == ["ada@acme.example", "bo@acme.example"]
    assert list(found["first_name"]) == ["Ada", "Bo"]
    assert json.loads(found["custom"].iloc[0]) == {"Team": "blue, red"}
    assert set(found["source"]) == {f"import-{first.json()['id']}"}


def test_another_file_of_the_name_takes_the_first_ones_place(rest: Rest) -> None:
    key = added(rest, "replaced")
    send(rest, key, CSV, "text/csv")
    second = send(
        rest, key, "Post\nz@acme.example\nbroken,line\n", "text/csv", columns="email:Post"
    )

    listed = rest.ask("viewer", "GET", f"/campaigns/{key}/imports").json()["items"]
    assert [each["id"] for each in listed] == [second.json()["id"]]
    assert (listed[0]["rows"], listed[0]["rejected"]) == (2, 1)
    harvest(rest.workspace, key, NOON)
    assert list(leads(rest, key)["email"]) == ["z@acme.example"]

    path = f"/campaigns/{key}/imports/{second.json()['id']}"
    assert rest.ask("operator", "DELETE", path).status_code == 204
    assert rest.ask("operator", "DELETE", path).status_code == 404
    assert len(leads(rest, key)) == 1


FAULTY = {
    "no column of ours": ("Foo,Bar\n1,2\n", "text/csv", {}, "Foo"),
    "an unknown field": (CSV, "text/csv", {"columns": "emial:Email"}, "email"),
    "a missing column": (CSV, "text/csv", {"columns": "email:Post"}, "Post"),
    "an open quote": ('Email\n"ada@acme.example\n', "text/csv", {}, "quote"),
    "nothing": ("", "text/csv", {}, "empty"),
    "no objects": ("[1]\n", "application/jsonl", {}, "JSON object"),
    "no JSON": ("{}\nx\n", "application/jsonl", {}, "line 2"),
    "no Parquet": ("PAR1", "application/vnd.apache.parquet", {}, "Parquet"),
}


@pytest.mark.parametrize("case", FAULTY)
def test_a_file_that_cannot_be_read_is_refused(rest: Rest, case: str) -> None:
    body, kind, params, told = FAULTY[case]
    answer = send(rest, "autumn", body, kind, **params)

    assert answer.status_code == 422
    assert told in json.dumps(answer.json()["errors"])
    assert rest.ask("viewer", "GET", "/campaigns/autumn/imports").json() == {"items": []}


def test_another_type_of_file_is_refused(rest: Rest) -> None:
    assert send(rest, "autumn", "x", "application/pdf").status_code == 415


def test_whoever_is_erased_is_in_no_import(rest: Rest) -> None:
    key = added(rest, "erased-import")
    text = CSV + 'Ada@ACME.example,A,x\nadabert@acme.example,B,"two\nlines"\n'
    send(rest, key, text, "text/csv")
    done = rest.ask("admin", "POST", "/erasures", json={"address": "ada@acme.example"}).json()

    assert done["removed"]["imports"] >= 2
    harvest(rest.workspace, key, NOON + timedelta(days=1))
    assert list(leads(rest, key)["email"]) == ["adabert@acme.example", "bo@acme.example"]


def test_an_export_says_what_the_stage_holds(rest: Rest) -> None:
    path = "/campaigns/spring/leads:export"
    text = rest.ask("viewer", "GET", path)
    lines = rest.ask("viewer", "GET", path, params={"format": "jsonl"})
    table = rest.ask("viewer", "GET", path, params={"format": "parquet"})

    assert text.headers["Content-Disposition"] == 'attachment; filename="spring-raw_leads.csv"'
    emails = [f"lead{number}@company{number}.example" for number in range(1, LEADS + 1)]
    assert list(pd.read_csv(io.StringIO(text.text))["email"]) == emails
    assert [json.loads(line)["email"] for line in lines.text.splitlines()] == emails
    assert list(pd.read_parquet(io.BytesIO(table.content))["email"]) == emails
    empty = rest.ask("viewer", "GET", path, params={"stage": "nurture_sends"})
    assert empty.text.startswith("lead_id,sequence,step")
    assert len(empty.text.splitlines()) == 1
