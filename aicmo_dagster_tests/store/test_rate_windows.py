import random
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest

from aicmo_dagster.store import rate_windows
from aicmo_dagster.store.database import Database, open_database
from aicmo_dagster.store.rate_windows import Window
from aicmo_dagster_tests.samples import NOON

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
LATER_AT_MOST = 3 * SECOND
"""A minute's window may wait for the end of a part of it, and for requests underway."""


class Key:
    """One key's windows at one endpoint."""

    def __init__(self, database: Database, provider: str = "apollo match") -> None:
        self.database, self.provider = database, provider

    def assume(self, **windows: Window) -> None:
        with self.database.write() as connection:
            rate_windows.assume(connection, self.provider, "a hash", windows)

    def learn(self, now: datetime = NOON, **windows: Window) -> None:
        with self.database.write() as connection:
            rate_windows.learn(connection, self.provider, "a hash", windows, now)

    def park(self, window: str, until: datetime) -> None:
        with self.database.write() as connection:
            rate_windows.park(connection, self.provider, "a hash", window, until)

    def take(
        self, now: datetime = NOON, cost: int = 1, key_hash: str = "a hash"
    ) -> datetime | None:
        with self.database.write() as connection:
            return rate_windows.take(connection, self.provider, key_hash, cost=cost, now=now)

    def give_back(self, count: int, now: datetime = NOON) -> None:
        with self.database.write() as connection:
            rate_windows.give_back(connection, self.provider, "a hash", count=count, now=now)

    def takes(self, now: datetime = NOON, at_most: int = 50) -> int:
        """How many requests may leave at one instant."""
        return next((n for n in range(at_most) if self.take(now) is not None), at_most)


@pytest.fixture
def key(database: Database) -> Key:
    return Key(database)


def minute(limit: int | None, left: int | None = None, resets_at: datetime | None = None) -> Window:
    return Window(limit=limit, length=MINUTE, left=left, resets_at=resets_at)


def test_a_window_nobody_has_heard_of_holds_nobody_back(key: Key) -> None:
    assert key.takes() == 50


def test_a_window_lets_its_limit_through_and_tells_when_there_is_room(key: Key) -> None:
    key.assume(minute=minute(3))

    assert key.takes() == 3
    until = key.take()
    assert until is not None
    assert NOON + MINUTE < until <= NOON + MINUTE + LATER_AT_MOST
    assert key.take(until - timedelta(microseconds=1)) == until
    assert key.takes(until) == 3


@pytest.mark.parametrize("second", [0, 0.5, 0.999999])
def test_a_window_stays_full_for_requests_that_are_still_underway(key: Key, second: float) -> None:
    """One that takes 2 seconds longer than the next may open the provider's window that late."""
    key.assume(minute=minute(3))
    start = NOON + second * SECOND
    key.takes(start)

    until = key.take(start)
    assert until is not None
    assert until >= start + MINUTE + 2 * SECOND


def test_what_has_never_left_is_not_counted_and_frees_nothing_else(key: Key) -> None:
    key.assume(minute=minute(5))
    assert key.take(cost=2) is None
    assert key.take(NOON + 20 * SECOND, cost=3) is None
    key.give_back(3, NOON + 20 * SECOND)
    assert key.takes(NOON + 20 * SECOND) == 3
    assert key.takes(NOON + MINUTE + LATER_AT_MOST) == 0
    assert key.takes(NOON + MINUTE + 20 * SECOND + LATER_AT_MOST) == 5


def test_what_is_given_back_never_makes_room_for_more_than_the_limit(key: Key) -> None:
    key.assume(minute=minute(5), hour=Window(limit=None, length=HOUR))
    key.take(cost=2)
    key.give_back(3)
    assert key.takes() == 5


def test_a_request_that_had_to_wait_is_not_counted(key: Key) -> None:
    key.assume(minute=minute(1), hour=Window(limit=2, length=HOUR))
    key.take()
    until = key.take()
    assert until is not None

    assert key.take(until) is None


