"""Which harvests share a run: small ones, where there are more than a few."""

from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa

from aicmo_dagster.domain.schedules import Tick
from aicmo_dagster.stages.operating.sharing import (
    FEW,
    HARVEST,
    LONG_HARVEST,
    MOST_BYTES,
    MOST_ROWS,
    sharing,
)
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.tables import uploads
from aicmo_dagster_tests.samples import NOON
from aicmo_dagster_tests.workspaces import apply

SECOND = timedelta(seconds=1)
SEARCH = {"type": "apollo", "search": {"person_titles": ["founder"]}, "max_leads": 10}


def among_small_ones(
    workspace: Workspace, small: int = FEW, length: timedelta | None = None
) -> bool:
    """Whether the campaign `odd` shares a run, which others that are small do."""
    keys = [f"c{number}" for number in range(small)]
    for key in keys:
        apply(workspace, key, 1)
    due = [Tick(NOON, key, HARVEST) for key in [*keys, "odd"]]
    shares = sharing(workspace, due, {} if length is None else {(HARVEST, "odd"): length})
    assert shares in (set(), set(due[:-1]), set(due))
    return due[-1] in shares


def nothing_odd(workspace: Workspace) -> None:
    apply(workspace, "odd", 1)


def large_file(workspace: Workspace) -> None:
    apply(workspace, "odd", 1).write_bytes(b"x" * (MOST_BYTES + 1))


def large_import(workspace: Workspace) -> None:
    apply(workspace, "odd", 1)
    row = {"campaign": "odd", "name": "fair", "digest": "", "columns": "{}", "created_by": "Ida"}
    counts = {"rows": MOST_ROWS + 1, "rejected": 0, "created_at": NOON, "is_whole": True}
    with workspace.database.write() as connection:
        connection.execute(sa.insert(uploads).values({**row, **counts}))


def asks_a_provider(workspace: Workspace) -> None:
    apply(workspace, "odd", 1, sources=[SEARCH])


def asks_to_complete(workspace: Workspace) -> None:
    apply(workspace, "odd", 1, enrich={"waterfall": ["apollo"], "max_credits": 1})


@pytest.mark.parametrize(
    ("make", "length", "shares"),
    [
        (nothing_odd, None, True),
        (nothing_odd, LONG_HARVEST, True),
        (nothing_odd, LONG_HARVEST + SECOND, False),
        (large_file, SECOND, False),
        (large_import, SECOND, False),
        (asks_a_provider, None, False),
        (asks_a_provider, SECOND, True),
        (asks_to_complete, None, False),
    ],
)
def test_a_harvest_that_may_keep_others_waiting_has_a_run_of_its_own(
    embedded: Workspace,
    make: Callable[[Workspace], None],
    length: timedelta | None,
    shares: bool,
) -> None:
    make(embedded)

    assert among_small_ones(embedded, FEW + 1, length) is shares


def test_few_harvests_have_runs_of_their_own(embedded: Workspace) -> None:
    nothing_odd(embedded)

    assert not among_small_ones(embedded, FEW - 1)
    assert among_small_ones(embedded, FEW)
