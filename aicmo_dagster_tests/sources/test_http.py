"""The seam against a real server on loopback; numbers are those of providers.md, section 6."""

import logging
import socket
import ssl
import subprocess
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from aicmo_dagster.errors import AicmoError
from aicmo_dagster.sources.http import (
    Answer,
    BadKey,
    Http,
    OutcomeUnknown,
    OutOfCredits,
    RateLimited,
    Refused,
    Unavailable,
)
from aicmo_dagster.sources.passages import NotSent
from aicmo_dagster_tests.providers.clients import http_client
from aicmo_dagster_tests.providers.clock import VirtualClock
from aicmo_dagster_tests.providers.server import StandIn
from aicmo_dagster_tests.providers.wire import Fault

KEY = "sk-0123456789-secret"
SEARCH, MATCH = "/mixed_people/api_search", "/people/bulk_match"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> VirtualClock:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    return VirtualClock()


@pytest.fixture
def stand_in(clock: VirtualClock) -> Iterator[StandIn]:
    with StandIn(people=10, clock=clock).running() as running:
        yield running


@pytest.fixture
def http(stand_in: StandIn, clock: VirtualClock) -> Iterator[Http]:
    client = http_client(f"{stand_in.url}/apollo", clock)
    yield client
    client.close()


def search(http: Http) -> Answer:
    return http.request("POST", SEARCH, json={"page": 1}, repeatable=True)


def match(http: Http, email: str = "jo@lead.example") -> Answer:
    return http.request("POST", MATCH, json={"details": [{"email": email}]}, repeatable=False)


def refusal(http: Http, kind: type[AicmoError], **more: Any) -> AicmoError:
    with pytest.raises(kind) as caught:
        match(http, **more)
    return caught.value


def test_an_answer_is_a_status_headers_in_lower_case_and_an_object(http: Http):
    answer = search(http)
    assert answer.status == 200
    assert answer.headers["x-rate-limit-hourly"] == ""
    assert answer.body["total_entries"] == 10


def test_connections_are_kept(stand_in: StandIn, http: Http):
    for _ in range(5):
        search(http)
    assert (len(stand_in.requests), stand_in.connections) == (5, 1)


def test_a_query_is_sent_as_one(stand_in: StandIn, http: Http):
    http.request("GET", "/organizations/enrich", params={"domain": "a&b"}, repeatable=False)
    assert stand_in.requests[0].values == {"domain": "a&b"}


def test_the_trailing_slash_of_a_base_url_is_not_doubled(stand_in: StandIn, clock: VirtualClock):
    client = http_client(f"{stand_in.url}/apollo/", clock)
    assert search(client).status == 200
    client.close()


