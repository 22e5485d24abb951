"""Connections to a provider, and what it tells of a request that they broke.

Not here: requests, and what an answer means (`http`).
"""

import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import requests
import urllib3
from requests.adapters import HTTPAdapter

_CONNECTIONS = 32


@dataclass(frozen=True)
class Silence:
    """No whole answer: why, whether anything was sent, and whether another try may do better."""

    reason: str
    sent: bool = True
    passing: bool = True


def open_session(headers: Mapping[str, str]) -> requests.Session:
    """A session whose every request carries `headers`, and nothing that the machine knows."""
    session = requests.Session()
    session.headers.update({"User-Agent": "aicmo-dagster", "Accept": "application/json", **headers})
    session.auth = _as_it_is  # or requests would look for a password in ~/.netrc
    adapter = HTTPAdapter(pool_connections=1, pool_maxsize=_CONNECTIONS, max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def silence_of(error: Exception) -> Silence:
    """What an exception tells about the fate of the request."""
    causes = list(_causes(error))
    early = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)
    if any(isinstance(cause, (*early, urllib3.exceptions.ProxyError)) for cause in causes):
        return Silence("cannot be reached", sent=False)
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return Silence("its certificate is not valid", sent=False, passing=False)
    if any(isinstance(cause, ValueError | requests.exceptions.InvalidSchema) for cause in causes):
        return Silence("its URL or the request cannot be used", sent=False, passing=False)
    return Silence(kind_of(error))


def _causes(error: object) -> Iterator[BaseException]:
    """`error` and whatever exceptions it was made of."""
    if isinstance(error, BaseException):
        yield error
        for part in (*error.args, getattr(error, "reason", None)):
            yield from _causes(part)


def kind_of(error: Exception) -> str:
    """The kind of `error`, without its text, which may quote what was being sent."""
    late = (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError)
    timed_out = any(isinstance(cause, late) for cause in _causes(error))
    return "timed out" if timed_out else f"the connection broke ({type(error).__name__})"
