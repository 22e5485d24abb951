from datetime import timedelta

import pytest
import sqlalchemy as sa

from aicmo_dagster.errors import NotFound
from aicmo_dagster.store.database import Database
from aicmo_dagster.store.tables import api_tokens
from aicmo_dagster.store.tokens import (
    create_token,
    find_token,
    is_use_noted,
    list_tokens,
    note_use,
    revoke_token,
    token_of_text,
)
from aicmo_dagster_tests.store.rows import NOW

DAY = timedelta(days=1)


def test_a_token_is_known_by_its_text_which_is_kept_nowhere(database: Database) -> None:
    with database.write() as connection:
        made, text = create_token(connection, "operator", ["b", "a"], "cli:ida", NOW, NOW + DAY)
        kept = connection.execute(sa.select(api_tokens)).one()

        assert token_of_text(connection, text) == made
        assert find_token(connection, made.id) == made
        assert text not in map(str, kept)
        assert text.split("_", 2)[2] not in " ".join(map(str, kept))
        assert made.campaigns == {"a", "b"}


def test_only_the_whole_text_is_the_token(database: Database) -> None:
    with database.write() as connection:
        _, text = create_token(connection, "admin", None, "cli:ida", NOW)
        for other in (text[:-1], text + "A", text.upper(), f"x{text}", "", text.split("_")[1]):
            assert token_of_text(connection, other) is None


def test_a_token_ends_by_time_or_by_hand(database: Database) -> None:
    with database.write() as connection:
        made, _ = create_token(connection, "admin", None, "cli:ida", NOW, NOW + DAY)
        assert made.is_valid(NOW)
        assert not made.is_valid(NOW + DAY)

        assert revoke_token(connection, made.id, NOW)
        assert not revoke_token(connection, made.id, NOW + DAY)
        (kept,) = list_tokens(connection)
        assert (kept.revoked_at, kept.is_valid(NOW)) == (NOW, False)
        with pytest.raises(NotFound):
            revoke_token(connection, "none", NOW)


def test_a_use_is_noted_to_the_minute(database: Database) -> None:
    with database.write() as connection:
        made, _ = create_token(connection, "admin", None, "cli:ida", NOW)
        assert not is_use_noted(made, NOW)
        note_use(connection, made.id, NOW)
        used = find_token(connection, made.id)
        assert used is not None
        assert is_use_noted(used, NOW + timedelta(seconds=59))
        assert not is_use_noted(used, NOW + timedelta(seconds=60))
