"""Signatures are made with `cryptography` and verified by dkimpy, which knows nothing of ours."""

import re
from collections.abc import Callable
from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from aicmo_dagster.errors import AicmoError, BadInput
from aicmo_dagster.mail.signing import Signer, read_signer, require_alignment
from aicmo_dagster_tests.mail.test_messages import build

DOMAIN, SELECTOR, AT = "acme.example", "spring", 1_772_358_600
Key = rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@pytest.fixture(scope="module", params=["rsa", "ed25519"])
def key(request: pytest.FixtureRequest) -> Key:
    if request.param == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ed25519.Ed25519PrivateKey.generate()


def pem(key: Key | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def published(key: Key) -> Callable[..., bytes]:
    """The DNS of the domain, which holds the key's public half."""
    import base64

    if isinstance(key, rsa.RSAPrivateKey):
        kind, form = "rsa", (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    else:
        kind, form = "ed25519", (Encoding.Raw, PublicFormat.Raw)
    public = base64.b64encode(key.public_key().public_bytes(*form)).decode()

    def answer(name: bytes, timeout: int = 5) -> bytes:
        assert name == f"{SELECTOR}._domainkey.{DOMAIN}.".encode()
        return f"v=DKIM1; k={kind}; p={public}".encode()

    return answer


def verified(content: bytes, key: Key) -> bool:
    return bool(dkim.verify(content, dnsfunc=published(key)))


def signed(key: Key, content: bytes) -> bytes:
    return Signer(DOMAIN, SELECTOR, pem(key)).signed(content, AT)


def test_a_signed_message_is_verified(key: Key) -> None:
    content = signed(key, build())
    assert content.endswith(build())
    assert verified(content, key)
    assert max(map(len, content.partition(b"\r\n\r\n")[0].split(b"\r\n"))) <= 78


def test_a_long_folded_thread_in_other_letters_is_verified(key: Key) -> None:
    thread = tuple(f"<{n:064}@a-very-long-host-name.acme.example>" for n in range(9))
    content = build(recipient_name="Åse  Ñ " * 20, in_reply_to=thread[-1], references=thread)
    assert verified(signed(key, content), key)


@pytest.mark.parametrize("end", [b"", b"\r\n", b"\r\n\r\n\r\n"])
def test_however_the_body_ends_it_is_verified(key: Key, end: bytes) -> None:
    content = b"From: ida@acme.example\r\nSubject:  x\t y \r\n\r\nbody" + end
    assert verified(signed(key, content), key)


@pytest.mark.parametrize(
    "tampered",
    [
        lambda content: content.replace(b"Hi Jo", b"Hi Al"),
        lambda content: content.replace(b"Pipeline hygiene", b"Pipeline"),
        lambda content: content.replace(b"List-Unsubscribe-Post: List-Uns", b"X: List-Uns"),
        lambda content: b"From: other@acme.example\r\n" + content,
        lambda content: b"Subject: other\r\n" + content,
        lambda content: b"Reply-To: other@acme.example\r\n" + content,
        lambda content: b"Cc: other@acme.example\r\n" + content,
        lambda content: b"List-Unsubscribe: <https://other.example>\r\n" + content,
    ],
)
def test_what_is_changed_or_added_is_found_out(key: Key, tampered: Callable[..., bytes]) -> None:
    content = tampered(signed(key, build()))
    assert not verified(content, key)


def test_one_click_unsubscription_is_covered_and_from_is_signed_twice(key: Key) -> None:
    header = signed(key, build()).partition(b"\r\n\r\n")[0]
    found = re.search(rb"h=([^;]*);", header)
    assert found is not None
    names = [name.strip() for name in found[1].split(b":")]
    assert names.count(b"from") == 2
    for name in (b"list-unsubscribe", b"list-unsubscribe-post", b"date", b"message-id", b"to"):
        assert name in names
    assert b" l=" not in header


def test_the_same_message_is_signed_the_same(key: Key) -> None:
    assert signed(key, build()) == signed(key, build())


def test_a_key_that_cannot_sign_is_refused_by_the_name_of_its_variable(tmp_path: Path) -> None:
    short = b"not a key"
    curve = pem(ec.generate_private_key(ec.SECP256R1()))
    locked = ed25519.Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    for name, content in (("short", short), ("curve", curve), ("locked", locked)):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(BadInput, match=r"^AICMO_DKIM_KEY_FILE: found .*; expected a private"):
            read_signer(DOMAIN, SELECTOR, path)
    with pytest.raises(BadInput, match=r"AICMO_DKIM_KEY_FILE.*cannot be read"):
        read_signer(DOMAIN, SELECTOR, tmp_path / "missing")


def test_the_signature_must_be_of_the_sender_s_domain(key: Key) -> None:
    signer = Signer("mail.acme.example", SELECTOR, pem(key))
    for aligned in ("ida@acme.example", "ida@mail.acme.example", "ida@x.mail.ACME.example"):
        require_alignment(signer, aligned)
    for other in ("ida@example", "ida@notacme.example", "ida@acme.example.org"):
        if other != "ida@example":
            with pytest.raises(AicmoError, match="AICMO_DKIM_DOMAIN"):
                require_alignment(signer, other)
