"""A client as far as we may know it: an address while it is judged, then its network only.

Not here: who may say what a client's address is (`api`), or judging (`nurture.engagement`).
"""

import hashlib
import hmac
from ipaddress import IPv4Address, ip_address, ip_network

LONGEST_AGENT = 512
_IPV4, _IPV6 = 24, 48


def address(host: str | None) -> str | None:
    """`host` as an IP address in its one spelling; nothing where it is none."""
    try:
        found = ip_address((host or "")[:64])
    except ValueError:
        return None
    mapped = getattr(found, "ipv4_mapped", None)
    return str(mapped or found)


def agent(text: str | None) -> str:
    """A User-Agent as every database takes it: printable, of bounded length."""
    bounded = (text or "")[:LONGEST_AGENT]
    return bounded if bounded.isprintable() else "".join(filter(str.isprintable, bounded))


def network(key: bytes, lead_id: str, client: str) -> str | None:
    """The network of `client`, and a mark that tells its addresses apart for this lead only.

    A verdict can so be reached again later, and nobody can be followed from lead to lead. /24 and
    /48 are what truncating an address is commonly taken to mean.
    """
    known = address(client)
    if known is None:
        return None
    length = _IPV4 if isinstance(ip_address(known), IPv4Address) else _IPV6
    whole = ip_network(f"{known}/{length}", strict=False)
    marked = hmac.new(key, f"client\x1f{lead_id}\x1f{known}".encode(), hashlib.sha256)
    return f"{whole}#{marked.hexdigest()[:6]}"
