"""DKIM signatures (RFC 6376; Ed25519: RFC 8463) over messages that `messages` has built.

`cryptography` signs: the pure Python of dkimpy takes twenty times as long with an RSA key. dkimpy
verifies in the tests. Not here: publishing the key, or where the settings come from (`settings`).
"""

import base64
import hashlib
import re
from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from aicmo_dagster.errors import AicmoError, BadInput, Problem

_VARIABLE = "AICMO_DKIM_KEY_FILE"
_LEAST_BITS = 1024
"""RFC 8301: verifiers take no RSA signature by a shorter key."""

_OVERSIGNED = (
    *("from", "to", "cc", "reply-to", "subject", "date", "message-id"),
    *("in-reply-to", "references", "list-id", "list-unsubscribe", "list-unsubscribe-post"),
    *("feedback-id", "mime-version", "content-type"),
)
"""Signed once more than they occur, so that nobody can add one; RFC 8058 demands two of them."""

_FIELD = re.compile(rb"([!-9;-~]+):((?:[^\r\n]|\r\n[ \t])*)\r\n")
_LINE = 72


class Signer:
    """Signs for one domain.

    Args:
        domain: The signing domain, `d=`.
        selector: Names the key in the domain's DNS, `s=`.
        key: A private key in PEM: RSA of 1024 bits or more, or Ed25519.

    Raises:
        BadInput: If `key` is none of these.
    """

    def __init__(self, domain: str, selector: str, key: bytes) -> None:
        self.domain = domain
        self._key = _loaded(key)
        algorithm = "rsa-sha256" if isinstance(self._key, RSAPrivateKey) else "ed25519-sha256"
        self._tags = f"v=1; a={algorithm}; c=relaxed/simple;\r\n d={domain}; s={selector};"

    def covers(self, address: str) -> bool:
        """Whether a message from `address` is aligned with the signature (RFC 7489, relaxed)."""
        domain = address.rpartition("@")[2].lower()
        ours = self.domain.lower()
        return domain == ours or domain.endswith(f".{ours}") or ours.endswith(f".{domain}")

    def signed(self, content: bytes, timestamp: int) -> bytes:
        """`content` below its DKIM-Signature, which for the same arguments is always the same.

        Args:
            content: A message with CRLF line ends.
            timestamp: Seconds since 1970, `t=`.
        """
        head, _, body = content.partition(b"\r\n\r\n")
        fields = _relaxed_fields(head + b"\r\n")
        taken = [line for name in _OVERSIGNED for line in reversed(fields.get(name, ()))]
        listed = _listed(tuple(len(fields.get(name, ())) for name in _OVERSIGNED))
        digest = base64.b64encode(hashlib.sha256(_simple_body(body)).digest()).decode()
        unsigned = f"{self._tags} t={timestamp};\r\n h={listed};\r\n bh={digest};\r\n b="
        canonical = f"dkim-signature:{' '.join(unsigned.split())}".encode("ascii")
        signature = base64.b64encode(self._signature(b"".join(taken) + canonical)).decode()
        lines = [signature[i : i + _LINE] for i in range(0, len(signature), _LINE)]
        header = f"DKIM-Signature: {unsigned}" + "\r\n ".join(lines)
        return b"%s\r\n%s" % (header.encode("ascii"), content)

    def _signature(self, data: bytes) -> bytes:
        if isinstance(self._key, RSAPrivateKey):
            return self._key.sign(data, PKCS1v15(), SHA256())
        return self._key.sign(hashlib.sha256(data).digest())


def read_signer(domain: str, selector: str, key_file: Path) -> Signer:
    """A signer with the key in `key_file`.

    Raises:
        BadInput: If the file cannot be read or holds no key to sign with; never quotes it.
    """
    try:
        key = key_file.read_bytes()
    except OSError as error:
        found = f"{key_file}, which cannot be read ({error.strerror})"
        raise BadInput(Problem(_VARIABLE, "", found, "a private key in PEM")) from None
    return Signer(domain, selector, key)


def require_alignment(signer: Signer, sender: str) -> None:
    """Nothing; mail from `sender` may be signed by `signer`.

    Raises:
        AicmoError: If its domain is another one: DMARC would count the signature for nothing.
    """
    if not signer.covers(sender):
        raise AicmoError(
            f"AICMO_DKIM_DOMAIN: {signer.domain} is not aligned with the sender's domain "
            f"{sender.rpartition('@')[2]}; sign with that domain, or change nurture.sender.address"
        )


def _loaded(key: bytes) -> RSAPrivateKey | Ed25519PrivateKey:
    expected = f"a private key in PEM without a password: RSA ({_LEAST_BITS} bits up) or Ed25519"
    try:
        loaded = load_pem_private_key(key, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        found = "a file that holds none that can be read"
        raise BadInput(Problem(_VARIABLE, "", found, expected)) from None
    if isinstance(loaded, RSAPrivateKey) and loaded.key_size >= _LEAST_BITS:
        return loaded
    if isinstance(loaded, Ed25519PrivateKey):
        return loaded
    raise BadInput(Problem(_VARIABLE, "", "a key of another kind or size", expected))


def _relaxed_fields(head: bytes) -> dict[str, list[bytes]]:
    """Each header's lines in relaxed form (RFC 6376, section 3.4.2), by its name in lower case."""
    fields: dict[str, list[bytes]] = {}
    for name, value in _FIELD.findall(head):
        name = name.lower()
        line = b"%s:%s\r\n" % (name, b" ".join(value.split()))
        fields.setdefault(name.decode("ascii"), []).append(line)
    return fields


@lru_cache(maxsize=256)
def _listed(counts: tuple[int, ...]) -> str:
    """`h=` where each of `_OVERSIGNED` occurs as often; the messages of a template are alike."""
    names = [name for name, n in zip(_OVERSIGNED, counts, strict=True) for _ in range(n + 1)]
    return "\r\n ".join(_wrapped(":".join(names), ":"))


def _simple_body(body: bytes) -> bytes:
    """`body` in simple form: one line end at its end, whatever empty lines there are."""
    while body.endswith(b"\r\n\r\n"):
        body = body[:-2]
    return body if body.endswith(b"\r\n") else body + b"\r\n"


def _wrapped(text: str, separator: str) -> list[str]:
    """`text` in lines that end with `separator`, but for the last."""
    lines = [""]
    for word in text.split(separator):
        if lines[-1] and len(lines[-1]) + len(word) > _LINE - 8:
            lines.append("")
        lines[-1] += f"{word}{separator}"
    lines[-1] = lines[-1].removesuffix(separator)
    return lines
