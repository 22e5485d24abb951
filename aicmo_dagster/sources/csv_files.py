"""Leads from CSV files: the columns a campaign maps become our fields, the rest custom fields.

Values stay the text they are, and come part by part, so that a file may be of any size. Not here:
reading the files (`csv_text`, `csv_records`), normalising and judging the rows (`domain.intake`).
"""

import glob
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.compute as pc

from aicmo_dagster.domain.normalise import texts
from aicmo_dagster.domain.quantities import INSTANT, instants
from aicmo_dagster.domain.sandbox import RenderFailed
from aicmo_dagster.domain.sections.sources import CsvSource, Outcome
from aicmo_dagster.domain.templates import row_columns, row_template
from aicmo_dagster.errors import BadInput, Problem
from aicmo_dagster.sources import remote_files
from aicmo_dagster.sources.csv_records import Batch, Misfit, read_batches, show
from aicmo_dagster.sources.csv_text import read_layout

_PADDING = " \t\ufeff"
_TEXT = pyarrow.string()


@dataclass(frozen=True)
class Harvested:
    """What one source gave, or a part of it.

    Args:
        rows: One row a record: `source`, `file`, `row`, our fields as text, `custom` (JSON), `won`,
            `won_at`, `arrived`. `row` is the physical line that the record starts on.
        rejects: `source`, `file`, `row`, `reason` and `content` (JSON) of each record set aside.
        files: How many files were begun.
        read: How many records; each is in `rows` or in `rejects`.
    """

    rows: pd.DataFrame
    rejects: pd.DataFrame
    files: int
    read: int


@dataclass(frozen=True)
class _Mapping:
    """What becomes of a file's columns.

    Args:
        columns: Our field to their column.
        templates: Our field to what makes it of a whole row.
        outcome: The column that tells the outcome, if any, and the value in it that is a win;
            without a value the column holds the instant of the win.
        missing: What stands in a cell that holds nothing.
        named: The columns that the templates cannot do without.
    """

    columns: dict[str, str]
    templates: dict[str, Callable[[Mapping[str, str | None]], str]]
    outcome: tuple[str, str | None] | None
    missing: list[str]
    named: frozenset[str]

    @property
    def wanted(self) -> frozenset[str]:
        """The columns that are ours, and so no custom fields."""
        return frozenset([*self.columns.values(), *([self.outcome[0]] if self.outcome else [])])


def read_csv_source(
    source: CsvSource, name: str, folder: Path, copies: Path | None = None
) -> Iterator[Harvested]:
    """Every record of the source's files, in order of file name and line, part by part.

    Args:
        source: The source as the campaign document describes it.
        name: What the rows are to carry as their source, such as ``csv-1``.
        folder: The folder that the source's path is relative to, unless it is a URL.
        copies: Where copies of files at a URL are made, as `remote_files.fetched` takes it.

    Raises:
        BadInput: If there is no file, or some cannot be read as a whole; with every problem found,
            and so at the very end. What came before is of no use then.
        Transient: If a URL cannot be reached now.
    """
    mapping = _mapping_of(source)
    problems: list[Problem] = []
    for where, opened in _files(source, name, folder, copies):
        try:
            with opened as path:
                layout = read_layout(path, where, mapping.wanted | mapping.named)
                for place, batch in enumerate(read_batches(layout, mapping.missing)):
                    if not problems:
                        yield _harvested(batch, mapping, name, where, begins=place == 0)
        except BadInput as error:
            problems += error.problems
    if problems:
        raise BadInput(*problems)


def _files(
    source: CsvSource, name: str, folder: Path, copies: Path | None
) -> list[tuple[str, AbstractContextManager[Path]]]:
    """What each file of the source is called, and the file itself while it is read."""
    if not source.is_remote:
        paths = _matching(source.path, folder)
        return [(_relative(path, folder), nullcontext(path)) for path in paths]
    found = remote_files.matching(source.path, name)
    if not found:
        told = remote_files.shown(source.path)
        raise BadInput(Problem(name, told, "no such file", "at least one CSV file there"))
    return [(file.url, remote_files.fetched(file, name, copies)) for file in found]


