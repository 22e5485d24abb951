"""The client against the stand-in over HTTP; numbers are those of providers.md, section 6."""

from collections.abc import Iterator
from typing import Any

import pytest

from aicmo_dagster.domain.schemas import dtypes
from aicmo_dagster.errors import AicmoError
from aicmo_dagster.sources.dropcontact import Collected, Dropcontact, Pending, Submitted
from aicmo_dagster.sources.dropcontact_fields import status_of
from aicmo_dagster.sources.http import (
    BadKey,
    OutcomeUnknown,
    OutOfCredits,
    RateLimited,
    Refused,
    Unavailable,
)
from aicmo_dagster.sources.people import Answered, Asked, unanswered
from aicmo_dagster_tests.providers import accounts
from aicmo_dagster_tests.providers.clients import dropcontact_client
from aicmo_dagster_tests.providers.clock import VirtualClock
from aicmo_dagster_tests.providers.market import Person
from aicmo_dagster_tests.providers.server import StandIn
from aicmo_dagster_tests.providers.wire import Fault

SUBMIT = "/enrich/all"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> VirtualClock:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return VirtualClock()


@pytest.fixture
def stand_in(clock: VirtualClock) -> Iterator[StandIn]:
    with StandIn(people=60, clock=clock).running() as running:
        yield running


@pytest.fixture
def dropcontact(stand_in: StandIn, clock: VirtualClock) -> Dropcontact:
    return dropcontact_client(stand_in.url, clock)


def asked(*people: Person) -> list[Asked]:
    return [
        Asked(p.id, first_name=p.first_name, last_name=p.last_name, domain=p.domain) for p in people
    ]


def known(stand_in: StandIn, count: int = 3) -> list[Person]:
    return [p for p in stand_in.people[8:] if p.dropcontact == "nominative@pro"][:count]


def unknown(stand_in: StandIn, count: int = 3) -> list[Person]:
    return [p for p in stand_in.people[8:] if not p.dropcontact][:count]


def submitted(dropcontact: Dropcontact, people: list[Asked]) -> str:
    request_id = dropcontact.submit(people).request_id
    assert request_id is not None
    return request_id


def collected(dropcontact: Dropcontact, people: list[Asked]) -> Collected:
    got = dropcontact.collect(submitted(dropcontact, people))
    assert isinstance(got, Collected)
    return got


def answer_with(stand_in: StandIn, dropcontact: Dropcontact, emails: Any, **more: Any) -> Answered:
    """What becomes of a row with these addresses."""
    row = {"custom_fields": {"lead_key": "a"}, "email": emails, **more}
    body = {"error": False, "success": True, "data": [row]}
    stand_in.faults.set(Fault(f"{SUBMIT}/", status=200, body=body))
    got = dropcontact.collect("x")
    assert isinstance(got, Collected)
    return got.answers["a"]


# ---- submitting


def test_a_batch_is_submitted_for_a_credit_each(stand_in: StandIn, dropcontact: Dropcontact):
    people = asked(*known(stand_in))
    got = dropcontact.submit(people)
    assert got == Submitted("qzwk00000", 9997, frozenset(p.key for p in people), {})
    assert stand_in.requests[0].values["language"] == "en"
    assert stand_in.ledger.spent("dropcontact") == 3


def test_a_record_is_named_as_dropcontact_names_things(stand_in: StandIn, dropcontact: Dropcontact):
    person = Asked("k", "66f", "a@b.example", "linkedin.com/in/a", "Zoë", "L", "B AS", "b.example")
    dropcontact.submit([person])
    assert stand_in.requests[0].values["data"] == [
        {
            "first_name": "Zoë",
            "last_name": "L",
            "email": "a@b.example",
            "linkedin": "linkedin.com/in/a",
            "company": "B AS",
            "website": "b.example",
            "custom_fields": {"lead_key": "k"},
        }
    ]


def test_12_whoever_would_have_all_refused_is_not_sent(stand_in: StandIn, dropcontact: Dropcontact):
    huge = Asked("huge", first_name="J", last_name="x" * 15_000, domain="b.example")
    lone = Asked("lone", first_name="Jan", last_name="Novak")
    firm = Asked("firm", company="B AS")
    (fine,) = asked(*known(stand_in, 1))
    got = dropcontact.submit([huge, lone, fine, firm, Asked("nothing")])
    skipped = unanswered("not_asked")
    assert got.refused == dict.fromkeys(["huge", "lone", "firm", "nothing"], skipped)
    assert (got.keys, stand_in.ledger.spent()) == ({fine.key}, 1)


