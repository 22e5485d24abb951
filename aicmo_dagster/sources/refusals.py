"""What an API says when it refuses: its words, its code, and how long a rate limit lasts.

Of every generation and provider, and whatever type the answer claims to have. Not here: what
follows from it (`http`).
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

SECONDS = {"minute": 60.0, "hour": 3600.0, "day": 86400.0}
"""The windows of a rate limit, by length: what a limit may last at most when nothing says more."""

_SHOWN = 200  # characters of what a provider says
_SPENT = re.compile(r"^x-(minute|hourly|24-hour|daily)-requests-left$")
_WINDOWS = {"hourly": "hour", "24-hour": "day", "24 hours": "day", "daily": "day"}
_PER = re.compile(r"\bper (minute|hour|day|24 hours)\b", re.IGNORECASE)
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,80}")
_MARKUP = re.compile(r"<(style|script)\b.*?</\1>|<[^>]*>|[<>]", re.IGNORECASE | re.DOTALL)
_ADDRESS = re.compile(r"[^\s@<>\"'=]+@[^\s@<>\"']+")


@dataclass(frozen=True)
class Refusal:
    """What a refusal says.

    Args:
        code: The provider's own code, or nothing.
        text: Its words; they may quote what was sent.
        until: Seconds until a rate limit is over; None if nobody knows.
        window: `minute`, `hour` or `day`: the limit that is used up, if it is told.
    """

    code: str
    text: str
    until: float | None
    window: str | None


def read_refusal(headers: Mapping[str, str], content: bytes) -> Refusal:
    """What an answer with these headers, in lower case, and this content says."""
    whole = json_object(content)
    body = _unwrapped(whole or {})
    text = " / ".join(_texts(body)) if whole is not None else content.decode("utf-8", "replace")
    until, window = _rest(headers, body, text)
    return Refusal(_code(body), text, until, window)


def without(text: str, ours: Iterable[str]) -> str:
    """The beginning of `text`, without markup, addresses and any of `ours`."""
    plain = " ".join(_MARKUP.sub(" ", text).split())
    for value in sorted({value.strip() for value in ours}, key=len, reverse=True):
        if len(value) > 2:
            plain = re.sub(re.escape(value), "…", plain, flags=re.IGNORECASE)
    printable = "".join(c if c.isprintable() else " " for c in _ADDRESS.sub("…", plain))
    return printable[:_SHOWN]


def json_object(content: bytes | str) -> dict[str, Any] | None:
    """The JSON object that `content` is, whatever its type claims."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _unwrapped(body: dict[str, Any]) -> dict[str, Any]:
    """`body`, with what its message holds if that is JSON once more."""
    inner = body.get("message")
    return {**body, **(json_object(inner) or {})} if isinstance(inner, str) else body


def _texts(body: dict[str, Any]) -> list[str]:
    """Whatever an error's body says, of each generation and provider, once."""
    found = [body.get(name) for name in ("error", "error_message", "message", "reason", "detail")]
    found.append(_details(body).get("message"))
    if isinstance(detail := body.get("detail"), list):
        found += [entry.get("msg") for entry in detail if isinstance(entry, dict)]
    return list(dict.fromkeys(text for text in found if isinstance(text, str) and text))


def _details(body: dict[str, Any]) -> dict[str, Any]:
    details = body.get("error_details")
    return details if isinstance(details, dict) else {}


def _code(body: dict[str, Any]) -> str:
    """The provider's code of an error, the newer generation first."""
    for code in (_details(body).get("code"), body.get("error_code")):
        if isinstance(code, str) and _CODE.fullmatch(code):
            return code
    return ""


def _rest(
    headers: Mapping[str, str], body: dict[str, Any], text: str
) -> tuple[float | None, str | None]:
    """After how many seconds a limit is over, and the window that it belongs to."""
    window = _window(headers, body, text)
    told = _seconds(headers.get("retry-after", ""), headers.get("date", ""))
    if told is None:
        told = _seconds(str(body.get("retry_after_seconds", "")), "")
    if told is None or (told == 0 and window in ("hour", "day")):  # no hour is over at once
        return SECONDS.get(window or ""), window
    return told, window


def _window(headers: Mapping[str, str], body: dict[str, Any], text: str) -> str | None:
    context = _details(body).get("context")
    entry = context.get("window") if isinstance(context, dict) else None
    value = entry.get("value") if isinstance(entry, dict) else entry
    said = _PER.search(f"{text} per {value}")
    if said is not None:
        name = said[1].lower()
        return _WINDOWS.get(name, name)
    spent = [m[1] for n, left in headers.items() if left.strip() == "0" and (m := _SPENT.match(n))]
    windows = [_WINDOWS.get(name, name) for name in spent]
    return max(windows, key=SECONDS.__getitem__, default=None)


def _seconds(value: str, date: str) -> float | None:
    """Seconds, given as such or as a date, which is held against the provider's own."""
    if re.fullmatch(r"\d{1,9}(?:\.\d+)?", value.strip()):
        return float(value)
    at, now = _instant(value), _instant(date)
    return None if at is None or now is None else max(0.0, (at - now).total_seconds())


def _instant(value: str) -> datetime | None:
    try:
        parsed = parsedate_to_datetime(value)
    except ValueError:
        return None
    return parsed if parsed.tzinfo else None