def test_a_window_slides_so_that_room_comes_back_as_it_was_taken(key: Key) -> None:
    key.assume(minute=minute(2))
    key.take(NOON)
    key.take(NOON + 30 * SECOND)

    first = key.take(NOON + 31 * SECOND)
    assert first is not None
    assert first <= NOON + MINUTE + LATER_AT_MOST
    assert key.takes(first) == 1


def test_the_longest_wait_of_all_windows_counts(key: Key) -> None:
    key.assume(minute=minute(2), hour=Window(limit=2, length=HOUR), day=minute(None))
    key.takes()

    until = key.take()
    assert until is not None
    assert NOON + HOUR < until < NOON + HOUR + 2 * MINUTE


def test_a_request_of_some_cost_waits_until_all_of_it_fits(key: Key) -> None:
    key.assume(minute=minute(10))
    assert key.take(cost=6) is None
    assert key.take(NOON + 30 * SECOND, cost=4) is None

    one, seven = key.take(NOON + 31 * SECOND), key.take(NOON + 31 * SECOND, cost=7)
    assert one is not None
    assert seven is not None
    assert seven - one == 30 * SECOND


def test_a_request_dearer_than_the_limit_waits_a_window_at_a_time(key: Key) -> None:
    key.assume(minute=minute(2))

    assert key.take(cost=3) == NOON + MINUTE
    assert key.takes() == 2


def test_a_limit_of_nothing_lets_nothing_through(key: Key) -> None:
    key.assume(minute=minute(0))

    assert key.take() == NOON + MINUTE


def test_what_the_provider_says_replaces_what_was_assumed_but_not_the_reverse(key: Key) -> None:
    key.assume(minute=minute(3))
    key.learn(minute=minute(5))
    key.assume(minute=minute(2))

    assert key.takes() == 5


def test_a_window_that_is_not_mentioned_stays(key: Key) -> None:
    key.learn(minute=minute(3))
    key.learn(hour=Window(limit=100, length=HOUR))

    assert key.takes() == 3


def test_a_window_that_turns_out_unlimited_holds_nobody_back(key: Key) -> None:
    key.learn(minute=minute(1))
    key.learn(minute=minute(None))

    assert key.takes() == 50


def test_requests_of_others_with_the_key_count_as_far_as_the_provider_tells(key: Key) -> None:
    key.assume(minute=minute(10))
    key.take()
    key.learn(minute=minute(10, left=4))

    assert key.takes() == 4


def test_requests_of_our_own_are_not_counted_twice(key: Key) -> None:
    """An answer that was long underway does not yet count what left since."""
    key.assume(minute=minute(10))
    for _ in range(4):
        key.take()
    key.learn(minute=minute(10, left=9))

    assert key.takes() == 6


def test_requests_of_our_own_from_an_earlier_window_do_not_stand_for_those_of_others(
    key: Key,
) -> None:
    key.assume(minute=minute(10))
    for _ in range(4):
        key.take()
    key.learn(NOON + HOUR, minute=minute(10, left=6))

    assert key.takes(NOON + HOUR) == 6


def test_requests_of_others_count_until_the_window_resets(key: Key) -> None:
    reset = NOON + 20 * SECOND
    key.learn(minute=minute(10, left=2, resets_at=reset))

    assert key.takes() == 2
    assert key.take() == reset


def test_requests_of_others_count_for_a_whole_window_where_nobody_says_when_it_resets(
    key: Key,
) -> None:
    key.learn(minute=minute(10, left=0))

    assert key.take() == NOON + MINUTE


def test_requests_of_others_are_forgotten_once_the_provider_has_more_left(key: Key) -> None:
    key.learn(minute=minute(10, left=2))
    key.learn(NOON + 10 * SECOND, minute=minute(10, left=10))

    assert key.takes(NOON + 10 * SECOND) == 10


def test_a_window_that_is_used_up_until_an_instant_is_closed_until_then(key: Key) -> None:
    """Even for an answer that was underway meanwhile and says that some are left."""
    reset = NOON + 40 * MINUTE
    key.learn(hour=Window(limit=9, length=HOUR, left=0, resets_at=reset))
    key.learn(hour=Window(limit=9, length=HOUR, left=3))

    assert key.take() == reset
    assert key.take(reset) is None