def test_12_with_nobody_to_send_nothing_is_submitted(stand_in: StandIn, dropcontact: Dropcontact):
    got = dropcontact.submit([Asked("a")])
    assert (got.request_id, got.keys) == (None, frozenset())
    assert stand_in.requests == []


def test_250_go_in_a_batch_and_more_do_not(stand_in: StandIn, dropcontact: Dropcontact):
    people = [Asked(str(n), linkedin_url=f"linkedin.com/in/n{n}") for n in range(251)]
    assert len(dropcontact.submit(people[:250]).keys) == 250
    with pytest.raises(ValueError, match="251 people"):
        dropcontact.submit(people)
    assert len(stand_in.requests) == 1


@pytest.mark.parametrize(
    ("rejects", "expected"), [((2,), {1}), ((1, 3), {0, 2})], ids=["23-one", "23-two"]
)
def test_whoever_is_rejected_at_submission_is_known_at_once(
    stand_in: StandIn, dropcontact: Dropcontact, rejects: tuple[int, ...], expected: set[int]
):
    stand_in.dropcontact.modes.rejects = rejects
    people = asked(*known(stand_in))
    got = dropcontact.submit(people)
    refused = {people[place].key for place in expected}
    assert got.refused == dict.fromkeys(refused, unanswered("rejected"))
    assert got.keys == {p.key for p in people} - refused


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"index": 0}, "a"),
        ({"index": 2}, "b"),
        ({"index": 9, "custom_fields": {"lead_key": "b"}}, "b"),
        ({"index": 9}, None),
        ({"index": "1"}, None),
        ({}, None),
    ],
    ids=["23-from-0", "23-from-1", "23-by-key", "23-beyond", "23-text", "23-nothing"],
)
def test_a_rejected_row_is_found_by_its_key_or_else_its_number(
    stand_in: StandIn, dropcontact: Dropcontact, row: dict[str, Any], expected: str | None
):
    body = {"request_id": "x", "data": [{**row, "errors": {"unexpected_field": True}}]}
    stand_in.faults.set(Fault(SUBMIT, status=200, body=body))
    people = [Asked(key, linkedin_url=f"linkedin.com/in/{key}") for key in ("a", "b")]
    assert list(dropcontact.submit(people).refused) == ([expected] if expected else [])


def test_30_a_number_for_an_id_is_kept_exactly(stand_in: StandIn, dropcontact: Dropcontact):
    stand_in.dropcontact.modes.numeric_ids = True
    people = asked(*known(stand_in))
    request_id = submitted(dropcontact, people)
    assert request_id == "-8039995589705121900"
    got = dropcontact.collect(request_id)
    assert isinstance(got, Collected)
    assert len(got.answers) == 3


def test_an_id_cannot_leave_its_place_in_the_path(stand_in: StandIn, dropcontact: Dropcontact):
    dropcontact.collect("../account?x=1")
    assert stand_in.requests[0].path == "/dropcontact/enrich/all/..%2Faccount%3Fx%3D1"


# ---- what a submission may fail of


def test_18_too_few_credits_refuse_the_whole_batch_and_tell_how_many_there_are(
    stand_in: StandIn, dropcontact: Dropcontact, clock: VirtualClock
):
    stand_in.dropcontact.accounts.left[accounts.GOOD] = 2
    people = asked(*known(stand_in))
    with pytest.raises(OutOfCredits) as caught:
        dropcontact.submit(people)
    assert (caught.value.left, stand_in.ledger.spent(), clock.slept) == (2, 0, [])
    assert len(dropcontact.submit(people[:2]).keys) == 2


def test_18_a_403_without_a_reason_is_judged_by_the_balance(
    stand_in: StandIn, dropcontact: Dropcontact
):
    stand_in.faults.set(Fault(SUBMIT, method="POST", status=403, body_kind="empty"))
    with pytest.raises(BadKey):
        dropcontact.submit(asked(*known(stand_in)))
    stand_in.dropcontact.accounts.left[accounts.GOOD] = 2
    with pytest.raises(OutOfCredits):
        dropcontact.submit(asked(*known(stand_in)))


def test_18_the_words_decide_where_the_balance_cannot_be_had(
    stand_in: StandIn, dropcontact: Dropcontact
):
    body = {"error": True, "reason": "API call Token exceeded quota."}
    stand_in.faults.set(Fault("", status=403, body=body))
    with pytest.raises(OutOfCredits) as caught:
        dropcontact.submit(asked(*known(stand_in)))
    assert caught.value.left is None


