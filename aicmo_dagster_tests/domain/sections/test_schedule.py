import json

import pytest

from aicmo_dagster.domain.campaigns import read_campaign
from aicmo_dagster_tests.domain.documented import Mistake, assert_refused, changed, problems

REFUSED: dict[str, Mistake] = {
    "a zone that is none": (("schedule", "timezone"), "Oslo", "schedule.timezone", "IANA"),
    "the zone of whatever machine it is": (
        ("schedule", "timezone"),
        "localtime",
        "schedule.timezone",
        "IANA",
    ),
}


@pytest.mark.parametrize("mistake", REFUSED.values(), ids=REFUSED)
def test_a_mistake_is_refused_with_its_path_and_what_is_allowed(mistake: Mistake) -> None:
    assert_refused(mistake)


CRONS = {
    "text": "daily",
    "nothing": "",
    "four fields": "0 6 * *",
    "six fields, of which the first would be seconds": "* * * * * *",
    "a name": "@daily",
    "the thirtieth of February": "0 0 30 2 *",
    "the thirty-first of short months": "0 0 31 4,6 *",
    "a minute that is none": "60 * * * *",
    "steps of nothing": "*/0 * * * *",
    "a range that falls": "0 0 20-10 * *",
}


@pytest.mark.parametrize("cron", CRONS.values(), ids=CRONS)
def test_a_cron_expression_that_never_fires_is_refused(cron: str) -> None:
    (told,) = problems(changed(("schedule", "harvest"), cron))

    assert told.path == "schedule.harvest"
    assert told.found == json.dumps(cron)
    assert told.expected == "a five-field cron expression that fires at some instant"


@pytest.mark.parametrize("cron", ["0 0 29 2 *", "*/15 * * * *", "0 9 * * mon#1", "0 0 L * *"])
def test_a_cron_expression_that_fires_now_and_then_is_accepted(cron: str) -> None:
    assert read_campaign(changed(("schedule", "report"), cron), "x").schedule.report == cron
