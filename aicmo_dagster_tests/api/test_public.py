"""What a recipient's mail program, browser and scanner get to see, over real HTTP."""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, urlsplit

import httpx
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aicmo_dagster.api.app import trusted_proxies
from aicmo_dagster.api.service import BASE
from aicmo_dagster.domain.links import click_token, open_token
from aicmo_dagster.domain.tokens import address_key, unsubscribe_token
from aicmo_dagster.errors import BadInput
from aicmo_dagster.store.suppressions import suppressed
from aicmo_dagster_tests.api.conftest import LEAD, TARGET, Serve, Served
from aicmo_dagster_tests.samples import SECRET, lead_id

ADDRESS_KEY = address_key(SECRET, "lead1@company1.example")
ONE_CLICK = {"List-Unsubscribe": "One-Click"}


def is_suppressed(served: Served) -> bool:
    with served.database.read() as connection:
        return suppressed(connection, [ADDRESS_KEY]) == {ADDRESS_KEY}


def test_a_pixel_is_an_image_that_nobody_keeps_and_is_recorded(served: Served) -> None:
    answer = served.client.get(served.pixel())

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/gif"
    assert "no-store" in answer.headers["cache-control"]
    (event,) = served.events(1)
    assert (event["kind"], event["step"], event["client"]) == ("open", "intro", "127.0.0.1")


def test_a_pixel_is_an_image_whatever_the_token(served: Served) -> None:
    for token in ("x", "a.b", open_token(b"another", "spring", LEAD, "intro"), "%00", "é"):
        answer = served.client.get(f"/t/o/{token}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/gif")


def test_a_click_leads_to_the_url_of_the_message_and_is_recorded(served: Served) -> None:
    answer = served.client.get(served.click())

    assert answer.status_code == 302
    assert answer.headers["location"] == TARGET
    assert "no-store" in answer.headers["cache-control"]
    (event,) = served.events(1)
    assert (event["kind"], event["link"], event["method"]) == ("click", served.link, "GET")
    assert "Firefox" in event["agent"]


def altered(token: str) -> list[str]:
    """Tokens that are nearly `token`."""
    named, _, signature = token.partition(".")
    other = "A" if signature[0] != "A" else "B"
    return [
        token[:-1],
        token[1:],
        named,
        f"{named}.",
        f".{signature}",
        f"{named}.{other}{signature[1:]}",
        f"{named}A.{signature}",
        f"{named}=.{signature}",
        token + "A",
        token + ".A",
        token.swapcase(),
    ]


def test_a_click_that_we_did_not_make_is_a_plain_page_and_no_redirect(served: Served) -> None:
    good = click_token(SECRET, "spring", LEAD, "intro", served.link)
    tokens = [
        *altered(good),
        click_token(b"another key", "spring", LEAD, "intro", served.link),
        click_token(SECRET, "autumn", LEAD, "intro", served.link),
        click_token(SECRET, "spring", LEAD, "intro", "no-such-link"),
        open_token(SECRET, "spring", LEAD, "intro"),
        unsubscribe_token(SECRET, "spring", LEAD),
    ]
    for token in tokens:
        answer = served.client.get(f"/t/c/{token}", params={"url": "https://evil.example"})
        assert answer.status_code == 404
        assert "location" not in answer.headers


def test_nothing_in_a_request_can_say_where_a_click_leads(served: Served) -> None:
    answer = served.client.get(
        f"{served.click()}?url=https://evil.example&to=//evil.example",
        headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"},
    )

    assert answer.headers["location"] == TARGET


def test_looking_at_the_unsubscribe_page_unsubscribes_nobody(served: Served) -> None:
    """Scanners follow every link."""
    answer = served.client.get(served.page())

    assert answer.status_code == 200
    assert [event["kind"] for event in served.events(1)] == ["unsubscribe_view"]
    assert not is_suppressed(served)
    assert answer.text.count("<button") == 1
    assert "<script" not in answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("encoding", ["data", "files", "none", "other"])
