"""Whom a provider is asked about: the id is told to who gave it, and to no other."""

import pytest

from aicmo_dagster.stages.harvesting.asked import asked_about


@pytest.mark.parametrize(
    ("source", "origins", "told"),
    [
        ("apollo-1", "{}", "a1"),
        ("csv-1", "{}", None),
        ("csv-1", '{"external_id": "apollo-2"}', "a1"),
        ("apollo-1", '{"external_id": "csv-1"}', None),
    ],
)
def test_the_id_is_told_to_the_provider_it_is_from(
    source: str, origins: str, told: str | None
) -> None:
    lead = {"lead_id": "l1", "external_id": "a1", "source": source, "origins": origins}

    (asked,) = asked_about("apollo", [lead])

    assert asked.external_id == told