@pytest.mark.parametrize("key", [accounts.BAD_TEXT, accounts.NO_SCOPE])
def test_15_an_unknown_account_is_a_bad_key_whatever_the_status(
    stand_in: StandIn, clock: VirtualClock, key: str
):
    client = dropcontact_client(stand_in.url, clock, key)
    with pytest.raises(BadKey, match="AICMO_DROPCONTACT_API_KEY"):
        client.submit(asked(*known(stand_in)))


def test_20_a_lost_answer_is_of_unknown_outcome_and_the_balance_tells(
    stand_in: StandIn, dropcontact: Dropcontact
):
    stand_in.faults.set(Fault(SUBMIT, method="POST", drop_after_charge=True))
    before = dropcontact.credits()
    with pytest.raises(OutcomeUnknown):
        dropcontact.submit(asked(*known(stand_in)))
    assert before - dropcontact.credits() == 3
    assert len(stand_in.ledger.calls(SUBMIT)) == 1


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"error": True, "success": False, "reason": "no"}, Refused),
        ({"error": False, "success": True}, OutcomeUnknown),
        ({"error": False, "success": True, "request_id": None}, OutcomeUnknown),
    ],
)
def test_17_a_200_that_names_no_batch_is_none(
    stand_in: StandIn, dropcontact: Dropcontact, body: Any, kind: type[AicmoError]
):
    stand_in.faults.set(Fault(SUBMIT, status=200, body=body))
    with pytest.raises(kind):
        dropcontact.submit(asked(*known(stand_in)))


def test_202_is_as_good_as_200(stand_in: StandIn, dropcontact: Dropcontact):
    body = {"request_id": "x", "accepted_count": 3}
    stand_in.faults.set(Fault(SUBMIT, status=202, body=body))
    got = dropcontact.submit(asked(*known(stand_in)))
    assert (got.request_id, got.credits_left) == ("x", None)


def test_8_a_429_is_met_with_back_off_since_nothing_is_told(
    stand_in: StandIn, dropcontact: Dropcontact, clock: VirtualClock
):
    stand_in.faults.set(Fault(SUBMIT, nth=(1, 2), status=429, body={"reason": "too many"}))
    dropcontact.submit(asked(*known(stand_in)))
    assert (clock.slept, stand_in.ledger.spent()) == ([1.0, 2.0], 3)
    stand_in.faults.set(Fault(SUBMIT, status=429))
    with pytest.raises(RateLimited):
        dropcontact.submit(asked(*known(stand_in)))


# ---- collecting


def test_an_answer_gives_our_fields(stand_in: StandIn, dropcontact: Dropcontact):
    (person,) = known(stand_in, 1)
    got = collected(dropcontact, asked(person))
    assert got.credits_left == 9999
    assert got.answers == {
        person.id: Answered(
            {
                "first_name": person.first_name,
                "last_name": person.last_name,
                "title": str(person.title),
                "seniority": "C-level",
                "department": "Management",
                "linkedin_url": person.linkedin.removeprefix("http://"),
                "company": person.company,
                "domain": f"www.{person.domain}",
                "industry": "Manufacture of other furniture",
                "employees": "20 to 49",
                "country": "FR",
                "email": person.email,
            },
            "verified",
            usable=True,
            confidence="nominative@pro",
        )
    }
    assert got.answers[person.id].fields.keys() <= dtypes("raw_leads").keys()


def test_21_a_batch_that_is_never_ready_stays_pending_and_can_be_collected_by_a_later_run(
    stand_in: StandIn, dropcontact: Dropcontact, clock: VirtualClock
):
    stand_in.dropcontact.modes.ready_after = None
    request_id = submitted(dropcontact, asked(*known(stand_in)))
    assert [dropcontact.collect(request_id) for _ in range(3)] == [Pending(30)] * 3
    stand_in.dropcontact.modes.ready_after = 1
    later = dropcontact_client(stand_in.url, clock)
    got = later.collect(request_id)
    assert isinstance(got, Collected)
    assert len(got.answers) == 3
    assert len(stand_in.ledger.calls(SUBMIT)) == 5
    assert stand_in.ledger.paid_twice("dropcontact") == set()


def test_21_a_batch_that_is_not_known_looks_like_one_that_is_not_ready(dropcontact: Dropcontact):
    assert dropcontact.collect("nobody-knows") == Pending(30)


def test_21_the_time_to_wait_is_the_one_that_is_told(stand_in: StandIn, dropcontact: Dropcontact):
    body = {"error": False, "success": False, "reason": "not ready yet, try again in 45 seconds"}
    stand_in.faults.set(Fault(SUBMIT, status=200, body=body))
    assert dropcontact.collect("x") == Pending(45)


