"""HTTP to where an operator points us, and nowhere inside: private addresses are refused.

The address is looked at once the connection stands, so that no name can be changed in between; a
URL that names a private one can be told before.
Not here: what is sent (`webhooks`, `hubspot`).
"""

from ipaddress import IPv4Address, IPv6Network, ip_address
from socket import inet_aton, inet_ntoa, socket
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError

TIMEOUT_SECONDS = 20

_TRANSLATED = IPv6Network("64:ff9b::/96")
"""What a gateway takes for the IPv4 address in its last 32 bits (RFC 6052)."""

_RELAYED = tuple(map(IPv6Network, ("2002::/16", "2001::/32", "64:ff9b:1::/48", "::/96")))
"""What may lead to an IPv4 address inside by other ways, which nobody needs: 6to4, Teredo, a
network's own translation, IPv4-compatible addresses. Not every Python calls them private."""


class PrivateAddress(NewConnectionError):
    """The host leads to an address that is not on the public internet."""


def is_private_host(host: str) -> bool:
    """Whether `host` is a private address, however it is written, or a name of this machine.

    Where any other name leads is told once a connection stands.

    Args:
        host: Of a URL, without brackets.
    """
    name = host.lower().removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = inet_ntoa(inet_aton(name))  # which takes 127.1, 0x7f000001 and 2130706433, too
    except OSError:
        address = name
    try:
        return not _is_public(address)
    except ValueError:
        return False


def _is_public(address: str) -> bool:
    found = ip_address(address.partition("%")[0])
    if found in _TRANSLATED:
        found = IPv4Address(int(found) & 0xFFFF_FFFF)
    return found.is_global and not any(found in network for network in _RELAYED)


def _checked(connection: Any, opened: socket) -> socket:
    if not _is_public(opened.getpeername()[0]):
        opened.close()
        raise PrivateAddress(connection, "the host's address is private")
    return opened


class _PublicHttp(HTTPConnection):
    def _new_conn(self) -> socket:
        return _checked(self, super()._new_conn())


class _PublicHttps(HTTPSConnection):
    def _new_conn(self) -> socket:
        return _checked(self, super()._new_conn())


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _PublicHttp


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _PublicHttps


class _PublicOnly(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}


def open_session(*, allow_private: bool) -> requests.Session:
    """A session that follows no proxy of the environment, and reaches no private address."""
    session = requests.Session()
    session.trust_env = False
    if not allow_private:
        for scheme in ("http://", "https://"):
            session.mount(scheme, _PublicOnly())
    return session


def is_private_refusal(error: BaseException) -> bool:
    """Whether `error` comes of a private address."""
    seen: BaseException | None = error
    while seen is not None:
        reason = getattr(seen.args[0], "reason", None) if seen.args else None
        if isinstance(seen, PrivateAddress) or isinstance(reason, PrivateAddress):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
