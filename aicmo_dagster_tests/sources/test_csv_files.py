import codecs
import json
from pathlib import Path

import pandas as pd
import pyarrow
import pytest

from aicmo_dagster.domain.campaigns import read_campaign
from aicmo_dagster.domain.documents import parse_yaml
from aicmo_dagster.domain.sections.sources import CsvSource
from aicmo_dagster.errors import BadInput
from aicmo_dagster.sources.csv_files import Harvested, read_csv_source

SHARED = Path(__file__).parents[3] / "shared" / "data"
NAMES = {"email": "Email", "first_name": "First"}


def _source(**given: object) -> CsvSource:
    return CsvSource.model_validate({"type": "csv", "path": "*.csv", "columns": NAMES, **given})


def _read(folder: Path, content: bytes | str, **given: object) -> Harvested:
    raw = content.encode() if isinstance(content, str) else content
    (folder / "leads.csv").write_bytes(raw)
    return _read_source(_source(**given), "csv-1", folder)


def _read_source(source: CsvSource, name: str, folder: Path) -> Harvested:
    """All parts of the source as one."""
    parts = list(read_csv_source(source, name, folder))
    return Harvested(
        pd.concat([part.rows for part in parts], ignore_index=True),
        pd.concat([part.rejects for part in parts], ignore_index=True),
        sum(part.files for part in parts),
        sum(part.read for part in parts),
    )


def _problems(folder: Path, content: bytes | str, **given: object) -> list[str]:
    with pytest.raises(BadInput) as caught:
        _read(folder, content, **given)
    return [str(problem) for problem in caught.value.problems]


def _refused(harvested: Harvested) -> list[tuple[int, str]]:
    return list(zip(harvested.rejects["row"], harvested.rejects["reason"], strict=True))


def test_mapped_columns_become_our_fields_and_the_rest_custom(tmp_path: Path):
    text = 'Email,Team size,"Say ""hi"""\nada@x.example,7,"a ""b""\\c\nd"\nbob@x.example,,\n'
    rows = _read(tmp_path, text, columns={"email": "Email"}).rows
    assert rows["email"].tolist() == ["ada@x.example", "bob@x.example"]
    assert [json.loads(custom) for custom in rows["custom"]] == [
        {"Team size": "7", 'Say "hi"': 'a "b"\\c\nd'},
        {},
    ]
    assert rows[["source", "file", "row"]].values.tolist() == [
        ["csv-1", "leads.csv", 2],
        ["csv-1", "leads.csv", 4],
    ]


def test_every_column_is_backed_by_arrow(tmp_path: Path):
    kinds = _read(tmp_path, "Email,First\n").rows.dtypes
    assert {str(kind) for name, kind in kinds.items() if name not in ("row", "won", "won_at")} == {
        "string[pyarrow]"
    }
    assert str(kinds["row"]) == "int64[pyarrow]"
    assert str(kinds["won"]) == "bool[pyarrow]"
    assert kinds["won_at"] == pd.ArrowDtype(pyarrow.timestamp("us", tz="UTC"))


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("encoding", "bom"),
    [
        ("utf-8", b""),
        ("utf-8-sig", b""),
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", codecs.BOM_UTF16_BE),
        ("cp1252", b""),
    ],
)
def test_what_any_spreadsheet_writes_is_read(
    tmp_path: Path, mark: str, end: str, encoding: str, bom: bytes
):
    lines = ["Email,First,Note", 'a@x.example,Jürgen,"a,b"', '"b@x.example","Zoé","c\nd"', ""]
    text = end.join(line.replace(",", mark) for line in lines)
    if encoding == "cp1252":
        text = text.replace("\n", "\r\n") if end == "\r" else text  # see the next test
    rows = _read(tmp_path, bom + text.encode(encoding)).rows
    assert rows["first_name"].tolist() == ["Jürgen", "Zoé"]
    assert rows["row"].tolist() == [2, 3]


def test_the_old_macintosh_is_known_by_its_line_ends(tmp_path: Path):
    text = "Email,First\ra@x.example,Jürgen\r"
    assert _read(tmp_path, text.encode("mac_roman")).rows["first_name"].tolist() == ["Jürgen"]


@pytest.mark.parametrize("separator", ["sep=;", '"sep=;"', "SEP=;"])
def test_excels_separator_line_is_honoured(tmp_path: Path, separator: str):
    rows = _read(tmp_path, f"{separator}\r\nFirst;Email, work\r\nA,B;a@x.example\r\n", columns={
        "email": "Email, work",
        "first_name": "First",
    }).rows  # fmt: skip
    assert rows["first_name"].tolist() == ["A,B"]
    assert rows["row"].tolist() == [3]


def test_the_delimiter_is_the_one_that_yields_the_columns_asked_for(tmp_path: Path):
    header = "Email;First;Size, people, roughly, in all, of late"
    assert len(_read(tmp_path, f"{header}\na@x.example;A;7\n").rows) == 1


def test_marks_within_quotes_do_not_tell_the_delimiter(tmp_path: Path):
    rows = _read(tmp_path, '"Note, long, and, so on";Email;First\nx;a@x.example;A\n').rows
    assert rows["first_name"].tolist() == ["A"]


