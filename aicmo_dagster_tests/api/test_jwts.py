from datetime import timedelta

import jwt
import pytest

from aicmo_dagster.api import jwts
from aicmo_dagster_tests.samples import NOON, SECRET

CLAIMS = {"sub": "abc", "role": "viewer", "campaigns": None}
MINUTE = timedelta(minutes=1)


def test_what_was_signed_is_read_until_it_ends() -> None:
    text = jwts.sign(SECRET, CLAIMS, NOON, MINUTE)

    read = jwts.read(SECRET, text, NOON)
    assert read is not None
    assert {name: read[name] for name in CLAIMS} == CLAIMS
    assert jwts.read(SECRET, text, NOON + MINUTE) is None
    assert jwts.read(SECRET, text, NOON - MINUTE) is None


def test_the_key_of_the_last_month_still_reads_and_older_ones_do_not() -> None:
    text = jwts.sign(SECRET, CLAIMS, NOON, timedelta(days=365))

    assert jwts.read(SECRET, text, NOON + timedelta(days=30)) is not None
    assert jwts.read(SECRET, text, NOON + timedelta(days=60)) is None


def test_two_months_have_keys_of_their_own() -> None:
    text = jwts.sign(SECRET, CLAIMS, NOON, timedelta(days=365))
    head, body, signature = text.split(".")
    other = jwts.sign(SECRET, CLAIMS, NOON + timedelta(days=30), MINUTE).split(".")[0]

    assert head != other
    assert jwts.read(SECRET, f"{other}.{body}.{signature}", NOON + timedelta(days=30)) is None


def test_no_other_algorithm_or_claim_is_taken() -> None:
    text = jwts.sign(SECRET, CLAIMS, NOON, MINUTE)
    kid = jwt.get_unverified_header(text)["kid"]
    whole = jwt.decode(text, options={"verify_signature": False})
    unsigned = jwt.encode(whole, None, "none", headers={"kid": kid})
    key = jwts._key(SECRET, int(kid))
    other = jwt.encode(whole, key * 2, "HS512", headers={"kid": kid})
    foreign = jwt.encode({**whole, "aud": "other"}, key, "HS256", headers={"kid": kid})

    for each in (unsigned, other, foreign):
        assert jwts.read(SECRET, each, NOON) is None


@pytest.mark.parametrize("text", ["", ".", "a.b.c", "e30.e30.", "\x00", "é.é.é"])
def test_garbage_is_no_jwt(text: str) -> None:
    assert jwts.read(SECRET, text, NOON) is None