def test_22_a_batch_may_seem_unready_once_more(stand_in: StandIn, dropcontact: Dropcontact):
    """And is collected again as it was, without another refund."""
    stand_in.dropcontact.modes.ready_after = 2
    stand_in.dropcontact.modes.unready_at = (3,)
    people = asked(*known(stand_in), *unknown(stand_in))
    request_id = submitted(dropcontact, people)
    polls = [dropcontact.collect(request_id) for _ in range(4)]
    assert polls[0] == polls[2] == Pending(30)
    assert polls[1] == polls[3]
    assert stand_in.ledger.spent() == 3


@pytest.mark.parametrize("mode", ["drop", "shuffle"], ids=["24-dropped", "24-shuffled"])
def test_answers_go_to_whom_they_are_about_whatever_is_missing(
    stand_in: StandIn, dropcontact: Dropcontact, mode: str
):
    stand_in.dropcontact.modes.miss = mode
    found, missed = known(stand_in, 5), unknown(stand_in, 4)
    mixed = [person for pair in zip(found, missed, strict=False) for person in pair]
    got = collected(dropcontact, asked(*mixed, found[4]))
    assert {key: answer.fields["email"] for key, answer in got.answers.items()} == {
        person.id: person.email for person in found
    }
    assert got.unjoined == 0


def test_24_a_row_that_does_not_say_whom_it_is_about_is_counted_and_given_to_no_one(
    stand_in: StandIn, dropcontact: Dropcontact
):
    email = [{"email": "a@b.example", "qualification": "nominative@pro"}]
    rows = [{"email": email}, {"email": email, "custom_fields": None}, None]
    body = {"success": True, "data": rows}
    stand_in.faults.set(Fault(SUBMIT, status=200, body=body))
    assert dropcontact.collect("x") == Collected({}, None, 3)


def test_25_a_record_that_comes_back_as_it_was_is_a_miss(
    stand_in: StandIn, dropcontact: Dropcontact
):
    people = asked(*unknown(stand_in))
    got = collected(dropcontact, people)
    assert got.answers.keys() == {p.key for p in people}
    for answer in got.answers.values():
        assert (answer.status, answer.usable, answer.doubtful) == ("not_found", False, None)
    assert stand_in.ledger.spent() == 0


@pytest.mark.parametrize("emails", ["a@b.example", [], None, [{}], ["a@b.example"], {"email": 1}])
def test_25_an_address_that_is_merely_echoed_is_not_found(
    stand_in: StandIn, dropcontact: Dropcontact, emails: Any
):
    got = answer_with(stand_in, dropcontact, emails)
    assert (got.status, got.usable, got.doubtful) == ("not_found", False, None)
    assert "email" not in got.fields


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("nominative@pro", "verified"),
        ("nominatif@pro", "verified"),
        ("Nominative@Pro", "verified"),
        ("catch-all@pro", "catch_all"),
        ("catch_all@pro", "catch_all"),
        ("non_confirm@pro", "catch_all"),
        ("generic@pro", "generic"),
        ("générique@pro", "generic"),
        ("generique@pro", "generic"),
        ("Do_Not_Contact@pro", "do_not_contact"),
        ("Ne_Pas_Contacter@pro", "do_not_contact"),
        ("do not contact@zorg", "do_not_contact"),
        ("non_validated@pro", "unverified"),
        ("non_validé@pro", "unverified"),
        ("non_valide\u0301@pro", "unverified"),
        ("invalid@pro", "invalid"),
        ("invalide@pro", "invalid"),
        ("random@pro", "invalid"),
        ("nominative@invalid domain", "invalid"),
        ("nominatif@domaine invalide", "invalid"),
        ("nominative@invalid", "invalid"),
        ("nominative@perso", "personal"),
        ("nominative@school", "school"),
        ("nominative@disposable", "disposable"),
        ("nominatif@jetable", "disposable"),
        ("zorg@pro", "unknown"),
        ("nominative@zorg", "unknown"),
        ("zorg@perso", "unknown"),
        ("nominative", "unknown"),
        ("nominative@pro@perso", "unknown"),
        ("", "unknown"),
    ],
    ids="26-{}".format,
)
def test_every_word_has_its_meaning_and_only_one_is_usable(
    stand_in: StandIn, dropcontact: Dropcontact, word: str, status: str
):
    assert status_of(word) == status
    pair = {"email": "a@b.example", "qualification": word}
    got = answer_with(stand_in, dropcontact, [pair])
    assert (got.status, got.usable) == (status, status == "verified")
    assert (got.fields.get("email"), got.doubtful) == (
        ("a@b.example", None) if got.usable else (None, "a@b.example")
    )


