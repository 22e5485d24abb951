"""The dashboard's pages without a browser: who gets in, what is said to the browser, files."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from aicmo_dagster.api import jwts
from aicmo_dagster.api.sessions import COOKIE, LONGEST
from aicmo_dagster.store.campaigns import apply_campaign
from aicmo_dagster_tests.api.rest import Rest
from aicmo_dagster_tests.samples import SECRET, campaign


def signed_in(rest: Rest, who: str = "viewer", **headers: str) -> str:
    """The cookie of a session."""
    form = {"token": rest.tokens.get(who, who), "next": "/dashboard/spring"}
    answer = rest.client.post("/login", data=form, headers=headers)
    assert answer.status_code == 303, answer.text
    assert answer.headers["location"] == "/dashboard/spring"
    told = answer.headers["set-cookie"]
    assert "HttpOnly" in told
    assert "SameSite=strict" in told
    rest.client.cookies.clear()
    return told.split(";")[0].removeprefix(f"{COOKIE}=")


def get(rest: Rest, path: str, cookie: str | None = None) -> httpx.Response:
    headers = {} if cookie is None else {"Cookie": f"{COOKIE}={cookie}"}
    return rest.client.get(path, headers=headers)


def test_without_a_session_every_page_leads_to_the_login(rest: Rest) -> None:
    for path in ("/dashboard", "/dashboard/spring"):
        answer = get(rest, path)
        assert (answer.status_code, answer.headers["location"]) == (303, f"/login?next={path}")


@pytest.mark.parametrize(
    "path", ["//evil.example", "https://evil.example/", "/u/x", "/dashboard/A"]
)
def test_the_login_leads_nowhere_but_to_our_pages(rest: Rest, path: str) -> None:
    assert 'value="/dashboard"' in rest.client.get("/login", params={"next": path}).text

    answer = rest.client.post("/login", data={"token": rest.tokens["viewer"], "next": path})
    rest.client.cookies.clear()

    assert answer.headers["location"] == "/dashboard"


def test_only_a_token_that_stands_signs_in(rest: Rest) -> None:
    jwt = rest.ask("viewer", "POST", "/auth/token").json()["access_token"]
    for text in ("", "aicmo_x_y", jwt, "x" * 10_000):
        answer = rest.client.post("/login", data={"token": text})
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers


def test_a_form_of_another_site_signs_nobody_in_or_out(rest: Rest) -> None:
    form = {"token": rest.tokens["viewer"]}
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert rest.client.post("/login", data=form, headers=headers).status_code == 401
        assert rest.client.post("/logout", headers=headers).status_code == 403


def test_a_page_says_to_the_browser_that_nothing_comes_from_elsewhere(rest: Rest) -> None:
    answer = get(rest, "/dashboard/spring", signed_in(rest))

    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; " in policy
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "private, no-cache"
    assert " style=" not in answer.text
    assert "onclick" not in answer.text


def test_a_limited_token_sees_its_campaigns_and_no_other(rest: Rest) -> None:
    cookie = signed_in(rest, "limited")

    assert get(rest, "/dashboard/spring", cookie).status_code == 200
    assert get(rest, "/dashboard/autumn", cookie).status_code == 404
    assert get(rest, "/dashboard/none", cookie).status_code == 404
    overview = get(rest, "/dashboard", cookie).text
    assert "/dashboard/spring" in overview
    assert "/dashboard/autumn" not in overview
    every = get(rest, "/dashboard", signed_in(rest)).text
    assert "/dashboard/autumn" in every


def test_campaigns_are_found_by_a_part_of_their_key(rest: Rest) -> None:
    page = get(rest, "/dashboard?find=utum", signed_in(rest)).text

    assert "/dashboard/autumn" in page
    assert 'href="/dashboard/spring"' not in page


def test_the_cookie_of_a_session_only_reads(rest: Rest) -> None:
    cookie = signed_in(rest, "admin")

    claims = jwts.read(SECRET, cookie, datetime.now(UTC))

    assert claims is not None
    assert claims["role"] == "viewer"


def test_a_session_is_renewed_for_twelve_hours_and_no_longer(rest: Rest) -> None:
    now = datetime.now(UTC)
    token_id = rest.tokens["viewer"].split("_")[1]
    for begun, renewed in ((timedelta(hours=1), True), (LONGEST, False)):
        claims: dict[str, Any] = {"sub": token_id, "role": "viewer", "campaigns": None}
        claims["session"] = (now - begun).timestamp()
        cookie = jwts.sign(SECRET, claims, now - timedelta(minutes=10), jwts.LONGEST)
        answer = get(rest, "/dashboard/spring", cookie)
        assert answer.status_code == 200
        assert ("set-cookie" in answer.headers) == renewed
    rest.client.cookies.clear()


def test_a_jwt_of_the_api_is_no_session(rest: Rest) -> None:
    jwt = rest.ask("viewer", "POST", "/auth/token").json()["access_token"]

    assert get(rest, "/dashboard/spring", jwt).status_code == 303


def test_signing_out_takes_the_cookie(rest: Rest) -> None:
    answer = rest.client.post("/logout", headers={"Cookie": f"{COOKIE}={signed_in(rest)}"})

    assert answer.headers["location"] == "/login"
    assert 'aicmo_session=""' in answer.headers["set-cookie"]
    assert "Max-Age=0" in answer.headers["set-cookie"]


def test_what_a_campaign_is_called_is_text_and_no_markup(rest: Rest, tmp_path: Path) -> None:
    named = campaign("marked", name="<script>alert(1)</script>")
    with rest.workspace.database.write() as connection:
        apply_campaign(connection, named, {}, tmp_path, datetime.now(UTC))

    page = get(rest, "/dashboard/marked", signed_in(rest)).text

    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_files_are_kept_for_good_under_a_name_of_their_content(rest: Rest) -> None:
    page = rest.client.get("/login").text
    at = page.split('class="no-inline-styles" href="')[1].split('"')[0]

    answer = rest.client.get(at)

    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert "immutable" in answer.headers["cache-control"]
    plain = rest.client.get(at, headers={"Accept-Encoding": "identity"})
    assert plain.content == answer.content
    assert rest.client.get("/dashboard/files/setup.cfg").status_code == 404
