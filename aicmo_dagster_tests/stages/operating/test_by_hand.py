"""What people change by hand goes well whatever stands there before."""

import pytest
import sqlalchemy as sa

from aicmo_dagster.errors import AicmoError
from aicmo_dagster.stages.operating import by_hand
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.tables import campaign_versions
from aicmo_dagster_tests.samples import NOON, campaign
from aicmo_dagster_tests.workspaces import apply


def test_a_document_that_cannot_be_read_any_more_is_replaced_by_applying_its_file(
    workspace: Workspace,
) -> None:
    folder = apply(workspace, "spring", 1).parent
    with workspace.database.write() as connection:
        older = {"document": "{}", "digest": "that of an older form"}
        connection.execute(sa.update(campaign_versions).values(older))
    with pytest.raises(AicmoError, match="apply its file again"):
        workspace.campaign("spring")

    with workspace.database.write() as connection:
        by_hand.apply(connection, campaign("spring"), {}, folder, who="cli:ida", now=NOON)

    assert workspace.campaign("spring").version == 2
