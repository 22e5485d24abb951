"""Leads, suppressions and erasure over the API."""

import pandas as pd

from aicmo_dagster.domain.tokens import address_key
from aicmo_dagster.store.suppressions import suppressed
from aicmo_dagster_tests.api.rest import LEADS, Rest
from aicmo_dagster_tests.samples import SECRET, lead_id

LIST = "/campaigns/spring/leads"


def ids(rest: Rest, **params: object) -> list[str]:
    answer = rest.ask("viewer", "GET", LIST, params=params)
    assert answer.status_code == 200, answer.text
    return [item["lead_id"] for item in answer.json()["items"]]


def test_leads_come_in_pages_and_by_what_is_known_of_them(rest: Rest) -> None:
    everyone = [lead_id(number) for number in range(1, LEADS + 1)]
    answer = rest.ask("viewer", "GET", LIST, params={"limit": 3})
    assert answer.status_code == 200, answer.text
    first = answer.json()
    rest_of_them = ids(rest, limit=3, cursor=first["next"])

    assert [item["lead_id"] for item in first["items"]] + rest_of_them == everyone
    assert ids(rest, min_score=61) == everyone[3:]
    assert ids(rest, min_score=61, max_score=99) == everyone[3:4]
    assert ids(rest, band="A") == everyone[4:]
    assert ids(rest, stage="qualified_leads") == everyone[3:]
    assert ids(rest, decision="not_qualified") == everyone[:3]
    assert ids(rest, decision="qualified", stage="routed_leads") == []
    mixed = rest.ask("viewer", "GET", LIST, params={"band": "A", "cursor": first["next"]})
    assert mixed.status_code == 422
    assert rest.ask("viewer", "GET", LIST, params={"bnad": "A"}).status_code == 422


def test_a_lead_is_told_with_its_rows_and_why(rest: Rest) -> None:
    told = rest.ask("viewer", "GET", f"{LIST}/{lead_id(5)}").json()

    assert told["stages"]["raw_leads"]["email"] == "lead5@company5.example"
    assert told["stages"]["scored_leads"]["score"] == 100
    assert told["score"]["score"] == 100
    assert told["entries"][0]["stage"] == "raw_leads"
    activity = rest.ask("viewer", "GET", f"{LIST}/{lead_id(5)}/activity")
    assert activity.json() == {"items": []}
    for path in (f"{LIST}/{lead_id(77)}", f"{LIST}/{lead_id(77)}/activity"):
        assert rest.ask("viewer", "GET", path).status_code == 404
    assert rest.ask("viewer", "GET", f"{LIST}/ada@acme.example").status_code == 422


def test_an_override_is_made_and_taken_back(rest: Rest) -> None:
    path = f"{LIST}/{lead_id(4)}/override"
    asked = {"action": "route:everyone", "reason": "asked", "until": "2999-01-01T00:00:00Z"}
    assert rest.ask("operator", "POST", path, json=asked).json()["action"] == "route:everyone"
    taken = rest.ask("operator", "POST", path, json={"action": "withdraw", "reason": "no"})
    assert taken.json()["withdrawn"] == 1
    for wrong in ({"action": "route:nowhere"}, {"until": "2001-01-01T00:00:00Z"}):
        answer = rest.ask("operator", "POST", path, json=asked | wrong)
        assert answer.status_code == 422
        assert answer.json()["errors"]


def test_a_suppression_is_known_by_its_hash_alone(rest: Rest) -> None:
    asked = {"target": " Ada@Acme.example ", "reason": "asked"}
    first = rest.ask("operator", "POST", "/suppressions", json=asked)
    again = rest.ask("operator", "POST", "/suppressions", json=asked)
    key = address_key(SECRET, "ada@acme.example")

    assert first.json() == {"kind": "address", "key": key, "new": True}
    assert again.json()["new"] is False
    listed = rest.ask("operator", "GET", "/suppressions").text
    assert key in listed
    assert "ada" not in listed
    assert rest.ask("limited", "POST", "/suppressions", json=asked).status_code == 403
    path = f"/suppressions/address/{key}"
    assert rest.ask("admin", "DELETE", path).status_code == 204
    assert rest.ask("admin", "DELETE", path).status_code == 404
    neither = rest.ask("operator", "POST", "/suppressions", json={"target": "no one"})
    assert neither.status_code == 422
    assert "no one" not in neither.text


def test_whoever_is_erased_is_in_no_record_and_stays_away(rest: Rest) -> None:
    lead, address = lead_id(1), "lead1@company1.example"
    asked = {"action": "pause", "reason": "asked"}
    headers = {"Idempotency-Key": "erased"}
    rest.ask("operator", "POST", f"{LIST}/{lead}/override", json=asked, headers=headers)
    done = rest.ask("admin", "POST", "/erasures", json={"address": address})

    assert done.json()["removed"]["overrides"] == 1
    assert rest.ask("viewer", "GET", f"{LIST}/{lead}").status_code == 404
    assert lead not in rest.ask("admin", "GET", "/audit").text
    key = address_key(SECRET, address)
    with rest.workspace.database.read() as connection:
        assert suppressed(connection, [key]) == {key}
        for table in ("api_requests", "audit"):
            assert lead not in pd.read_sql_table(table, connection).to_csv()
    kept = rest.ask("admin", "DELETE", f"/suppressions/address/{key}")
    assert kept.status_code == 409
