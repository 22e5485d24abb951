"""Keyed names derived from a lead: message ids, unsubscribe tokens, hashes of who it is.

All are HMAC-SHA256 under the installation's secret key, so that nobody else can make or guess one,
and the same lead always gets the same. Not here: where the key is kept (`settings`).
"""

import base64
import binascii
import hmac
from collections.abc import Iterable
from typing import Literal

from email_validator import EmailNotValidError, ValidatedEmail, validate_email

from aicmo_dagster.errors import BadInput, Problem

Suppressed = Literal["address", "domain"]

_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_MARK = "\x1f"


def message_id(key: bytes, campaign: str, lead_id: str, step: str, host: str) -> str:
    """The Message-ID of a send; the same send always has the same (RFC 5322, section 3.6.4)."""
    return f"<{_digest(key, 'message', campaign, lead_id, step).hex()[:32]}@{host}>"


def unsubscribe_token(key: bytes, campaign: str, lead_id: str) -> str:
    """What the unsubscribe link carries: the lead, and a signature that no one else can make."""
    signature = _digest(key, "unsubscribe", campaign, lead_id)[:16]
    named = f"{campaign}/{lead_id}".encode()
    return f"{url_safe(named)}.{url_safe(signature)}"


def address_key(key: bytes, address: str) -> str:
    """The keyed hash that an address is suppressed by.

    Args:
        key: The installation's secret key.
        address: As `normal_address` gives it, which is how leads carry it.
    """
    return _digest(key, "address", address).hex()


def address_keys(key: bytes, addresses: Iterable[str | None]) -> list[str | None]:
    """`address_key` of each of many addresses; None of none."""
    digest, start = hmac.digest, f"address{_MARK}".encode()
    return [
        None if address is None else digest(key, start + address.encode(), "sha256").hex()
        for address in addresses
    ]


def domain_key(key: bytes, domain: str) -> str:
    """The keyed hash that a domain, in lower case, is suppressed by."""
    return _digest(key, "domain", domain).hex()


def suppression_key(key: bytes, target: str, where: str) -> tuple[Suppressed, str]:
    """What `target`, an address or a domain, is suppressed as, and the keyed hash of it.

    Raises:
        BadInput: If it is neither; its text does not repeat it. `where` names the input.
    """
    address, domain = target.strip(), target.strip().removeprefix("@")
    if valid_address(address):
        return "address", address_key(key, normal_address(address))
    if valid_address(probe := f"anyone@{domain}"):
        return "domain", domain_key(key, normal_address(probe).partition("@")[2])
    expected = "an address, or a domain such as acme.example"
    raise BadInput(Problem(where, "", "text that is neither", expected))


def identity_key(key: bytes, kind: str, identity: str) -> str:
    """The keyed hash that an erased person's identity is known by, so that it is not stored again.

    Args:
        key: The installation's secret key.
        kind: Of identity, such as linkedin.
        identity: In its one spelling.
    """
    return _digest(key, "identity", kind, identity).hex()


def identity_keys(key: bytes, kind: str, identities: Iterable[str]) -> list[str]:
    """`identity_key` of each of many identities."""
    return _hashes(key, f"identity{_MARK}{kind}{_MARK}", identities)


def person_key(key: bytes, provider: str, identity: str) -> str:
    """The keyed hash that a provider's answer about a person is kept under, in all campaigns.

    Args:
        key: The installation's secret key.
        provider: Whom the person is asked of.
        identity: What the provider knows the person by, in its one spelling.
    """
    return _digest(key, "person", provider, identity).hex()


def person_keys(key: bytes, provider: str, identities: Iterable[str]) -> list[str]:
    """`person_key` of each of many identities."""
    return _hashes(key, f"person{_MARK}{provider}{_MARK}", identities)


def environment_key(key: bytes, public_url: str) -> str:
    """The keyed hash that tells installations apart that must not send each other's mail."""
    return _digest(key, "environment", public_url).hex()


def subscription_secret(key: bytes, webhook: str) -> str:
    """What events to a webhook are signed with, in the form that Standard Webhooks prescribes."""
    return f"whsec_{base64.b64encode(_digest(key, 'subscription', webhook)).decode()}"


def hook_key(key: bytes, provider: str) -> str:
    """What a provider that signs nothing must name when it calls back."""
    return _digest(key, "hook", provider).hex()[:32]


def url_safe(raw: bytes) -> str:
    """`raw` in base64 for URLs (RFC 4648, section 5), without padding."""
    # In one pass what base64.urlsafe_b64encode and a look for the padding do in four.
    return binascii.b2a_base64(raw, newline=False).translate(_URL_SAFE, b"=").decode("ascii")


def normal_address(address: str) -> str:
    """`address` trimmed, in lower case, with its domain in ASCII; as typed if it is not valid."""
    found = _validated(address)
    return f"{found.local_part}@{found.ascii_domain}".lower() if found else address.strip().lower()


def valid_address(address: str) -> bool:
    """Whether `address` is one."""
    return _validated(address) is not None


def _validated(address: str) -> ValidatedEmail | None:
    try:
        return validate_email(
            address.strip(), check_deliverability=False, test_environment=True, strict=True
        )
    except EmailNotValidError:
        return None


def _digest(key: bytes, *parts: str) -> bytes:
    return hmac.digest(key, _MARK.join(parts).encode(), "sha256")


def _hashes(key: bytes, start: str, texts: Iterable[str]) -> list[str]:
    """The keyed hash of `start` and each of `texts`."""
    digest, begun = hmac.digest, start.encode()
    return [digest(key, begun + text.encode(), "sha256").hex() for text in texts]
