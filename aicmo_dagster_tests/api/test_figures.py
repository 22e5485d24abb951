"""Figures over HTTP: one campaign's, all of a token's limit, and 304 for those who have them."""

import pytest

from aicmo_dagster.domain.figures import Figures
from aicmo_dagster_tests.api.rest import LEADS, Rest
from aicmo_dagster_tests.figured import figured_campaign


def test_the_figures_of_a_campaign_are_those_of_the_database(rest: Rest) -> None:
    with rest.workspace.database.write() as connection:
        figured_campaign(connection, "figured")

    answer = rest.ask("viewer", "GET", "/campaigns/figured/dashboard?days=366")

    found = Figures.model_validate_json(answer.content)
    assert (found.harvested.count, found.sent.count, found.replied.count) == (10, 6, 1)
    again = rest.ask(
        "viewer",
        "GET",
        "/campaigns/figured/dashboard?days=366",
        headers={"If-None-Match": answer.headers["etag"]},
    )
    assert (again.status_code, again.content) == (304, b"")


def test_stats_are_of_the_campaigns_within_the_limit_of_the_token(rest: Rest) -> None:
    every = Figures.model_validate_json(rest.ask("viewer", "GET", "/stats").content)
    some = Figures.model_validate_json(rest.ask("limited", "GET", "/stats").content)

    assert some.campaigns == 1
    assert every.campaigns > 1
    assert some.harvested.count == LEADS
    assert every.harvested.count >= LEADS


@pytest.mark.parametrize(
    ("who", "path", "status"),
    [
        (None, "/stats", 401),
        (None, "/campaigns/spring/dashboard", 401),
        ("viewer", "/campaigns/winter/dashboard", 404),
        ("limited", "/campaigns/autumn/dashboard", 404),
        ("viewer", "/stats?days=0", 422),
        ("viewer", "/campaigns/spring/dashboard?days=x", 422),
    ],
)
def test_whoever_may_not_or_asks_wrongly_gets_a_problem(
    rest: Rest, who: str | None, path: str, status: int
) -> None:
    answer = rest.ask(who, "GET", path)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