def _harvested(
    batch: Batch, mapping: _Mapping, name: str, where: str, *, begins: bool
) -> Harvested:
    accepted, refused = (_labelled(part, name, where) for part in _split(batch, mapping))
    read = accepted.num_rows + refused.num_rows
    return Harvested(_frame(accepted), _frame(refused), int(begins), read)


def _mapping_of(source: CsvSource) -> _Mapping:
    made = {field: theirs for field, theirs in source.columns.items() if "{{" in theirs}
    columns = {field: t.strip() for field, t in source.columns.items() if field not in made}
    if source.arrived:
        made.pop("arrived", None)
        columns["arrived"] = source.arrived.strip()
    templates = {field: row_template(text) for field, text in made.items()}
    named = frozenset[str]().union(*map(row_columns, made.values()))
    return _Mapping(columns, templates, _outcome_of(source.outcome), source.missing, named)


def _outcome_of(outcome: Outcome | None) -> tuple[str, str | None] | None:
    if outcome is None:
        return None
    return (outcome.column or outcome.at or "").strip(), outcome.won


def _matching(pattern: str, folder: Path) -> list[Path]:
    """The files that `pattern` names, sorted."""
    if (folder / pattern).is_file():
        return [folder / pattern]
    # Not Path.glob, which knows no absolute patterns.
    names = glob.glob(pattern, root_dir=folder, recursive=True)  # noqa: PTH207
    paths = sorted(folder / name for name in names if (folder / name).is_file())
    if not paths:
        found = "a folder" if (folder / pattern).is_dir() else "no such file"
        raise BadInput(Problem(pattern, "", found, f"at least one CSV file there, from {folder}"))
    return paths


def _relative(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)


def _split(batch: Batch, mapping: _Mapping) -> tuple[pyarrow.Table, pyarrow.Table]:
    """The rows that `mapping` makes of a batch, and its rejects."""
    cells = batch.cells
    made, failed = _made_by_templates(cells, mapping)
    won, won_at, unread = _outcomes(cells, mapping.outcome)
    reasons = pc.coalesce(_repeats_of_header(cells), failed, unread)
    fields = {field: cells[column].combine_chunks() for field, column in mapping.columns.items()}
    columns = {"row": pyarrow.array(batch.lines), **fields, **made}
    columns.setdefault("arrived", pyarrow.nulls(cells.num_rows, _TEXT))
    unmapped = cells.drop_columns(list(mapping.wanted))
    columns |= {"custom": _json_objects(unmapped), "won": won, "won_at": won_at}
    refused = pc.is_valid(reasons)
    misfits = list(batch.misfits)
    if pc.any(refused).as_py():
        lines = batch.lines[np.asarray(refused)].tolist()
        contents = cells.filter(refused).to_pylist()
        misfits += [
            Misfit(line, reason, show(list(content.values()), cells.column_names))
            for line, reason, content in zip(
                lines, reasons.filter(refused).to_pylist(), contents, strict=True
            )
        ]
    return pyarrow.table(columns).filter(pc.invert(refused)), _rejects(misfits)


def _repeats_of_header(cells: pyarrow.Table) -> pyarrow.Array:
    """The reason where a record is the header once more, as when files were joined."""
    same: pyarrow.Array = pyarrow.array(np.ones(cells.num_rows, bool))
    for place, name in enumerate(cells.column_names, start=1):
        if not pc.any(same).as_py():
            break
        written = pc.utf8_trim(pc.fill_null(cells[name].combine_chunks(), ""), _PADDING)
        same = pc.and_(same, pc.equal(written, "" if name == f"column {place}" else name))
    return pc.if_else(same, "repeats the header", pyarrow.scalar(None, _TEXT))


