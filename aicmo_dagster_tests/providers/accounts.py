"""The accounts of the stand-in: which keys there are, and what is left on them."""

import threading

GOOD, EMPTY = "k-ok", "k-empty"
BAD_TEXT, BAD_JSON, NO_SCOPE = "k-bad", "k-bad-json", "k-noscope"


class Accounts:
    """Balances by key."""

    def __init__(self, credits: float = 10_000) -> None:
        self.left = {GOOD: credits, EMPTY: 0.0}
        self._lock = threading.Lock()

    def take(self, key: str, credits: float) -> bool:
        """`credits` are taken, if there are as many."""
        with self._lock:
            if self.left.get(key, 0) < credits:
                return False
            self.left[key] -= credits
            return True

    def give_back(self, key: str, credits: float) -> None:
        with self._lock:
            self.left[key] += credits
