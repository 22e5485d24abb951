"""The DNS as far as mail needs it: exchangers and texts. Not here: what they mean.

No answer at all is told from the answer that there is nothing.
"""

from functools import cached_property
from typing import Protocol

import dns.exception
import dns.rdatatype
import dns.resolver

from aicmo_dagster.errors import AicmoError


class DnsUnavailable(AicmoError):
    """No name server answers, so that nothing is known."""


class Lookup(Protocol):
    """What answers questions about names."""

    def exchangers(self, domain: str) -> list[str]:
        """The hosts that take the domain's mail, the preferred one first; none if there are none.

        Raises:
            DnsUnavailable: If nobody answers.
        """
        ...

    def texts(self, name: str) -> list[str]:
        """The TXT records of `name`, each in one piece; none if there are none.

        Raises:
            DnsUnavailable: If nobody answers.
        """
        ...


class Dns:
    """The machine's name servers, or others.

    Args:
        servers: Their addresses; those that the machine is set up with if not given.
        port: The port they listen on.
        seconds: How long one question may take in all.
    """

    def __init__(
        self, servers: list[str] | None = None, *, port: int = 53, seconds: float = 3
    ) -> None:
        self._servers = servers
        self._port = port
        self._seconds = seconds

    def exchangers(self, domain: str) -> list[str]:
        """As `Lookup.exchangers`."""
        found = sorted(self._ask(domain, "MX"), key=lambda record: record.preference)
        return [record.exchange.to_text().rstrip(".").lower() for record in found]

    def texts(self, name: str) -> list[str]:
        """As `Lookup.texts`."""
        return [
            b"".join(record.strings).decode("utf-8", "replace") for record in self._ask(name, "TXT")
        ]

    @cached_property
    def _resolver(self) -> dns.resolver.Resolver:
        try:
            resolver = dns.resolver.Resolver(configure=self._servers is None)
        except dns.resolver.NoResolverConfiguration as error:
            raise DnsUnavailable("this machine has no name server") from error
        if self._servers is not None:
            resolver.nameservers = list(self._servers)
            resolver.port = self._port
        resolver.lifetime = self._seconds
        resolver.timeout = self._seconds
        return resolver

    def _ask(self, name: str, kind: str) -> list:
        try:
            return list(self._resolver.resolve(name, kind, search=False))
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        except dns.exception.DNSException as error:
            raise DnsUnavailable(
                f"no name server answers ({type(error).__name__}); see the machine's DNS settings"
            ) from error
