"""Exports: the same rows in every format, and no cell that a spreadsheet would run."""

import csv
import io
import json
from collections.abc import Iterator

import pyarrow.parquet
import pytest

from aicmo_dagster.stages.leads.export import exported
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.campaigns import apply_campaign
from aicmo_dagster.store.frames import replace_frame
from aicmo_dagster_tests.samples import NOON, campaign, raw_leads
from aicmo_dagster_tests.workspaces import open_test_workspace

FORMULAS = ["=1+1", "+1", "-1", "@sum", "\t=1", "\r=1", "\n=1", "\uff1d1+1"]
PLAIN = ["a=1", " =1", "'=1", 'says "hi", twice', "two\nlines\n=1", None]
TITLES = [*FORMULAS, *PLAIN] * 2
SCORES = [None if number % 3 else number / 3 for number in range(len(TITLES))]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    home = tmp_path_factory.mktemp("home")
    opened = open_test_workspace(home, f"sqlite:///{home / 'aicmo.db'}")
    frame = raw_leads(len(TITLES), title=TITLES, annual_revenue=SCORES)
    with opened.database.write() as connection:
        apply_campaign(connection, campaign("spring"), {}, home, NOON)
        replace_frame(connection, "raw_leads", "spring", frame)
    yield opened
    opened.database.close()


def test_a_csv_has_every_value_and_no_formula_whatever_its_parts(workspace: Workspace) -> None:
    whole = b"".join(exported(workspace, "raw_leads", "spring", "csv"))
    rows = list(csv.DictReader(io.StringIO(whole.decode(), newline="")))

    assert b"".join(exported(workspace, "raw_leads", "spring", "csv", rows=5)) == whole
    expected = [*(f"'{text}" for text in FORMULAS), *(text or "" for text in PLAIN)]
    assert [row["title"] for row in rows] == expected * 2
    told = ["" if score is None else str(score) for score in SCORES]
    assert [row["annual_revenue"] for row in rows] == told
    assert {row["first_seen_at"] for row in rows} == {str(NOON)}


def test_json_lines_and_parquet_hold_texts_as_they_are(workspace: Workspace) -> None:
    lines = b"".join(exported(workspace, "raw_leads", "spring", "jsonl", rows=5)).splitlines()
    assert [json.loads(line)["title"] for line in lines] == TITLES

    parts = list(exported(workspace, "raw_leads", "spring", "parquet", rows=1))
    content = b"".join(parts)
    file = pyarrow.parquet.ParquetFile(io.BytesIO(content))
    assert file.read()["title"].to_pylist() == TITLES
    assert file.num_row_groups == 3  # what is told of each stays in memory while the file is made
    assert parts[0] == b"PAR1"
    assert len(parts) == 5  # that, the row groups, and what is told of them


def test_parts_that_use_up_all_rows_are_followed_by_no_empty_one(workspace: Workspace) -> None:
    half = len(TITLES) // 2
    assert len(list(exported(workspace, "raw_leads", "spring", "csv", rows=half))) == 2


def test_a_stage_without_rows_is_a_header_or_nothing(workspace: Workspace) -> None:
    text, lines, content = (
        b"".join(exported(workspace, "scored_leads", "spring", kind))
        for kind in ("csv", "jsonl", "parquet")
    )
    file = pyarrow.parquet.ParquetFile(io.BytesIO(content))
    assert text.decode().splitlines() == [",".join(file.schema_arrow.names)]
    assert lines == b""
    assert file.metadata.num_rows == 0
