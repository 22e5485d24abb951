import base64
from email.headerregistry import HeaderRegistry
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicmo_dagster.domain.tokens import (
    address_key,
    address_keys,
    domain_key,
    message_id,
    normal_address,
    unsubscribe_token,
)

KEY, OTHER_KEY = b"a key", b"another key"
LEAD = "0123456789abcdef0123"


def test_a_send_always_has_the_same_message_id() -> None:
    made = [message_id(KEY, "spring", LEAD, "intro", "acme.example") for _ in range(2)]

    assert made[0] == made[1]


def test_whatever_differs_makes_another_message_id() -> None:
    ids = {
        message_id(KEY, "spring", LEAD, "intro", "acme.example"),
        message_id(OTHER_KEY, "spring", LEAD, "intro", "acme.example"),
        message_id(KEY, "autumn", LEAD, "intro", "acme.example"),
        message_id(KEY, "spring", LEAD[::-1], "intro", "acme.example"),
        message_id(KEY, "spring", LEAD, "nudge", "acme.example"),
        message_id(KEY, "spring", LEAD, "intro", "beta.example"),
    }

    assert len(ids) == 6


def test_a_message_id_is_one_that_mail_servers_take() -> None:
    made = message_id(KEY, "spring", LEAD, "intro", "acme.example")
    header = HeaderRegistry()("Message-ID", made)

    assert not header.defects
    assert str(header) == made
    assert made.isascii()
    assert made.endswith("@acme.example>")


def test_a_message_id_gives_nobody_away() -> None:
    made = message_id(KEY, "spring", LEAD, "intro", "acme.example")

    assert LEAD not in made
    assert "spring" not in made


def test_an_unsubscribe_token_names_the_lead_and_is_signed() -> None:
    named, _, signature = unsubscribe_token(KEY, "spring", LEAD).partition(".")
    padded = named + "=" * (-len(named) % 4)

    assert base64.urlsafe_b64decode(padded).decode() == f"spring/{LEAD}"
    assert len(signature) == 22


def test_nobody_without_the_key_can_make_an_unsubscribe_token() -> None:
    signatures = {
        unsubscribe_token(*parts).partition(".")[2]
        for parts in [(KEY, "spring", LEAD), (OTHER_KEY, "spring", LEAD), (KEY, "a", LEAD)]
    }

    assert len(signatures) == 3


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    st.binary(min_size=1), st.text("abz09-", min_size=1), st.text("0af", min_size=20, max_size=20)
)
def test_an_unsubscribe_token_can_stand_in_a_link(key: bytes, campaign: str, lead: str) -> None:
    token = unsubscribe_token(key, campaign, lead)

    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")


def test_many_addresses_have_the_keys_that_each_has() -> None:
    addresses = ["ida@acme.example", "zoë@acme.example", "ida@acme.example"]

    made = address_keys(KEY, [addresses[0], None, *addresses[1:]])

    assert made == [
        address_key(KEY, addresses[0]),
        None,
        *(address_key(KEY, a) for a in addresses[1:]),
    ]


def test_what_a_key_makes_for_one_purpose_serves_no_other() -> None:
    made = [
        address_key(KEY, "acme.example"),
        domain_key(KEY, "acme.example"),
        address_key(OTHER_KEY, "acme.example"),
        address_key(KEY, "ida@acme.example"),
    ]

    assert all(one != other for one, other in combinations(made, 2))
    assert {len(one) for one in made} == {64}


ADDRESSES = {
    " Ida@ACME.example ": "ida@acme.example",
    "ida+news@acme.example": "ida+news@acme.example",
    "ida@Bücher.example": "ida@xn--bcher-kva.example",
    "ÅSE@acme.example": "åse@acme.example",
    "no address": "no address",
    "A@B": "a@b",
    "": "",
}


@pytest.mark.parametrize(("typed", "expected"), ADDRESSES.items())
def test_an_address_has_one_spelling(typed: str, expected: str) -> None:
    assert normal_address(typed) == expected


@settings(derandomize=True, deadline=None, max_examples=200)
@given(
    st.emails()
    | st.builds(
        "{}@{}.example".format, st.text(min_size=1, max_size=6), st.text("aÄßİΣ-1", min_size=1)
    )
)
def test_the_one_spelling_is_that_of_itself(address: str) -> None:
    """Leads carry the spelling, and a suppression of what they carry must find them."""
    spelling = normal_address(address)

    assert normal_address(spelling) == spelling
