import threading
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
import sqlalchemy as sa

from aicmo_dagster.domain.campaigns import Campaign
from aicmo_dagster.errors import AicmoError
from aicmo_dagster.store.campaigns import (
    StoredCampaign,
    apply_campaign,
    archive_campaign,
    list_campaigns,
    load_campaign,
)
from aicmo_dagster.store.database import Database
from aicmo_dagster.store.tables import campaign_versions
from aicmo_dagster_tests.store.rows import NOW, campaign

FOLDER = Path("/srv/campaigns")
TEMPLATES = {"intro.md.j2": 'Hei {{ first_name }},\n"æ"'}
LATER = NOW + timedelta(hours=1)


def applied(
    database: Database,
    document: Campaign,
    templates: dict[str, str] = TEMPLATES,
    folder: Path = FOLDER,
) -> tuple[StoredCampaign, bool]:
    with database.write() as connection:
        return apply_campaign(connection, document, templates, folder, NOW)


def loaded(database: Database, key: str, version: int | None = None) -> StoredCampaign:
    with database.read() as connection:
        return load_campaign(connection, key, version)


def test_an_applied_campaign_is_loaded_as_it_was(database: Database) -> None:
    stored, is_new = applied(database, campaign())

    assert is_new
    assert loaded(database, "nordic") == stored
    assert stored.campaign == campaign()
    assert (stored.version, stored.state, stored.templates) == (1, "active", TEMPLATES)
    assert (stored.folder, stored.applied_at) == (FOLDER, NOW)


def test_applying_the_same_again_stores_nothing(database: Database) -> None:
    first, _ = applied(database, campaign())
    second, is_new = applied(database, campaign())

    assert not is_new
    assert second == first


@pytest.mark.parametrize("changed", ["document", "templates", "folder"])
def test_any_change_makes_a_version_and_the_old_one_stays(database: Database, changed: str) -> None:
    first, _ = applied(database, campaign())
    second, is_new = applied(
        database,
        campaign(name="Renamed") if changed == "document" else campaign(),
        {"intro.md.j2": "x"} if changed == "templates" else TEMPLATES,
        Path("/elsewhere") if changed == "folder" else FOLDER,
    )

    assert is_new
    assert second.version == 2
    assert second.digest != first.digest
    assert loaded(database, "nordic") == second
    assert loaded(database, "nordic", 1) == first


def test_going_back_to_an_old_form_is_a_new_version(database: Database) -> None:
    first, _ = applied(database, campaign())
    applied(database, campaign(name="Renamed"))
    third, is_new = applied(database, campaign())

    assert is_new
    assert (third.version, third.digest) == (3, first.digest)


def test_a_list_shows_each_campaign_in_its_current_form(database: Database) -> None:
    applied(database, campaign("south"))
    applied(database, campaign("nordic"))
    applied(database, campaign("nordic", name="Renamed"))
    with database.read() as connection:
        found = list_campaigns(connection)

    assert [(c.key, c.name, c.version, c.state) for c in found] == [
        ("nordic", "Renamed", 2, "active"),
        ("south", "Nordic, høst", 1, "active"),
    ]
    assert {(c.owner, c.updated_at) for c in found} == {("growth@acme.example", NOW)}


def test_an_archived_campaign_keeps_its_versions_and_applying_brings_it_back(
    database: Database,
) -> None:
    applied(database, campaign())
    with database.write() as connection:
        assert archive_campaign(connection, "nordic", LATER)
        assert not archive_campaign(connection, "nordic", LATER + timedelta(hours=1))
        assert list_campaigns(connection)[0].updated_at == LATER
    assert loaded(database, "nordic").state == "archived"

    stored, is_new = applied(database, campaign())

    assert not is_new
    assert (stored.version, stored.state) == (1, "active")


def test_an_unknown_campaign_or_version_says_what_to_do(database: Database) -> None:
    applied(database, campaign())
    with pytest.raises(AicmoError, match="no campaign 'nrdic'; 'aicmo campaign list' shows"):
        loaded(database, "nrdic")
    with pytest.raises(AicmoError, match="no version 7; its latest is 1"):
        loaded(database, "nordic", 7)
    with database.write() as connection, pytest.raises(AicmoError, match="no campaign 'nrdic'"):
        archive_campaign(connection, "nrdic", NOW)


def test_a_document_that_this_version_cannot_read_says_what_to_do(database: Database) -> None:
    applied(database, campaign())
    with database.write() as connection:
        connection.execute(campaign_versions.update().values(document='{"campaign": "secret"}'))

    with pytest.raises(AicmoError, match="apply its file again") as refused:
        loaded(database, "nordic")
    assert "secret" not in str(refused.value)
    assert refused.value.__context__ is None


def test_applying_at_once_stores_each_form_once(database: Database) -> None:
    """Six appliers, three forms: versions 1 to n without a gap, and the row names the last."""
    failures: list[BaseException] = []

    def apply(number: int) -> None:
        try:
            applied(database, campaign(name=f"Form {number % 3}"))
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=apply, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    with database.read() as connection:
        columns = campaign_versions.c
        rows = connection.execute(
            sa.select(columns.version, columns.digest).order_by(columns.version)
        ).all()
    assert [row.version for row in rows] == list(range(1, len(rows) + 1))
    assert all(one.digest != next_.digest for one, next_ in pairwise(rows))
    assert loaded(database, "nordic").version == len(rows)