def test_26_in_french_it_is_the_same(stand_in: StandIn, dropcontact: Dropcontact):
    stand_in.dropcontact.modes.language = "fr"
    got = collected(dropcontact, asked(*known(stand_in)))
    assert {answer.status for answer in got.answers.values()} == {"verified"}


GENERIC = {"email": "contact@b.example", "qualification": "generic@pro"}
GOOD = {"email": "a@b.example", "qualification": "nominative@pro"}
CATCH_ALL = {"email": "b@b.example", "qualification": "catch-all@pro"}
OBJECTS = {"email": "c@b.example", "qualification": "Do_Not_Contact@pro"}
UNKNOWN = {"email": "d@b.example", "qualification": "zorg@pro"}


@pytest.mark.parametrize(
    ("emails", "address", "status"),
    [
        ([GENERIC, GOOD], "a@b.example", "verified"),
        ([GENERIC, CATCH_ALL], "b@b.example", "catch_all"),
        ([UNKNOWN, GENERIC], "contact@b.example", "generic"),
        ([UNKNOWN, CATCH_ALL, GOOD, GENERIC], "a@b.example", "verified"),
        ([GOOD, OBJECTS], "c@b.example", "do_not_contact"),
    ],
    ids=["27-nominative", "27-catch-all", "27-unknown", "27-four", "27-objection"],
)
def test_of_several_addresses_the_best_is_chosen_wherever_it_stands(
    stand_in: StandIn, dropcontact: Dropcontact, emails: Any, address: str, status: str
):
    got = answer_with(stand_in, dropcontact, emails)
    assert got.status == status
    assert address in (got.fields.get("email"), got.doubtful)


def test_28_names_are_kept_as_they_are_written(stand_in: StandIn, dropcontact: Dropcontact):
    names = {"first_name": "Zoe\u0308", "last_name": "חן", "job": "Head 🚀"}
    got = answer_with(stand_in, dropcontact, [GOOD], **names)
    assert got.fields["first_name"] == "Zoe\u0308"
    assert (got.fields["last_name"], got.fields["title"]) == ("חן", "Head 🚀")


def test_the_switchboard_is_nobodys_telephone(stand_in: StandIn, dropcontact: Dropcontact):
    assert "phone" not in answer_with(stand_in, dropcontact, [GOOD], phone="+33 1").fields
    got = answer_with(stand_in, dropcontact, [GOOD], phone="+33 1", mobile_phone="+33 6")
    assert got.fields["phone"] == "+33 6"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"error": True, "success": True, "data": []}, Refused),
        ({"success": True}, Unavailable),
        ({"success": True, "data": {}}, Unavailable),
    ],
    ids=["error", "no-data", "no-list"],
)
def test_17_what_is_no_batch_is_not_an_empty_one(
    stand_in: StandIn, dropcontact: Dropcontact, body: Any, kind: type[AicmoError]
):
    stand_in.faults.set(Fault(SUBMIT, status=200, body=body))
    with pytest.raises(kind):
        dropcontact.collect("x")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"error": False, "data": []}, Collected({}, None)),
        ({"error": False, "success": True, "status": "in_progress", "data": []}, Pending(30)),
    ],
    ids=["without-success", "in-progress"],
)
def test_the_verdict_is_from_the_body(
    stand_in: StandIn, dropcontact: Dropcontact, body: Any, expected: object
):
    stand_in.faults.set(Fault(SUBMIT, status=200, body=body))
    assert dropcontact.collect("x") == expected


def test_a_404_is_no_pending_batch(stand_in: StandIn, dropcontact: Dropcontact):
    stand_in.faults.set(Fault(SUBMIT, status=404, body={"detail": "Not Found"}))
    with pytest.raises(Refused) as caught:
        dropcontact.collect("x")
    assert caught.value.status == 404


def test_17_collecting_survives_a_gateway_that_fails(
    stand_in: StandIn, dropcontact: Dropcontact, clock: VirtualClock
):
    request_id = submitted(dropcontact, asked(*known(stand_in)))
    stand_in.faults.set(Fault(SUBMIT, nth=(1, 2), status=502, body_kind="html"))
    assert isinstance(dropcontact.collect(request_id), Collected)
    assert clock.slept == [1.0, 2.0]


@pytest.mark.parametrize("body", [{}, {"credits": None}, {"credits": "7"}, {"credits": True}])
def test_a_balance_that_is_not_told_is_not_none(
    stand_in: StandIn, dropcontact: Dropcontact, body: Any
):
    assert dropcontact.credits() == 10_000
    stand_in.faults.set(Fault("/account/credits", status=200, body=body))
    with pytest.raises(Unavailable):
        dropcontact.credits()
