"""Requests to a provider's API, and what their failures mean: the one seam to the network here.

A request is repeated only where that can neither pay nor submit twice. Texts of errors hold no key,
nothing that was sent and no address. Not here: what an endpoint means (`apollo`, `dropcontact`), or
what the network's own errors tell (`connections`).
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3

from aicmo_dagster.errors import AicmoError, Transient
from aicmo_dagster.sources.connections import Silence, kind_of, open_session, silence_of
from aicmo_dagster.sources.passages import UNHINDERED, Passage
from aicmo_dagster.sources.refusals import Refusal, json_object, read_refusal, without

_CHUNK = 1 << 16
_BACK_OFF, _LONGEST_BACK_OFF = 0.5, 30.0
_KEY = re.compile(r"[!-~](?:[ -~]*[!-~])?")


class BadKey(AicmoError):
    """The provider does not know the key, or does not let it do this."""


class OutOfCredits(AicmoError):
    """The provider wants more credits than there are; nothing was charged.

    Args:
        text: What happened.
        left: The balance, if known.
    """

    def __init__(self, text: str, left: float | None = None) -> None:
        super().__init__(text)
        self.left = left


class RateLimited(AicmoError):
    """A limit is used up; the request was not processed.

    Args:
        text: What happened.
        until: Seconds after which it may be tried again; None if nobody knows.
        window: ``minute``, ``hour`` or ``day``, where the provider told which.
    """

    def __init__(self, text: str, until: float | None, window: str | None) -> None:
        super().__init__(text)
        self.until = until
        self.window = window


class Refused(AicmoError):
    """The provider refuses this request; as it is, it need not be tried again.

    Args:
        place: The request, for people.
        status: The status of the answer.
        code: The provider's own code, or nothing.
        text: What the provider says, without markup and without anything that was sent.
    """

    def __init__(self, place: str, status: int, code: str, text: str) -> None:
        said = ", ".join(part for part in (str(status), code) if part)
        super().__init__(f"{place} was refused ({said}): {text}".rstrip(": "))
        self.place = place
        self.status = status
        self.code = code
        self.text = text


class OutcomeUnknown(AicmoError):
    """A request that must not be repeated was sent, and no usable answer came: ask, do not repeat.

    It may have been processed, and paid for.
    """


class Unavailable(Transient):
    """The provider cannot be reached, or keeps failing at what is safe to repeat: try later."""


@dataclass(frozen=True)
class Answer:
    """What a provider answered to a request that it took.

    Args:
        status: 200 to 299.
        headers: By name in lower case.
        body: The JSON object.
    """

    status: int
    headers: Mapping[str, str]
    body: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class _Call:
    method: str
    path: str
    json: Any = field(repr=False)
    params: Mapping[str, str] | None = field(repr=False)
    repeatable: bool
    passage: Passage


@dataclass(frozen=True)
class _Reply:
    status: int
    headers: Mapping[str, str]
    content: bytes = field(repr=False)


@dataclass(frozen=True)
class _Trouble:
    """An error, and the seconds after which the request may be repeated; None if it may not."""

    error: AicmoError
    wait: float | None = None


class Http:
    """A provider's API over kept connections; may be shared by threads.

    Args:
        base_url: What paths are appended to.
        headers: Sent with each request; one of them holds the key.
        advice: What to do about a key that is refused.
        timeout: Seconds for a whole answer; a connection that is silent gets as much once more.
        max_bytes: The largest answer that is read.
        attempts: How often a request is sent at most, where it is safe to repeat.
        patience: The longest that a rate limit is waited for; a longer one is raised.
        sleep: Waits that many seconds.
        jitter: A random number from 0 to 1.
        clock: Seconds that never go back, such as `time.monotonic`.
    """

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str],
        *,
        advice: str,
        timeout: float = 60,
        max_bytes: int = 32 << 20,
        attempts: int = 4,
        patience: float = 60,
        sleep: Callable[[float], None],
        jitter: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._host = urlsplit(base_url).hostname or "the provider"
        self._advice = advice
        self._secrets = tuple(headers.values())
        self._timeout, self._max_bytes = timeout, max_bytes
        self._attempts, self._patience = attempts, patience
        self._sleep, self._jitter, self._clock = sleep, jitter, clock
        # requests would quote the key in its error, or fail in the middle of sending it.
        if not all(_KEY.fullmatch(value) for value in headers.values()):
            raise BadKey(f"{self._host}: the key is empty or holds characters that no key has")
        self._session = open_session(headers)

    def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, str] | None = None,
        repeatable: bool,
        passage: Passage = UNHINDERED,
    ) -> Answer:
        """The provider's answer.

        Args:
            method: GET, POST and so on.
            path: Below the base URL, with a slash at its beginning.
            json: The body, if any.
            params: The query, if any.
            repeatable: Whether processing the request twice does no more than once.
            passage: Its leave to go, each time that it is sent.

        Raises:
            AicmoError: One of this module, or `NotSent`; no other exception stands behind it.
        """
        call = _Call(method, path, json, params, repeatable, passage)
        attempt = 1
        while isinstance(outcome := self._attempt(call), _Trouble):
            if outcome.wait is None or attempt >= self._attempts:
                raise outcome.error
            back_off = min(_LONGEST_BACK_OFF, _BACK_OFF * 2**attempt)
            self._sleep(outcome.wait + self._jitter() * back_off)
            attempt += 1
        return outcome

    def close(self) -> None:
        """The connections are closed."""
        self._session.close()

    def _attempt(self, call: _Call) -> Answer | _Trouble:
        reply = self._exchange(call)
        if isinstance(reply, _Reply):
            return self._judged(call, reply)
        if reply.sent:
            return self._lost(call, reply.reason, passing=reply.passing)
        wait = 0.0 if reply.passing else None
        return _Trouble(Unavailable(f"{self._place(call)}: {reply.reason}; not sent"), wait)

    def _exchange(self, call: _Call) -> _Reply | Silence:
        """What comes back. Errors end here, since they quote the request with its key."""
        try:
            request = self._prepared(call)
        except (requests.RequestException, ValueError) as error:
            return silence_of(error)
        call.passage.leave()
        reply: _Reply | Silence | None = None
        try:
            reply = self._sent(request)
        finally:
            call.passage.land(_is_setback(call, reply))
        return reply

    def _prepared(self, call: _Call) -> requests.PreparedRequest:
        url = self._base_url + call.path
        wanted = requests.Request(call.method, url, json=call.json, params=call.params)
        return self._session.prepare_request(wanted)

    def _sent(self, request: requests.PreparedRequest) -> _Reply | Silence:
        deadline = self._clock() + self._timeout
        try:
            # Not the session, which reads cookies and looks for redirects that nobody follows.
            adapter = self._session.get_adapter(self._base_url)
            with adapter.send(request, timeout=self._timeout, **self._surroundings) as response:
                headers = {name.lower(): value for name, value in response.headers.items()}
                content = self._content(response, deadline)
                if isinstance(content, bytes):
                    return _Reply(response.status_code, headers, content)
                # A refusal is one even if its text is cut short.
                refused = 300 <= response.status_code < 500
                return _Reply(response.status_code, headers, b"") if refused else content
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            return silence_of(error)

    @cached_property
    def _surroundings(self) -> dict[str, Any]:
        """Proxies and certificates, the same for each request and slow to find out; streaming."""
        url, stream = self._base_url, True
        return {**self._session.merge_environment_settings(url, {}, stream, None, None)}

    def _content(self, response: requests.Response, deadline: float) -> bytes | Silence:
        content = bytearray()
        try:
            # Not iter_content, which a body that drips in keeps from ever looking at the clock.
            while chunk := response.raw.read1(_CHUNK, decode_content=True):
                content += chunk
                if len(content) > self._max_bytes:
                    reason = f"the answer is larger than {self._max_bytes} bytes"
                    return Silence(reason, passing=False)
                if self._clock() > deadline:
                    return Silence("timed out")
        except (urllib3.exceptions.HTTPError, OSError) as error:
            return Silence(kind_of(error))
        return bytes(content)

    def _judged(self, call: _Call, reply: _Reply) -> Answer | _Trouble:
        if reply.status < 300:
            body = json_object(reply.content)
            if body is not None:
                return Answer(reply.status, reply.headers, body)
            return self._lost(call, f"answered {reply.status} with no JSON object")
        if reply.status < 400:
            moved = "it redirects, which is not followed since the key would travel"
            return _Trouble(Refused(self._place(call), reply.status, "redirect", moved))
        said = read_refusal(reply.headers, reply.content)
        ours = {*self._secrets, *_strings(call.json), *_strings(call.params)}
        text = without(said.text, ours)
        if reply.status == 408 or reply.status >= 500:
            return self._lost(call, f"answered {reply.status}: {text}".rstrip(": "))
        return self._refused(self._place(call), reply.status, replace(said, text=text))

    def _refused(self, place: str, status: int, said: Refusal) -> _Trouble:
        """A request that was not processed."""
        if status == 401:
            why = f"the key was refused ({said.text or 401})"
            return _Trouble(BadKey(f"{place}: {why}; {self._advice}"))
        if status == 402:
            return _Trouble(OutOfCredits(f"{place}: credits are used up ({said.text or 402})"))
        if status != 429:
            return _Trouble(Refused(place, status, said.code, said.text))
        named = f" a {said.window}" if said.window else ""
        free = "" if said.until is None else f"; free in {said.until:.0f} s"
        text = f"{place}: the limit of requests{named} is used up{free}"
        # Without a word about it, the limit may well be one of seconds.
        wait = said.until or 0.0
        error = RateLimited(text, said.until, said.window)
        return _Trouble(error, wait if wait <= self._patience else None)

    def _lost(self, call: _Call, reason: str, *, passing: bool = True) -> _Trouble:
        """No answer to something that was sent."""
        text = f"{self._place(call)}: {reason}"
        if call.repeatable:
            return _Trouble(Unavailable(text), 0.0 if passing else None)
        return _Trouble(OutcomeUnknown(f"{text}; it may have been processed"))

    def _place(self, call: _Call) -> str:
        return f"{self._host}: {call.method} {call.path}"


def _is_setback(call: _Call, reply: _Reply | Silence | None) -> bool:
    """Whether others had better wait: for what was refused, or paid for without an answer."""
    status = reply.status if isinstance(reply, _Reply) else 500
    return status >= 300 and (status < 500 or not call.repeatable)


def _strings(value: Any) -> Iterator[str]:
    """Every text within what was sent."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _strings(part)