def test_lines_are_counted_as_an_editor_counts_them(tmp_path: Path):
    text = 'Email,First\n\na@x.example,"A\nB\nC"\n\n  \nb@x.example,B\nc@x.example\nd@x.example,D'
    harvested = _read(tmp_path, text)
    assert harvested.rows["row"].tolist() == [3, 8, 10]
    assert _refused(harvested) == [(9, "has 1 cells, the header 2")]


def test_files_of_a_pattern_are_read_in_order_and_named(tmp_path: Path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for name in ("in/b.csv", "in/a.csv", "in/deep/c.csv"):
        (tmp_path / name).write_text(f"Email,First\n{name[-5]}@x.example,A\n")
    harvested = _read_source(_source(path="in/**/*.csv"), "csv-2", tmp_path)
    assert harvested.rows["file"].tolist() == ["in/a.csv", "in/b.csv", "in/deep/c.csv"]
    assert (harvested.files, harvested.read) == (3, 3)


def test_a_file_with_a_pattern_for_a_name_is_read(tmp_path: Path):
    (tmp_path / "leads [1].csv").write_text("Email,First\na@x.example,A\n")
    assert _read_source(_source(path="leads [1].csv"), "csv-1", tmp_path).read == 1


def test_a_header_alone_is_no_rows(tmp_path: Path):
    harvested = _read(tmp_path, "Email,First\n")
    assert (len(harvested.rows), len(harvested.rejects), harvested.read) == (0, 0, 0)


def test_a_column_without_a_name_is_called_by_its_place(tmp_path: Path):
    rows = _read(tmp_path, ",Email,First,\n0,a@x.example,A,\n1,b@x.example,B,z\n").rows
    assert rows["custom"].tolist() == ['{"column 1": "0"}', '{"column 1": "1", "column 4": "z"}']


def test_values_that_mean_nothing_are_missing(tmp_path: Path):
    text = 'Email,First,City\na@x.example,Select,Select\nb@x.example,"",Oslo\n'
    rows = _read(tmp_path, text, missing=["Select", ""]).rows
    assert rows["first_name"].isna().tolist() == [True, True]
    assert rows["custom"].tolist() == ["{}", '{"City": "Oslo"}']


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a@x.example", "has 1 cells, the header 2"),
        ("a@x.example,A,B", "has 3 cells, the header 2"),
        ("Email,First", "repeats the header"),
        ("\ufeffEmail, First", "repeats the header"),
        (f"a@x.example,{'x' * (1 << 20)}y", "a cell is too large"),
        (f'"a@x.example","{"é" * 10_000_000}"', "a cell is too large"),
    ],
    ids=["few cells", "many cells", "header", "header with a mark", "large cell", "10 MB"],
)
def test_a_record_that_does_not_fit_is_set_aside_alone(tmp_path: Path, line: str, reason: str):
    harvested = _read(tmp_path, f"Email,First\nb@x.example,B\n{line}\nc@x.example,C\n")
    assert harvested.rows["first_name"].tolist() == ["B", "C"]
    assert _refused(harvested) == [(3, reason)]
    assert harvested.read == 3
    assert len(harvested.rejects["content"][0]) < 5000


def test_a_cell_of_one_mebibyte_is_not_too_large(tmp_path: Path):
    assert len(_read(tmp_path, f"Email,First\na@x.example,{'x' * (1 << 20)}\n").rows) == 1


def test_a_reject_says_what_stood_there(tmp_path: Path):
    contents = _read(tmp_path, "Email,First\na@x.example,A,B\nEmail,First\n").rejects["content"]
    assert [json.loads(content) for content in contents] == [
        ["a@x.example", "A", "B"],
        {"Email": "Email", "First": "First"},
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "an empty file"),
        (codecs.BOM_UTF8, "an empty file"),
        (b"\n \n\n", "an empty file"),
        (b"sep=;\n", "an empty file"),
        (b"PK\x03\x04rest", "save it as CSV"),
        (b"\xd0\xcf\x11\xe0rest", "save it as CSV"),
        (b"Email,First\na\x00,b\n", "a binary file"),
        (b"Email,First\n\x81\x8d,b\n", "a binary file"),
        ("Email,First\né,Zo".encode() + "é".encode()[:1], "in the middle of a character"),
        (b'Email,First\na,b\nc,"d\ne,f\n', "line 3: found a quote that is never closed"),
        (b'Email,"First\na,b\n', "a quote that is never closed"),
        (b"Email,First,Email\n", "the column 'Email' 2 times"),
        (b"Email,First Name\n", "no column 'First'"),
        (b"ada@x.example,Ada\nbob@x.example,Bob\n", "a header line above the records"),
    ],
)
def test_a_file_that_cannot_be_read_as_a_whole_is_refused(
    tmp_path: Path, content: bytes, expected: str
):
    [problem] = _problems(tmp_path, content)
    assert problem.startswith("leads.csv: ")
    assert expected in problem
    assert "ada@x.example" not in problem


