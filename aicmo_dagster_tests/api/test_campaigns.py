"""Campaigns over the API: written once, in turn, checked like a file, on record."""

from typing import Any

from aicmo_dagster.store.campaigns import apply_campaign
from aicmo_dagster_tests.api.rest import Rest
from aicmo_dagster_tests.samples import NOON, campaign, campaign_document


def sent(key: str, **changes: Any) -> dict[str, Any]:
    return campaign_document(key, **({"sources": []} | changes))


def test_a_campaign_is_added_once(rest: Rest) -> None:
    first = rest.ask("operator", "POST", "/campaigns", json=sent("added"))
    again = rest.ask("operator", "POST", "/campaigns", json=sent("added"))

    assert (first.status_code, again.status_code) == (201, 409)
    assert first.headers["Location"] == "/api/v1/cam/campaigns/added"
    read = rest.ask("viewer", "GET", "/campaigns/added")
    assert read.json() == first.json()
    assert read.headers["ETag"] == first.headers["ETag"]
    assert read.json()["document"]["nurture"]["sender"]["name"] == "Ida Berg"


def test_a_document_that_was_read_may_be_written_back(rest: Rest) -> None:
    read = rest.ask("viewer", "GET", "/campaigns/spring").json()
    written = rest.ask("operator", "PUT", "/campaigns/spring", json=read["document"])

    assert (written.status_code, written.json()) == (200, read)


def test_who_writes_on_what_another_changed_is_told(rest: Rest) -> None:
    tag = rest.ask("operator", "POST", "/campaigns", json=sent("turns")).headers["ETag"]
    put = ("operator", "PUT", "/campaigns/turns")
    changed = rest.ask(*put, json=sent("turns", name="B"), headers={"If-Match": tag})
    late = rest.ask(*put, json=sent("turns", name="C"), headers={"If-Match": tag})
    archived = rest.ask("operator", "POST", "/campaigns/turns/archive", headers={"If-Match": tag})

    assert (changed.status_code, late.status_code, archived.status_code) == (200, 412, 412)
    assert late.headers["ETag"] == changed.headers["ETag"] != tag
    assert rest.ask("viewer", "GET", "/campaigns/turns").json()["document"]["name"] == "B"
    anyhow = rest.ask(*put, json=sent("turns", name="D"), headers={"If-Match": '"x", *'})
    assert anyhow.json()["version"] == 3


def test_every_fault_of_a_document_is_told_at_its_place(rest: Rest) -> None:
    document = sent("faulty", sources=[{"type": "csv", "path": "/etc/passwd", "columns": {}}])
    document["nam"] = "x"
    document["sequences"]["everyone"]["steps"][0]["body"] = "intro.md.j2"
    answer = rest.ask("operator", "POST", "/campaigns", json=document)

    assert answer.status_code == 422
    found = {fault["pointer"]: fault["detail"] for fault in answer.json()["errors"]}
    assert {"nam", "sources[0].path", "sequences.everyone.steps[0].body"} <= set(found)
    assert "files cannot be read from here" in found["sources[0].path"]
    assert rest.ask("viewer", "GET", "/campaigns/faulty").status_code == 404


def test_files_that_a_campaign_named_before_stay_and_no_others_come(rest: Rest) -> None:
    steps = [{"id": "intro", "subject": "Hello", "body": "intro.md.j2"}]
    document = campaign_document("files", sequences={"everyone": {"steps": steps}})
    with rest.workspace.database.write() as connection:
        apply_campaign(
            connection,
            campaign("files", sequences=document["sequences"]),
            {"intro.md.j2": "Good day."},
            rest.workspace.settings.home,
            NOON,
        )
    kept = rest.ask("operator", "PUT", "/campaigns/files", json=document | {"name": "B"})
    assert kept.status_code == 200
    assert rest.workspace.campaign("files").templates == {"intro.md.j2": "Good day."}

    other = document | {"sources": [{**document["sources"][0], "path": "../other.csv"}]}
    assert rest.ask("operator", "PUT", "/campaigns/files", json=other).status_code == 422


def test_a_document_of_another_campaign_is_refused(rest: Rest) -> None:
    answer = rest.ask("operator", "PUT", "/campaigns/spring", json=sent("autumn"))

    assert answer.status_code == 422
    limited = rest.ask("limited", "POST", "/campaigns", json=sent("elsewhere"))
    assert limited.status_code == 404


def test_changes_are_on_record_without_addresses(rest: Rest) -> None:
    rest.ask("operator", "POST", "/campaigns", json=sent("recorded"))
    rest.ask("operator", "PUT", "/campaigns/recorded", json=sent("recorded"))
    rest.ask("operator", "PUT", "/campaigns/recorded", json=sent("recorded", name="B"))
    rest.ask("operator", "POST", "/campaigns/recorded/archive")
    rest.ask("operator", "POST", "/campaigns/recorded/archive")
    answer = rest.ask("admin", "GET", "/audit", params={"campaign": "recorded"})

    items = answer.json()["items"]
    assert [item["action"] for item in items] == [
        "campaign.archive", "campaign.apply", "campaign.apply",
    ]  # fmt: skip
    assert items[0]["before"]["state"] == "active"
    assert items[0]["after"]["state"] == "archived"
    assert items[1]["before"]["version"] == 1
    assert items[2]["before"] is None
    operator = rest.tokens["operator"].split("_")[1]
    assert {item["who"] for item in items} == {f"token:{operator}"}
    assert "@" not in answer.text
    hidden = rest.ask("limited", "GET", "/audit").json()["items"]
    assert {item["campaign"] for item in hidden} <= {"spring"}


def test_campaigns_come_in_pages(rest: Rest) -> None:
    whole = rest.ask("viewer", "GET", "/campaigns").json()["items"]
    keys, cursor = [], None
    while cursor is not None or not keys:
        params = {"limit": 1, **({"cursor": cursor} if cursor else {})}
        page = rest.ask("viewer", "GET", "/campaigns", params=params).json()
        keys += [item["key"] for item in page["items"]]
        cursor = page["next"]

    assert keys == [item["key"] for item in whole]
    assert len(keys) >= 2
    stray = rest.ask("viewer", "GET", "/campaigns", params={"cursor": "e30"})
    assert stray.status_code == 422