def test_one_click_unsubscribes_at_once_in_either_encoding(served: Served, encoding: str) -> None:
    """RFC 8058: no redirect, no cookie, and the event stands beside the suppression."""
    sent = {
        "data": {"data": ONE_CLICK},
        "files": {"files": {k: (None, v) for k, v in ONE_CLICK.items()}},
        "none": {},
        "other": {"content": b"\xff\x00", "headers": {"Content-Type": "text/plain"}},
    }[encoding]

    answer = served.client.post(served.page(), **sent)  # type: ignore[arg-type]

    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    assert is_suppressed(served)
    (event,) = served.events(1)
    assert (event["kind"], event["detail"]) == ("unsubscribe", {"scope": "everything"})


def test_unsubscribing_twice_is_as_once_and_the_first_time_is_kept(served: Served) -> None:
    served.client.post(served.page(), data=ONE_CLICK)
    (first,) = served.events(1)

    assert served.client.post(served.page(), data=ONE_CLICK).status_code == 200
    assert served.events(1) == [first]


def test_many_may_unsubscribe_the_same_lead_at_once(served: Served) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: served.client.post(served.page()).status_code, range(24)))

    assert set(answers) == {200}
    assert len(served.events(1)) == 1


def test_whoever_wants_only_this_series_to_stop_may_say_so(served: Served) -> None:
    answer = served.client.post(served.page(), data={"scope": "campaign"})

    assert "this series" in answer.text
    (event,) = served.events(1)
    assert event["detail"] == {"scope": "campaign"}
    assert not is_suppressed(served)


def test_a_lead_that_is_gone_may_still_unsubscribe(served: Served) -> None:
    gone = lead_id(99)

    assert served.client.post(served.page(gone)).status_code == 200
    assert [event["kind"] for event in served.events(1, gone)] == ["unsubscribe"]


def test_a_forged_token_unsubscribes_nobody(served: Served) -> None:
    tokens = [
        *altered(unsubscribe_token(SECRET, "spring", LEAD)),
        unsubscribe_token(b"another key", "spring", LEAD),
        click_token(SECRET, "spring", LEAD, "intro", served.link),
    ]
    for token in tokens:
        assert served.client.post(f"/u/{token}").status_code in (404, 405)
        assert served.client.get(f"/u/{token}").status_code == 404
    assert not is_suppressed(served)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"--x\r\nbroken", "multipart/form-data; boundary=x"),
        (b"List-Unsubscribe=One-Click", "multipart/form-data"),
        (b"a" * 3_000_000, "application/x-www-form-urlencoded"),
        (b"&".join(b"a%d=1" % n for n in range(5000)), "application/x-www-form-urlencoded"),
        (b"%ff%zz=\xfe", "application/x-www-form-urlencoded; charset=none"),
        (
            b'--x\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\nz\r\n--x--\r\n',
            "multipart/form-data; boundary=x",
        ),
    ],
)
def test_a_form_that_cannot_be_read_still_unsubscribes(
    served: Served, content: bytes, kind: str
) -> None:
    answer = served.client.post(served.page(), content=content, headers={"Content-Type": kind})

    assert answer.status_code == 200
    assert is_suppressed(served)


def test_head_prefetch_and_other_methods_do_no_harm(served: Served) -> None:
    client = served.client
    assert client.head(served.click()).status_code == 302
    assert client.head(served.page()).status_code == 200
    assert client.head(served.pixel()).content == b""
    client.get(served.click(), headers={"Sec-Purpose": "prefetch;prerender"})
    assert {client.request(m, served.click()).status_code for m in ("PUT", "DELETE")} == {405}
    methods = {event["method"] for event in served.events(4)}
    assert methods == {"HEAD", "PREFETCH"}


def test_a_burst_of_a_scanner_is_recorded_whole(served: Served) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: served.client.get(served.click()).status_code, range(80)))

    assert set(answers) == {302}
    assert len(served.events(80)) == 80


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /t/c/x?%s HTTP/1.1\r\nHost: a\r\n\r\n" % (b"a" * 1_000_000),
        b"GET /t/c/%s HTTP/1.1\r\nHost: a\r\n\r\n" % (b"a" * 1_000_000),
        b"GET /u/x HTTP/1.1\r\nHost: a\r\n%s\r\n" % (b"X-A: b\r\n" * 100_000),
        b"GET /u/x HTTP/1.1\r\nHost: a\r\nX: %s\r\n\r\n" % (b"b" * 1_000_000),
        b"GET /u/\x00\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
)
def test_floods_and_garbage_are_refused_and_the_service_goes_on(
    served: Served, request_bytes: bytes
) -> None:
    place = urlsplit(str(served.client.base_url))
    with socket.create_connection((str(place.hostname), int(str(place.port))), 10) as raw:
        threading.Thread(target=_send, args=(raw, request_bytes), daemon=True).start()
        status = raw.recv(64)

    assert status[:10] in (b"HTTP/1.1 4", b"")
    assert served.client.get(served.click()).status_code == 302


