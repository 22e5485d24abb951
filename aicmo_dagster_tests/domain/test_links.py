import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aicmo_dagster.domain.bodies import convert
from aicmo_dagster.domain.links import (
    Place,
    click_token,
    link_name,
    open_token,
    read_click_token,
    read_open_token,
    read_unsubscribe_token,
    tracked,
)
from aicmo_dagster.domain.markdown import compile_message
from aicmo_dagster.domain.templates import PLAIN
from aicmo_dagster.domain.tokens import unsubscribe_token

KEY, OTHER_KEY = b"a key", b"another key"
LEAD = "0123456789abcdef0123"
PUBLIC = "https://t.acme.example"
NAMES = st.from_regex(r"[a-z0-9-]{1,64}", fullmatch=True)


@given(NAMES, NAMES, NAMES)
def test_a_token_is_read_back_as_what_it_was_made_of(campaign: str, step: str, link: str) -> None:
    click = click_token(KEY, campaign, LEAD, step, link)
    opened = open_token(KEY, campaign, LEAD, step)

    assert read_click_token(KEY, click) == Place(campaign, LEAD, step, link)
    assert read_open_token(KEY, opened) == Place(campaign, LEAD, step)
    assert read_unsubscribe_token(KEY, unsubscribe_token(KEY, campaign, LEAD)) == Place(
        campaign, LEAD
    )


@given(st.text(max_size=300))
def test_text_that_we_did_not_make_is_no_token(text: str) -> None:
    for read in (read_click_token, read_open_token, read_unsubscribe_token):
        assert read(KEY, text) is None


@given(st.integers(0, 200), st.characters())
def test_a_token_with_one_character_changed_is_no_token(at: int, other: str) -> None:
    token = click_token(KEY, "spring", LEAD, "intro", "x")
    at %= len(token)
    changed = token[:at] + other + token[at + 1 :]

    assert (read_click_token(KEY, changed) is None) == (changed != token)


def test_a_token_of_one_kind_or_key_is_none_of_another() -> None:
    click = click_token(KEY, "spring", LEAD, "intro", "x")
    opened = open_token(KEY, "spring", LEAD, "intro")
    objection = unsubscribe_token(KEY, "spring", LEAD)

    assert read_click_token(OTHER_KEY, click) is None
    assert read_open_token(KEY, click) is None
    assert read_click_token(KEY, opened) is None
    assert read_unsubscribe_token(KEY, opened) is None
    assert read_open_token(KEY, objection) is None


def test_a_token_fits_into_a_line_of_a_message() -> None:
    longest = click_token(KEY, "c" * 64, LEAD, "s" * 64, link_name(KEY, "c", "https://x.example"))

    assert len(longest) <= 300


def follow(html: str, targets: dict[str, str]) -> list[str]:
    """Where each tracked link of `html` leads."""
    tokens = re.findall(rf"{PUBLIC}/t/c/([\w.-]+)", html)
    places = [read_click_token(KEY, token) for token in tokens]
    return [targets[str(place.link)] for place in places if place]


def track(html: str) -> tuple[str, dict[str, str]]:
    made = tracked(html, key=KEY, public_url=PUBLIC, campaign="s", lead_id=LEAD, step="intro")
    return made.html, made.targets


def test_every_link_of_a_real_message_goes_by_way_of_us_but_the_one_to_unsubscribe() -> None:
    body = (
        "See [our *offer*](https://acme.example/?a=1&b=2), <https://b.example>, [x](mailto:a@b.c)"
    )
    tokens = {
        "sender": {"name": "Ida", "postal_address": "Kai 7"},
        "unsubscribe_url": f"{PUBLIC}/u/abc.def",
    }
    html = compile_message("Hello", body).render(tokens).html

    linked, targets = track(html)

    assert follow(linked, targets) == ["https://acme.example/?a=1&b=2", "https://b.example"]
    assert f'href="{PUBLIC}/u/abc.def"' in linked
    assert 'href="mailto:a@b.c"' in linked
    assert "acme.example/?a" not in linked
    assert linked.count("<img ") == 1
    assert linked.index("<img ") < linked.index("</body>")


@pytest.mark.parametrize("html", ["", "<p>no links</p>", "</body></body>", "<a name='x'>y</a>"])
def test_html_of_any_shape_gets_one_pixel_and_keeps_the_rest(html: str) -> None:
    linked, targets = track(html)

    assert linked.count("<img ") == 1
    assert re.sub(r"<img [^>]*>", "", linked) == html
    assert targets == {}


def test_the_same_link_has_one_name_in_a_campaign_and_another_elsewhere() -> None:
    url = "https://acme.example"

    assert link_name(KEY, "spring", url) == link_name(KEY, "spring", url)
    assert link_name(KEY, "spring", url) != link_name(KEY, "autumn", url)
    assert link_name(KEY, "spring", url) != link_name(OTHER_KEY, "spring", url)


def test_markdown_writes_links_in_the_shape_that_is_tracked() -> None:
    assert 'href="https://acme.example"' in convert("[x](https://acme.example)", PLAIN).html