def test_a_column_that_is_not_there_is_told_with_the_nearest(tmp_path: Path):
    [problem] = _problems(tmp_path, "Email,Frist,City\n")
    assert "'Frist', or another of the columns there: 'Email', 'Frist', 'City'" in problem


def test_columns_of_outcome_and_arrival_must_be_there_too(tmp_path: Path):
    found = _problems(
        tmp_path, "Email,First\n", outcome={"column": "Won", "won": "1"}, arrived="Order"
    )
    assert [("'Order'" in found[0], "'Won'" in found[1])] == [(True, True)]


def test_problems_of_all_files_are_told_at_once(tmp_path: Path):
    (tmp_path / "a.csv").write_text("Email,Email,Last\n")
    (tmp_path / "b.csv").write_bytes(b"PK\x03\x04")
    (tmp_path / "c.csv").write_text('Email,First\n"')
    assert [problem.split(":")[0] for problem in _problems(tmp_path, "Email,First\n")] == [
        *("a.csv", "a.csv", "b.csv", "c.csv")
    ]


@pytest.mark.parametrize("path", ["nothing.csv", "in/*.csv", "in"])
def test_a_path_without_a_file_is_refused(tmp_path: Path, path: str):
    (tmp_path / "in").mkdir()
    with pytest.raises(BadInput, match="at least one CSV file"):
        _read_source(_source(path=path), "csv-1", tmp_path)


def test_an_outcome_by_value_is_known_where_there_is_one(tmp_path: Path):
    text = "Email,First,Won\na@x.example,A,Yes\nb@x.example,B,no\nc@x.example,C,\n"
    rows = _read(tmp_path, text, outcome={"column": "Won", "won": "yes"}).rows
    assert rows["won"].tolist() == [True, False, pd.NA]
    assert rows["won_at"].isna().all()
    assert rows["custom"].tolist() == ["{}"] * 3


def test_an_outcome_by_instant_tells_when(tmp_path: Path):
    text = "Email,First,At\na@x.example,A,2026-01-02T03:04:05+01:00\nb@x.example,B,\n"
    harvested = _read(tmp_path, f"{text}c@x.example,C,soon\n", outcome={"at": "At"})
    assert harvested.rows["won"].isna().tolist() == [False, True]
    assert harvested.rows["won_at"][0] == pd.Timestamp("2026-01-02T02:04:05Z")
    assert _refused(harvested) == [(4, "outcome: not an ISO date")]


def test_arrival_is_kept_as_given(tmp_path: Path):
    rows = _read(tmp_path, "Email,First,No\na@x.example,A,007\n", arrived="No").rows
    assert rows["arrived"].tolist() == ["007"]


def test_a_template_makes_a_field_of_the_whole_row(tmp_path: Path):
    columns = {"email": "{{ row['Id'] | lower }}@x.example", "first_name": "First"}
    harvested = _read(tmp_path, "Id,First\nA1,Ada\n,Bob\nC1,\n", columns=columns)
    assert harvested.rows["email"].tolist() == ["a1@x.example", "c1@x.example"]
    assert harvested.rows["custom"].tolist() == ['{"Id": "A1"}', '{"Id": "C1"}']
    assert _refused(harvested) == [(3, "column template failed: email")]
    assert json.loads(harvested.rejects["content"][0]) == {"Id": None, "First": "Bob"}


def test_frames_of_several_sources_can_be_joined(tmp_path: Path):
    """Also where one is empty or lacks a column, of which pandas warns for other dtypes."""
    one = _read(tmp_path, "Email,First\na@x.example,A\n")
    other = _read(tmp_path, "Email,City\n", columns={"email": "Email", "city": "City"})
    joined = pd.concat([one.rows, other.rows], ignore_index=True)
    assert joined["city"].isna().tolist() == [True]
    assert len(pd.concat([one.rejects, other.rejects])) == 0


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data is not beside this checkout")
class TestRealFiles:
    def test_companies_with_bare_carriage_returns_are_read_in_full(self):
        path = "companies/crunchbase-2013-companies.csv"
        source = _source(path=path, columns={"company": "name", "country": "country_code"})
        harvested = _read_source(source, "csv-1", SHARED)
        assert (len(harvested.rows), len(harvested.rejects)) == (17_727, 0)
        assert harvested.rows["row"].iloc[-1] == 17_728
        assert harvested.rows["company"].iloc[-1] == "_Shwrüm"

    def test_the_leads_of_x_education_are_read_as_their_campaign_says(self):
        folder = SHARED / "x_education"
        text = (folder / "campaign.yaml").read_text(encoding="utf-8")
        [source] = read_campaign(parse_yaml(text, "campaign.yaml"), "campaign.yaml").sources
        assert isinstance(source, CsvSource)
        harvested = _read_source(source, "csv-1", folder)
        assert (len(harvested.rows), len(harvested.rejects)) == (6_468, 0)
        assert harvested.rows["email"].str.endswith("@leads.example").all()
        assert harvested.rows["won"].notna().all()
        assert not harvested.rows["custom"].str.contains('"Converted":').any()
        assert harvested.rows["city"].ne("Select").fillna(value=True).all()