def _send(raw: socket.socket, content: bytes) -> None:
    try:
        raw.sendall(content)
    except OSError:
        return


def test_no_path_query_or_header_makes_it_fail(served: Served) -> None:
    text = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=60)

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(["t/o", "t/c", "u"]), st.sampled_from(["GET", "POST"]), text, text)
    def ask(room: str, method: str, token: str, header: str) -> None:
        answer = served.client.request(
            method,
            f"/{room}/{quote(token)}",
            headers={"User-Agent": header.strip().encode("latin-1")},
        )
        assert answer.status_code < 500

    ask()


def test_a_client_is_believed_only_through_a_trusted_proxy(serve: Serve) -> None:
    claims = {"X-Forwarded-For": "198.51.100.7, 203.0.113.9"}
    with serve() as plain:
        plain.client.get(plain.click(), headers=claims)
        assert plain.events(1)[0]["client"] == "127.0.0.1"
    with serve(trusted_proxies="127.0.0.1, 203.0.113.0/24") as proxied:
        proxied.client.get(proxied.click(), headers=claims)
        assert proxied.events(2)[1]["client"] == "198.51.100.7"
        proxied.client.get(proxied.click(), headers={"X-Forwarded-For": "<script>"})
        assert proxied.events(3)[2]["client"] is None


def test_proxies_to_trust_are_addresses_or_networks() -> None:
    assert trusted_proxies(" 10.0.0.1, ::1,10.1.0.0/16 ,") == ["10.0.0.1", "::1", "10.1.0.0/16"]
    for text in ("*", "proxy.example", "10.0.0.1/8"):
        with pytest.raises(BadInput, match="AICMO_TRUSTED_PROXIES"):
            trusted_proxies(text)


def test_while_the_database_is_stopped_nothing_is_delayed_refused_or_lost(serve: Serve) -> None:
    """An exclusive lock stands for a database that does not answer."""
    with serve() as served:
        served.client.get(served.pixel())
        served.events(1)
        with served.database.engine.connect() as blocker:
            _lock(blocker)
            answers = [served.client.get(served.click()).status_code for _ in range(20)]
            objection = served.client.post(served.page(), timeout=30)
            blocker.rollback()

        assert set(answers) == {302}
        assert objection.status_code == 200
        kinds = [event["kind"] for event in served.events(22)]
        assert sorted(kinds) == ["click"] * 20 + ["open", "unsubscribe"]
        assert is_suppressed(served)


def _lock(connection: sa.Connection) -> None:
    if connection.dialect.name == "sqlite":
        connection = connection.execution_options(sqlite_begin="EXCLUSIVE")
        connection.begin()
    else:
        connection.execute(
            sa.text("LOCK TABLE events, links, suppressions, raw_leads IN ACCESS EXCLUSIVE MODE")
        )


def test_events_that_were_spooled_before_a_restart_arrive(serve: Serve) -> None:
    with serve() as served, served.database.engine.connect() as blocker:
        _lock(blocker)
        served.client.get(served.click())
        # The service stops while the database does not answer.
        blocker.rollback()
    with serve() as again:
        assert len(again.events(1)) == 1


def test_the_description_of_the_service_is_open_api_3_1(served: Served) -> None:
    document = served.client.get("/openapi.json").json()

    assert document["openapi"].startswith("3.1")
    public = {path for path in document["paths"] if not path.startswith(BASE)}
    for_recipients = {"/t/o/{token}", "/t/c/{token}", "/u/{token}"}
    assert public == for_recipients | {"/hooks/{provider}", "/metrics", "/health/live"}


def test_a_cookie_is_neither_needed_nor_set(served: Served) -> None:
    for path in (served.page(), served.click(), served.pixel()):
        assert (
            "set-cookie"
            not in httpx.get(f"{served.client.base_url}{path}", trust_env=False).headers
        )
