"""How many requests a token may make, and the headers that tell what is left.

Counted by each process on its own. Not here: whose request it is (`access`).
"""

import math
import time

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from aicmo_dagster.api.problems import Refusal
from aicmo_dagster.errors import BadInput, Problem


class Rates:
    """The limit of every token, such as ``600/minute``.

    Raises:
        BadInput: If the limit cannot be read.
    """

    def __init__(self, limit: str) -> None:
        self._limit = _parsed(limit)
        self._counting = SlidingWindowCounterRateLimiter(MemoryStorage())

    def take(self, token_id: str) -> dict[str, str]:
        """One request less is left; tells it in headers (draft-ietf-httpapi-ratelimit-headers).

        Raises:
            Refusal: 429, if none was left.
        """
        allowed = self._counting.hit(self._limit, token_id)
        left = self._counting.get_window_stats(self._limit, token_id)
        wait = max(1, math.ceil(left.reset_time - time.time()))
        headers = {
            "RateLimit-Policy": f'"token";q={self._limit.amount};w={self._limit.get_expiry()}',
            "RateLimit": f'"token";r={left.remaining};t={wait}',
        }
        if not allowed:
            detail = f"the token made its {self._limit}; try again in {wait} seconds"
            raise Refusal(429, detail, headers=headers | {"Retry-After": str(wait)})
        return headers


def _parsed(text: str) -> RateLimitItem:
    try:
        return parse(text)
    except ValueError:
        expected = "a number of requests in a time, such as 600/minute"
        raise BadInput(Problem("AICMO_API_RATE", "", repr(text), expected)) from None
