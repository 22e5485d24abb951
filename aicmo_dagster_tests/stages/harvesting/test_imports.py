"""What an import leaves on the disk. Not here: what becomes of its leads (`test_transfers`)."""

from pathlib import Path

from aicmo_dagster.stages.harvesting.imports import import_leads, imported
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster_tests.samples import NOON, leads_csv
from aicmo_dagster_tests.workspaces import apply


def test_an_import_is_read_where_housekeeping_finds_what_a_kill_leaves(
    workspace: Workspace, tmp_path: Path
) -> None:
    apply(workspace, "spring", 1)
    file = tmp_path / "sent.csv"
    file.write_text(leads_csv(2), encoding="utf-8")
    import_leads(workspace, "spring", file, "csv", "fair", {}, "cli:ida", NOON)

    home, copies = workspace.settings.home, workspace.settings.copies
    for _ in imported(workspace, "spring"):
        assert [path.name for path in copies.rglob("*.csv")] == ["fair.csv"]
        assert [*home.glob("import-*")] == []
    assert [*copies.iterdir()] == []