def _made_by_templates(
    cells: pyarrow.Table, mapping: _Mapping
) -> tuple[dict[str, pyarrow.Array], pyarrow.Array]:
    """The fields that templates make, and the reason where one fails."""
    reasons: list[str | None] = [None] * cells.num_rows
    values: dict[str, list[str | None]] = {field: [] for field in mapping.templates}
    for place, row in enumerate(cells.to_pylist() if mapping.templates else ()):
        for field, template in mapping.templates.items():
            try:
                value: str | None = template(row)
            except RenderFailed:
                value, reasons[place] = None, f"column template failed: {field}"
            values[field].append(None if value in mapping.missing else value)
    made = {field: pyarrow.array(column, _TEXT) for field, column in values.items()}
    return made, pyarrow.array(reasons, _TEXT)


def _outcomes(
    cells: pyarrow.Table, outcome: tuple[str, str | None] | None
) -> tuple[pyarrow.Array, pyarrow.Array, pyarrow.Array]:
    """Whether and when each was won, and the reason where that cannot be read. Empty is unknown."""
    count = cells.num_rows
    won_at, reasons = pyarrow.nulls(count, INSTANT), pyarrow.nulls(count, _TEXT)
    if outcome is None:
        return pyarrow.nulls(count, pyarrow.bool_()), won_at, reasons
    column, value = outcome
    written = texts(cells[column].combine_chunks())
    if value is not None:
        return pc.equal(pc.utf8_lower(written), value.strip().lower()), won_at, reasons
    won_at = instants(written)
    won = pc.if_else(pc.is_valid(won_at), True, pyarrow.scalar(None, pyarrow.bool_()))
    # Taking such a cell for unknown would lose the wins of a whole file without a word.
    unread = pc.and_(pc.is_valid(written), pc.is_null(won_at))
    return won, won_at, pc.if_else(unread, "outcome: not an ISO date", reasons)


def _json_objects(cells: pyarrow.Table) -> pyarrow.Array:
    """Each record as the text of a JSON object, missing cells left out."""
    if not cells.num_columns:
        return pyarrow.array(["{}"] * cells.num_rows, _TEXT)
    members = [
        pc.binary_join_element_wise(
            f', {json.dumps(name, ensure_ascii=False)}: "',
            _escaped(column.combine_chunks()),
            '"',
            "",
        )
        for name, column in zip(cells.column_names, cells.columns, strict=True)
    ]
    # Not null_handling="skip", which drops the records that have no member at all (pyarrow 26).
    joined = pc.binary_join_element_wise(*members, "", null_handling="replace", null_replacement="")
    return pc.binary_join_element_wise("{", pc.utf8_slice_codeunits(joined, 2), "}", "")


def _escaped(column: pyarrow.Array) -> pyarrow.Array:
    """`column` as it stands between the quotes of a JSON string."""
    characters = column.buffers()[2]
    if characters is None:
        return column
    raw = np.frombuffer(characters, np.uint8)
    if not ((raw < ord(" ")) | (raw == ord('"')) | (raw == ord("\\"))).any():
        return column
    special = pc.match_substring_regex(column, r'[\x00-\x1f"\\]')
    special = pc.fill_null(special, fill_value=False)
    written = [
        json.dumps(text, ensure_ascii=False)[1:-1] for text in column.filter(special).to_pylist()
    ]
    return pc.replace_with_mask(column, special, pyarrow.array(written, _TEXT))


def _rejects(misfits: list[Misfit]) -> pyarrow.Table:
    ordered = sorted(misfits, key=lambda misfit: misfit.line)
    columns = {
        "row": pyarrow.array([misfit.line for misfit in ordered], pyarrow.int64()),
        "reason": pyarrow.array([misfit.reason for misfit in ordered], _TEXT),
        "content": pyarrow.array([misfit.content for misfit in ordered], _TEXT),
    }
    return pyarrow.table(columns)


def _labelled(table: pyarrow.Table, name: str, where: str) -> pyarrow.Table:
    """`table` with the source and the file before it."""
    for place, (column, value) in enumerate((("source", name), ("file", where))):
        values = pyarrow.repeat(pyarrow.scalar(value, _TEXT), table.num_rows)
        table = table.add_column(place, column, values)
    return table


def _frame(table: pyarrow.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas(types_mapper=pd.ArrowDtype)
    return frame