def test_a_parked_key_waits_whatever_its_windows_are(key: Key) -> None:
    key.park("hour", NOON + HOUR)
    key.park("hour", NOON + MINUTE)

    assert key.take() == NOON + HOUR
    assert key.takes(NOON + HOUR) == 50


def test_parking_a_window_keeps_its_limit(key: Key) -> None:
    key.assume(minute=minute(2))
    key.park("minute", NOON + MINUTE)

    assert key.takes(NOON + MINUTE) == 2


def test_keys_and_endpoints_have_windows_of_their_own(key: Key) -> None:
    key.assume(minute=minute(1))
    key.takes()
    key.park("hour", NOON + HOUR)

    assert key.take(key_hash="another") is None
    assert Key(key.database, "apollo search").take() is None


@pytest.mark.parametrize("seed", range(3))
def test_no_window_of_the_provider_overflows_wherever_it_begins(key: Key, seed: int) -> None:
    """The provider's opens with the first request to arrive, and requests take 0 to 2 seconds."""
    chance = random.Random(seed)
    key.assume(minute=minute(6))
    arrivals, now = [], NOON
    while len(arrivals) < 60:
        until = key.take(now)
        if until is None:
            arrivals.append(now + chance.choice([0, 2]) * SECOND)
        rest = chance.choice([0, 0, 0, 0.1, 1, 5, 30]) * SECOND
        now = max(until or now, now + rest)

    assert max(_in_windows(sorted(arrivals), MINUTE)) <= 6


def test_a_busy_key_is_used_to_nearly_its_limit(key: Key) -> None:
    key.assume(minute=minute(6))
    now, gone = NOON, 0
    while gone < 30:
        until = key.take(now)
        gone += until is None
        now = until or now

    assert now - NOON <= 4 * (MINUTE + LATER_AT_MOST)


def test_threads_at_once_take_just_the_limit(key: Key) -> None:
    key.assume(minute=minute(20), hour=Window(limit=30, length=HOUR))
    start = threading.Barrier(6)

    def work(_: int) -> int:
        start.wait()
        return sum(key.take() is None for _ in range(8))

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(work, range(6))) == 20


def test_what_is_learned_at_once_with_takes_loses_none_of_them(key: Key) -> None:
    key.assume(minute=minute(30))
    start = threading.Barrier(4)

    def work(turn: int) -> int:
        start.wait()
        if turn % 2:
            return sum(key.take() is None for _ in range(20))
        for _ in range(20):
            key.learn(minute=minute(30, left=30), hour=Window(limit=1000, length=HOUR))
        return 0

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(work, range(4))) == 30


OTHER_PROCESS = """
import sys
from datetime import datetime
from aicmo_dagster.store.database import open_database
from aicmo_dagster.store.rate_windows import take

url, now = sys.argv[1], datetime.fromisoformat(sys.argv[2])
database = open_database(url)
print("ready", flush=True)
sys.stdin.readline()
for _ in range(40):
    with database.write() as connection:
        print(take(connection, "apollo match", "a hash", now=now))
database.close()
"""


def test_two_processes_at_once_never_exceed_the_windows_of_one_key(
    new_sqlite: Callable[[], str],
) -> None:
    """On SQLite, whose locks are other ones between processes; to PostgreSQL all are strangers."""
    url = new_sqlite()
    database = open_database(url)
    key = Key(database)
    key.assume(minute=minute(50), hour=Window(limit=1000, length=HOUR))
    command = [sys.executable, "-c", OTHER_PROCESS, url, NOON.isoformat()]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        other.stdin.write("go\n")
        other.stdin.flush()
        ours = [key.take() for _ in range(40)]
        theirs = other.stdout.read().split("\n")
    database.close()

    assert ours.count(None) + theirs.count("None") == 50
    assert (len(ours), len(theirs), other.returncode) == (40, 41, 0)


def _in_windows(arrivals: list[datetime], length: timedelta) -> list[int]:
    """How many requests arrive in each window, if one opens with the first that is in none."""
    counts: list[int] = []
    opened = None
    for arrival in arrivals:
        if opened is None or arrival >= opened + length:
            opened, counts = arrival, [*counts, 0]
        counts[-1] += 1
    return counts
