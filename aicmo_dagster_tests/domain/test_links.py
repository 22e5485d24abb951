from hypothesis import given
from hypothesis import strategies as st

from aicmo_dagster.domain.links import (
    Place,
    click_token,
    link_name,
    open_token,
    read_click_token,
    read_open_token,
    read_unsubscribe_token,
)
from aicmo_dagster.domain.tokens import unsubscribe_token

KEY, OTHER_KEY = b"a key", b"another key"
LEAD = "0123456789abcdef0123"
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


def test_the_same_link_has_one_name_in_a_campaign_and_another_elsewhere() -> None:
    url = "https://acme.example"

    assert link_name(KEY, "spring", url) == link_name(KEY, "spring", url)
    assert link_name(KEY, "spring", url) != link_name(KEY, "autumn", url)
    assert link_name(KEY, "spring", url) != link_name(OTHER_KEY, "spring", url)
    assert link_name(KEY, "spring", url, LEAD) != link_name(KEY, "spring", url)