def test_cookies_and_passwords_of_the_machine_are_not_sent(
    stand_in: StandIn, http: Http, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("NETRC", str(netrc))
    stand_in.faults.set(Fault("", headers={"set-cookie": "a=b"}))
    search(http)
    search(http)
    sent = stand_in.requests[1].headers
    assert "cookie" not in sent
    assert "authorization" not in sent


# ---- 7 and 8: rate limits


@pytest.mark.parametrize(
    ("headers", "slept"),
    [({"retry-after": "7"}, 8.0), ({"retry-after": "0"}, 1.0)],
    ids=["7-seconds", "7-zero"],
)
def test_a_limit_is_waited_out_as_it_says(
    stand_in: StandIn, http: Http, clock: VirtualClock, headers: dict[str, str], slept: float
):
    """The longest back-off, which is 1 s at first, comes on top."""
    stand_in.faults.set(Fault(SEARCH, nth=(1,), status=429, headers=headers))
    search(http)
    assert clock.slept == [slept]


def test_7_a_date_to_wait_for_is_held_against_the_providers_own_clock(
    stand_in: StandIn, http: Http, clock: VirtualClock
):
    headers = {
        "date": "Thu, 01 Jan 2026 00:00:00 GMT",
        "retry-after": "Thu, 01 Jan 2026 00:00:20 GMT",
    }
    stand_in.faults.set(Fault(SEARCH, nth=(1,), status=429, headers=headers))
    search(http)
    assert clock.slept == [21.0]


def test_7_a_date_that_has_passed_is_not_waited_for(
    stand_in: StandIn, http: Http, clock: VirtualClock
):
    headers = {"retry-after": "Thu, 01 Jan 2026 00:00:00 GMT"}
    stand_in.faults.set(Fault(SEARCH, nth=(1,), status=429, headers=headers))
    search(http)
    assert clock.slept == [1.0]


def test_7_a_limit_is_waited_out_also_where_a_request_must_not_be_repeated(
    stand_in: StandIn, http: Http, clock: VirtualClock
):
    stand_in.faults.set(Fault(MATCH, nth=(1,), status=429, headers={"retry-after": "2"}))
    assert match(http).status == 200
    assert clock.slept == [3.0]


def test_7_a_limit_that_lasts_longer_than_our_patience_is_raised_at_once(
    stand_in: StandIn, http: Http, clock: VirtualClock
):
    stand_in.faults.set(Fault(MATCH, status=429, headers={"retry-after": "61"}))
    error = refusal(http, RateLimited)
    assert isinstance(error, RateLimited)
    assert (error.until, error.window, clock.slept) == (61.0, None, [])
    assert len(stand_in.requests) == 1


def test_7_other_endpoints_go_on_while_one_is_limited(stand_in: StandIn, http: Http):
    stand_in.faults.set(Fault(MATCH, status=429, headers={"retry-after": "900"}))
    refusal(http, RateLimited)
    assert search(http).status == 200


@pytest.mark.parametrize(
    ("body", "headers", "until", "window"),
    [
        ({"message": "is 600 times per hour. Please upgrade"}, {}, 3600, "hour"),
        ({"message": "is 2000 times per day."}, {}, 86400, "day"),
        ({"error_details": {"context": {"window": {"value": "day"}}}}, {}, 86400, "day"),
        ({}, {"x-hourly-requests-left": "0", "x-minute-requests-left": "0"}, 3600, "hour"),
        ({}, {"x-24-hour-requests-left": "0"}, 86400, "day"),
        ({}, {"x-daily-requests-left": "0"}, 86400, "day"),
        ({"retry_after_seconds": 90}, {}, 90, None),
        ({"message": "per hour"}, {"retry-after": "0"}, 3600, "hour"),
    ],
    ids=["8-hour", "8-day", "8-context", "8-headers", "8-24", "8-daily", "8-body", "8-zero-hour"],
)
def test_a_limit_of_hours_parks(
    stand_in: StandIn,
    http: Http,
    clock: VirtualClock,
    body: dict[str, Any],
    headers: dict[str, str],
    until: float,
    window: str | None,
):
    stand_in.faults.set(Fault(MATCH, status=429, headers=headers, body=body))
    error = refusal(http, RateLimited)
    assert isinstance(error, RateLimited)
    assert (error.until, error.window, clock.slept) == (until, window, [])


def test_8_a_limit_of_a_minute_is_waited_out(stand_in: StandIn, http: Http, clock: VirtualClock):
    body = {"message": "The maximum number of api calls is 200 times per minute."}
    stand_in.faults.set(Fault(SEARCH, nth=(1,), status=429, body=body))
    search(http)
    assert clock.slept == [61.0]


def test_8_a_limit_that_says_nothing_is_met_with_back_off_and_then_raised(
    stand_in: StandIn, http: Http, clock: VirtualClock
):
    stand_in.faults.set(Fault(MATCH, status=429, body="slow down"))
    error = refusal(http, RateLimited)
    assert isinstance(error, RateLimited)
    assert (error.until, error.window) == (None, None)
    assert clock.slept == [1.0, 2.0, 4.0]


def test_16_a_message_that_is_json_once_more_is_read(stand_in: StandIn, http: Http):
    body = {"message": '{"message": "is 600 times per hour", "retry_after_seconds": 90}'}
    stand_in.faults.set(Fault(MATCH, status=429, body=body))
    error = refusal(http, RateLimited)
    assert isinstance(error, RateLimited)
    assert (error.until, error.window) == (90, "hour")


# ---- 15 and 17: bodies that are not what they should be


@pytest.mark.parametrize(
    ("status", "body", "code", "text"),
    [
        (400, '{"error_code": "RECORD_LIMIT_EXCEEDED"}', "RECORD_LIMIT_EXCEEDED", ""),
        (422, {"error": "Invalid parameters"}, "", "Invalid parameters"),
        (404, {"detail": "Not Found"}, "", "Not Found"),
        (422, {"detail": [{"loc": ["body"], "msg": "Field required"}]}, "", "Field required"),
        (400, {"error": True, "reason": "Missing data"}, "", "Missing data"),
        (403, {"error_details": {"code": "A.B", "message": "no"}, "error_code": "X"}, "A.B", "no"),
        (422, "a <b>bold</b> word", "", "a bold word"),
        (422, ["a list"], "", '["a list"]'),
        (422, "x\x1b[31m" + "y" * 500, "", "x [31m" + "y" * 194),
    ],
    ids=[
        "15-as-text",
        "15-old",
        "15-detail",
        "15-details",
        "15-reason",
        "15-new",
        "17-markup",
        "15-list",
        "17-long",
    ],
)
def test_a_refusal_is_read_whatever_its_type(
    stand_in: StandIn, http: Http, status: int, body: Any, code: str, text: str
):
    stand_in.faults.set(Fault(MATCH, status=status, body=body))
    error = refusal(http, Refused)
    assert isinstance(error, Refused)
    assert (error.status, error.code, error.text) == (status, code, text)
    assert len(stand_in.requests) == 1


@pytest.mark.parametrize(("status", "kind"), [(401, BadKey), (402, OutOfCredits)])
def test_15_statuses_of_one_meaning_have_their_own_errors(
    stand_in: StandIn, http: Http, status: int, kind: type[AicmoError]
):
    stand_in.faults.set(Fault(MATCH, status=status, body="Invalid access credentials."))
    assert "Invalid access credentials." in str(refusal(http, kind))


def test_15_a_refusal_is_one_even_if_it_is_cut_short(stand_in: StandIn, http: Http):
    """Not of unknown outcome: its status came."""
    stand_in.faults.set(Fault(MATCH, status=422, body_kind="cut"))
    error = refusal(http, Refused)
    assert isinstance(error, Refused)
    assert (error.status, error.text) == (422, "")


BROKEN = {
    "17-html-502": Fault("", nth=(1, 2), status=502, body_kind="html"),
    "17-html-200": Fault("", nth=(1, 2), body_kind="html"),
    "17-truncated": Fault("", nth=(1, 2), body_kind="truncated"),
    "17-empty": Fault("", nth=(1, 2), body_kind="empty"),
    "17-list": Fault("", nth=(1, 2), status=200, body=[1]),
    "17-cut": Fault("", nth=(1, 2), body_kind="cut"),
    "17-deep": Fault("", nth=(1, 2), status=200, body="[" * 100_000),
    "17-408": Fault("", nth=(1, 2), status=408),
    "20-reset": Fault("", nth=(1, 2), reset=True),
    "20-dropped": Fault("", nth=(1, 2), drop_after_charge=True),
}


def broken(name: str) -> Fault:
    return Fault(**{**vars(BROKEN[name]), "met": 0})


@pytest.mark.parametrize("name", BROKEN)
def test_what_may_be_repeated_is_repeated_with_back_off(
    stand_in: StandIn, http: Http, clock: VirtualClock, name: str
):
    stand_in.faults.set(broken(name))
    assert search(http).status == 200
    assert clock.slept == [1.0, 2.0]


@pytest.mark.parametrize("name", BROKEN)
def test_what_may_not_be_repeated_is_sent_once_and_its_outcome_unknown(
    stand_in: StandIn, http: Http, clock: VirtualClock, name: str
):
    stand_in.faults.set(broken(name))
    refusal(http, OutcomeUnknown)
    assert len(stand_in.requests) == 1
    assert clock.slept == []


def test_17_a_page_of_html_is_told_without_its_markup(stand_in: StandIn, http: Http):
    stand_in.faults.set(Fault("", status=502, body_kind="html"))
    with pytest.raises(Unavailable, match=r"answered 502: 502 Bad Gateway 502 Bad Gateway$"):
        search(http)
    assert len(stand_in.requests) == 4


def test_nothing_is_repeated_beyond_the_attempts(stand_in: StandIn, clock: VirtualClock):
    stand_in.faults.set(Fault("", status=500))
    client = http_client(f"{stand_in.url}/apollo", clock, attempts=2)
    with pytest.raises(Unavailable):
        search(client)
    assert len(stand_in.requests) == 2
    client.close()


def test_the_jitter_is_full(stand_in: StandIn, clock: VirtualClock):
    draws = iter([0.0, 0.25, 1.0])
    client = http_client(f"{stand_in.url}/apollo", clock, jitter=lambda: next(draws))
    stand_in.faults.set(Fault("", status=500))
    with pytest.raises(Unavailable):
        search(client)
    assert clock.slept == [0.0, 0.5, 4.0]
    client.close()


# ---- 29 and 35: sizes, redirects, drips, resets


def test_29_an_answer_beyond_the_limit_is_not_read_nor_asked_for_again(
    stand_in: StandIn, clock: VirtualClock
):
    client = http_client(f"{stand_in.url}/apollo", clock, max_bytes=1000)
    with pytest.raises(Unavailable, match="larger than 1000 bytes"):
        search(client)
    assert len(stand_in.requests) == 1
    client.close()


def test_29_a_compressed_answer_is_measured_as_it_unfolds(stand_in: StandIn, clock: VirtualClock):
    client = http_client(f"{stand_in.url}/apollo", clock, max_bytes=100_000)
    stand_in.faults.set(Fault("", body_kind="bomb"))
    with pytest.raises(Unavailable, match="larger than 100000 bytes"):
        search(client)
    client.close()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_35_a_redirect_is_refused_and_the_key_stays_here(
    stand_in: StandIn, http: Http, status: int
):
    with StandIn(people=1).running() as other:
        headers = {"location": f"{other.url}/apollo{SEARCH}"}
        stand_in.faults.set(Fault("", status=status, headers=headers))
        with pytest.raises(Refused, match="redirect") as caught:
            search(http)
        assert caught.value.status == status
        assert other.connections == 0
    assert len(stand_in.requests) == 1


@pytest.mark.parametrize(("repeatable", "kind"), [(True, Unavailable), (False, OutcomeUnknown)])
def test_35_a_body_that_drips_in_is_cut_off(
    stand_in: StandIn, clock: VirtualClock, repeatable: bool, kind: type[AicmoError]
):
    """Each byte comes in time; all of them would take minutes."""
    client = http_client(
        f"{stand_in.url}/apollo", clock, timeout=0.1, attempts=1, clock=time.monotonic
    )
    stand_in.faults.set(Fault("", drip=0.02))
    started = time.monotonic()
    with pytest.raises(kind, match="timed out"):
        client.request("POST", SEARCH, json={}, repeatable=repeatable)
    assert time.monotonic() - started < 2
    client.close()


@pytest.mark.parametrize(("repeatable", "kind"), [(True, Unavailable), (False, OutcomeUnknown)])
def test_35_silence_is_cut_off(
    stand_in: StandIn, clock: VirtualClock, repeatable: bool, kind: type[AicmoError]
):
    client = http_client(f"{stand_in.url}/apollo", clock, timeout=0.05, attempts=1)
    stand_in.faults.set(Fault("", delay=0.15))
    with pytest.raises(kind, match="timed out"):
        client.request("POST", SEARCH, json={}, repeatable=repeatable)
    client.close()


@pytest.mark.parametrize("repeatable", [True, False])
def test_35_what_cannot_be_sent_is_tried_again_and_never_of_unknown_outcome(
    clock: VirtualClock, repeatable: bool
):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    client = http_client(f"http://127.0.0.1:{port}", clock)
    with pytest.raises(Unavailable, match="cannot be reached; not sent"):
        client.request("POST", MATCH, json={}, repeatable=repeatable)
    assert clock.slept == [1.0, 2.0, 4.0]
    client.close()


def test_a_kept_connection_that_the_server_closed_is_opened_again(
    stand_in: StandIn, http: Http, clock: VirtualClock
):
    stand_in.faults.set(Fault("", nth=(1,), headers={"connection": "close"}))
    match(http)
    match(http)
    assert (stand_in.connections, clock.slept) == (2, [])


def test_threads_may_share_a_client(stand_in: StandIn, http: Http):
    def page(number: int) -> list[str]:
        wanted = {"page": number, "per_page": 2}
        body = http.request("POST", SEARCH, json=wanted, repeatable=True).body
        return [person["id"] for person in body["people"]]

    with ThreadPoolExecutor(5) as threads:
        pages = list(threads.map(page, [1, 2, 3, 4, 5] * 8))
    everybody = [person.id for person in stand_in.people]
    assert [person for page in pages for person in page] == everybody * 8
    assert stand_in.connections <= 5


def test_a_certificate_that_nobody_vouches_for_is_refused_before_the_key_is_sent(
    clock: VirtualClock, tmp_path: Path
):
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    options = ["-nodes", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", *options]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    received: list[object] = []

    def serve(listener: socket.socket) -> None:
        plain, _ = listener.accept()
        try:
            with context.wrap_socket(plain, server_side=True) as met:
                received.append(met.recv(1))
        except ssl.SSLError:
            received.append("refused")

    with socket.create_server(("localhost", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        client = http_client(f"https://localhost:{listener.getsockname()[1]}", clock)
        with pytest.raises(Unavailable, match="certificate is not valid; not sent"):
            match(client)
        thread.join()
    assert clock.slept == []
    assert received == ["refused"]
    client.close()


# ---- what must not get out

LEAKS = {
    "echoed": Fault("", status=422, body=f"{KEY} and zoe@lead.example and Zoe@Other.example"),
    "in a code": Fault("", status=422, body={"error_code": f"no {KEY}"}),
    "refused": Fault("", status=401, body=f"{KEY} is wrong"),
    "forbidden": Fault("", status=403, body={"error": f"{KEY} of zoe@lead.example"}),
    "limited": Fault("", status=429, body=f"{KEY} per hour"),
    "a page": Fault("", status=502, body=f"<html>{KEY} zoe@lead.example</html>"),
    "broken": Fault("", status=200, body=f"{KEY} zoe@lead.example"),
    "reset": Fault("", reset=True),
    "moved": Fault("", status=307, headers={"location": f"http://127.0.0.1:1/?k={KEY}"}),
}


@pytest.mark.parametrize("name", LEAKS)
def test_nothing_raised_or_logged_holds_the_key_or_what_was_sent(
    stand_in: StandIn, clock: VirtualClock, caplog: pytest.LogCaptureFixture, name: str
):
    caplog.set_level(logging.DEBUG)
    stand_in.faults.set(Fault(**vars(LEAKS[name])))
    client = http_client(f"{stand_in.url}/apollo", clock, {"x-api-key": KEY}, attempts=1)
    address = "@".join(["zoe", "lead.example"])
    with pytest.raises(AicmoError) as caught:
        match(client, address)
    error = caught.value
    frames = traceback.format_exception(error)
    told = "".join(frames) + repr(error) + repr(vars(error)) + repr(client) + caplog.text
    assert KEY not in told
    assert address not in told.lower()
    assert "zoe@" not in told.lower()
    assert error.__context__ is None
    client.close()


def test_what_a_refusal_quotes_of_the_request_is_taken_out(stand_in: StandIn, http: Http):
    """Short texts stay, or little of it would be left."""
    text = "Parameters misconfigured. Ångström is not a valid ID; try zoe@elsewhere.example"
    stand_in.faults.set(Fault("", status=422, body={"error": text}))
    with pytest.raises(Refused) as caught:
        http.request(
            "POST", MATCH, json={"details": [{"id": "Ångström", "name": "a"}]}, repeatable=False
        )
    assert caught.value.text == "Parameters misconfigured. … is not a valid ID; try …"


@pytest.mark.parametrize("key", ["", "line\nbreak", "schlüssel", " padded "])
def test_a_key_that_cannot_be_one_is_refused_without_being_quoted(clock: VirtualClock, key: str):
    with pytest.raises(BadKey) as caught:
        http_client("http://127.0.0.1:1", clock, {"x-api-key": key})
    assert key.strip() == "" or key.strip() not in str(caught.value)


class Watched:
    """A passage that keeps what became of it."""

    def __init__(self, *, keeps_back: bool = False) -> None:
        self.moments: list[object] = []
        self._keeps_back = keeps_back

    def leave(self) -> None:
        self.moments.append("left")
        if self._keeps_back:
            raise NotSent("it was kept back")

    def land(self, setback: bool) -> None:
        self.moments.append(setback)


def test_a_request_asks_for_leave_each_time_that_it_is_sent(stand_in: StandIn, http: Http):
    stand_in.faults.set(Fault(SEARCH, nth=(1,), status=503))
    passage = Watched()
    http.request("POST", SEARCH, json={"page": 1}, repeatable=True, passage=passage)
    assert passage.moments == ["left", False, "left", False]


@pytest.mark.parametrize(("repeatable", "lost"), [(True, False), (False, True)])
def test_a_refusal_keeps_others_back_and_so_does_a_lost_answer_to_what_may_cost(
    stand_in: StandIn, http: Http, repeatable: bool, lost: bool
):
    """The next answer may be lost as well, and with it what was paid for."""
    faults = (Fault(MATCH, nth=(2,), reset=True), Fault(MATCH, nth=(3,), status=503))
    stand_in.faults.set(Fault(MATCH, nth=(1,), status=422), *faults)
    passage = Watched()
    for _ in range(2 if repeatable else 3):
        with suppress(Refused, OutcomeUnknown):
            http.request("POST", MATCH, json={}, repeatable=repeatable, passage=passage)
    assert passage.moments[:6] == ["left", True, "left", lost, "left", lost]


def test_a_request_that_gets_no_leave_is_not_sent(stand_in: StandIn, http: Http):
    with pytest.raises(NotSent):
        http.request("POST", MATCH, json={}, repeatable=True, passage=Watched(keeps_back=True))
    assert not stand_in.requests
