"""Rate limits as Apollo keeps them: fixed windows that open on the first request in them."""

import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

SECONDS = {"minute": 60.0, "hour": 3600.0, "day": 86400.0}
NEW_NAMES = {
    "minute": ("x-rate-limit-minute", "x-minute-usage", "x-minute-requests-left"),
    "hour": ("x-rate-limit-hourly", "x-hourly-usage", "x-hourly-requests-left"),
    "day": ("x-rate-limit-24-hour", "x-24-hour-usage", "x-24-hour-requests-left"),
}
OLD_NAMES = {
    **NEW_NAMES,
    "day": ("x-rate-limit-daily", "x-daily-usage", "x-daily-requests-left"),
}


@dataclass
class _Window:
    opened: float
    used: int = 0


@dataclass(frozen=True)
class Admission:
    """Whether a request may pass.

    Args:
        headers: What tells about the limits.
        spent: The window that is used up, if one is, and its limit.
        wait: Seconds until it opens again.
    """

    headers: dict[str, str]
    spent: tuple[str, int] | None = None
    wait: float = 0


class Windows:
    """The windows of every account and endpoint.

    Args:
        limits: By window; one that is not there has none, which an empty header tells.
        names: NEW_NAMES or OLD_NAMES.
    """

    def __init__(self, limits: dict[str, int], names: dict[str, tuple[str, str, str]]) -> None:
        self.limits = limits
        self.names = names
        self._open: dict[tuple[str, str, str], _Window] = {}
        self._lock = threading.Lock()

    def admit(self, key: str, endpoint: str, now: float) -> Admission:
        """A request is counted, unless a window is used up."""
        with self._lock:
            windows = {name: self._window(key, endpoint, name, now) for name in SECONDS}
            for name, limit in self.limits.items():
                if windows[name].used >= limit:
                    wait = windows[name].opened + SECONDS[name] - now
                    return Admission(self._headers(windows), (name, limit), wait)
            for window in windows.values():
                window.used += 1
            return Admission(self._headers(windows))

    def _window(self, key: str, endpoint: str, name: str, now: float) -> _Window:
        place = (key, endpoint, name)
        window = self._open.get(place)
        if window is None or now >= window.opened + SECONDS[name]:
            window = self._open[place] = _Window(now)
        return window

    def _headers(self, windows: dict[str, _Window]) -> dict[str, str]:
        headers = {}
        for name, window in windows.items():
            limit_name, used_name, left_name = self.names[name]
            limit = self.limits.get(name)
            headers[limit_name] = "" if limit is None else str(limit)
            if limit is not None:
                headers[used_name] = str(window.used)
                headers[left_name] = str(limit - window.used)
        return headers


def http_date(instant: float) -> str:
    """`instant` as HTTP writes it."""
    return format_datetime(datetime.fromtimestamp(instant, UTC), usegmt=True)
