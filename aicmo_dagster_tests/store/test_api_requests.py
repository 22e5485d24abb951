from datetime import timedelta

from aicmo_dagster.store.api_requests import KEPT, LEASE, Answer, Asked, claim, release, settle
from aicmo_dagster.store.database import Database
from aicmo_dagster_tests.store.rows import NOW

ASKED = Asked("token", "POST /x", "key", "digest")
ANSWER = Answer(202, {"etag": "a"}, "{}")


def test_a_request_is_ours_once_and_answered_alike_for_a_day(database: Database) -> None:
    with database.write() as connection:
        assert claim(connection, ASKED, NOW) == "ours"
        assert claim(connection, ASKED, NOW) == "under way"
        settle(connection, ASKED, ANSWER)
        assert claim(connection, ASKED, NOW) == ANSWER
        assert claim(connection, Asked("token", "POST /x", "key", "else"), NOW) == "other"
        assert claim(connection, Asked("other", "POST /x", "key", "else"), NOW) == "ours"
        assert claim(connection, ASKED, NOW + KEPT + timedelta(seconds=1)) == "ours"


def test_whoever_died_or_failed_leaves_the_request_to_others(database: Database) -> None:
    with database.write() as connection:
        claim(connection, ASKED, NOW)
        assert claim(connection, ASKED, NOW + LEASE) == "ours"
        assert claim(connection, ASKED, NOW + LEASE) == "under way"
        release(connection, ASKED)
        assert claim(connection, ASKED, NOW + LEASE) == "ours"
