"""Leads that someone sends: checked, kept, and a source of their campaign from then on.

Not here: merging them with what other sources gave (`harvest`), or HTTP.
"""

import csv
import hashlib
import io
import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from aicmo_dagster.domain.documents import validate
from aicmo_dagster.domain.field_types import FURNISHED
from aicmo_dagster.domain.schemas import dtypes
from aicmo_dagster.domain.sections.sources import CsvSource
from aicmo_dagster.domain.tokens import normal_address
from aicmo_dagster.errors import BadInput, Problem
from aicmo_dagster.settings import Settings
from aicmo_dagster.sources.csv_files import Harvested, read_csv_source
from aicmo_dagster.sources.csv_text import CHUNK, Layout, read_layout, records, utf8_chunks
from aicmo_dagster.sources.lead_files import Kind, as_csv
from aicmo_dagster.stages.harvesting.erased import erased_among
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.audit import record_change
from aicmo_dagster.store.erasures import any_erased
from aicmo_dagster.store.uploads import (
    Upload,
    complete,
    list_uploads,
    locked_content,
    put_upload,
    read_content,
    replace_content,
)

_FIELDS = [name for name in dtypes("raw_leads") if name not in FURNISHED - {"domain"}]


def import_leads(
    workspace: Workspace,
    key: str,
    path: Path,
    kind: Kind,
    name: str,
    columns: Mapping[str, str],
    who: str,
    now: datetime,
) -> tuple[Upload, bool]:
    """The leads of a file are a source of the campaign; tells whether that is new.

    The same file under the same name changes nothing; another of that name takes its place.

    Args:
        workspace: The workspace.
        key: The campaign.
        path: The file.
        kind: What it is.
        name: What the import is called.
        columns: Our field to their column; where there is none, columns that are named as ours are.
        who: Who sent it.
        now: When.

    Raises:
        BadInput: If it cannot be read to its end, or no column of it is one of ours.
    """
    workspace.campaign(key)
    digest = _digest(path, kind, columns)
    for known in _uploads(workspace, key):
        if (known.name, known.digest) == (name, digest):
            return known, False
    made = as_csv(path, kind, name)
    layout = read_layout(made, name, frozenset())
    mapping = dict(columns) or _own_names(layout)
    source = _source(mapping, made, name)
    counts = _counted(read_csv_source(source, name, made.parent))
    new = Upload(0, key, name, digest, mapping, *counts, who, now)
    new = _put(workspace, new, utf8_chunks(made, layout.encoding, CHUNK))
    for address in _erased_in(workspace, read_csv_source(source, name, made.parent)):
        forget_imported(workspace, address)
    return new, True


def _put(workspace: Workspace, new: Upload, content: Iterator[bytes]) -> Upload:
    """It is kept and on record; gives it with its number."""
    counts = (new.rows, new.rejected)
    told = (new.campaign, new.name, new.digest, new.columns, counts, new.created_by)
    number = put_upload(workspace.database, *told, new.created_at, content)
    with workspace.database.write() as connection:
        complete(connection, number)
        after = {"import": number, "rows": new.rows, "digest": new.digest}
        who, key = new.created_by, new.campaign
        record_change(connection, who, "leads.import", new.created_at, campaign=key, after=after)
    return replace(new, id=number)


def _erased_in(workspace: Workspace, parts: Iterable[Harvested]) -> set[str]:
    """Addresses of people who were erased, before the file came or while it did."""
    found: set[str] = set()
    with workspace.database.read() as connection:
        if not any_erased(connection):
            return found
        for part in parts:
            if "email" in part.rows:
                texts = part.rows["email"].dropna().astype(str)
                found |= erased_among(connection, workspace.settings.secret_key(), texts)
    return {normal_address(each) for each in found}


def imported(workspace: Workspace, key: str) -> Iterator[tuple[str, Iterable[Harvested]]]:
    """Each import of the campaign: its name as a source, and what it holds, part by part."""
    for upload in _uploads(workspace, key):
        with _on_disk(workspace, upload) as path:
            source = _source(upload.columns, path, upload.name)
            yield f"import-{upload.id}", read_csv_source(source, f"import-{upload.id}", path.parent)


def forget_imported(workspace: Workspace, address: str) -> int:
    """No import has a record with `address` any more; tells how many had.

    Args:
        workspace: The workspace.
        address: As `tokens.normal_address` gives it.
    """
    forgotten = 0
    for upload in _uploads(workspace, None):
        with _on_disk(workspace, upload) as path:
            if not path.stat().st_size or not _without(_layout(path, upload), address)[1]:
                continue  # it was removed meanwhile, or nobody is named
            # Once more what is there now, which another erasure may have changed.
            with workspace.database.write() as connection:
                path.write_bytes(locked_content(connection, upload.id))
                if path.stat().st_size:
                    kept, gone = _without(_layout(path, upload), address)
                    replace_content(connection, upload.id, kept if gone else [path.read_bytes()])
                    forgotten += gone
    return forgotten


def _layout(path: Path, upload: Upload) -> Layout:
    return read_layout(path, upload.name, frozenset())


def _uploads(workspace: Workspace, key: str | None) -> list[Upload]:
    with workspace.database.read() as connection:
        return list_uploads(connection, key)


@contextmanager
def copy_folder(settings: Settings) -> Iterator[Path]:
    """A folder for a file of leads while it is read; housekeeping removes what a kill leaves."""
    settings.copies.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="import-", dir=settings.copies) as folder:
        yield Path(folder)


@contextmanager
def _on_disk(workspace: Workspace, upload: Upload) -> Iterator[Path]:
    """The upload as a CSV file, for as long as it is read."""
    with copy_folder(workspace.settings) as folder:
        path = folder / f"{upload.name}.csv"
        with path.open("wb") as file:
            for chunk in read_content(workspace.database, upload.id):
                file.write(chunk)
        yield path


def _source(columns: Mapping[str, str], path: Path, where: str) -> CsvSource:
    document = {"type": "csv", "path": path.name, "columns": dict(columns)}
    return validate(CsvSource, document, where)


def _own_names(layout: Layout) -> dict[str, str]:
    """Our field to the column that is named like it, whatever its case and spacing."""
    spelled = {re.sub(r"[\s-]+", "_", name.strip().lower()): name for name in layout.header}
    found = {field: spelled[field] for field in _FIELDS if field in spelled}
    if not found:
        shown = ", ".join(map(repr, layout.header[:20]))
        expected = f"columns named as our fields ({', '.join(_FIELDS)}), or `columns` to say which"
        raise BadInput(Problem(layout.where, "header", f"the columns {shown}", expected))
    return found


def _counted(parts: Iterable[Harvested]) -> tuple[int, int]:
    """How many records there are, and how many of them cannot be read."""
    rows = rejected = 0
    for part in parts:
        rows += part.read
        rejected += len(part.rejects)
    return rows, rejected


def _digest(path: Path, kind: Kind, columns: Mapping[str, str]) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    digest.update(json.dumps([kind, sorted(columns.items())]).encode())
    return digest.hexdigest()


def _without(layout: Layout, address: str) -> tuple[list[bytes], int]:
    """The text without the records that hold `address`, and how many those were."""
    text = layout.path.read_bytes().decode()
    local = address.partition("@")[0]
    if local not in text.lower():
        return [], 0
    body = len(text.encode()[: layout.body_offset].decode())
    kept = io.StringIO()
    kept.write(text[:body])
    writer = csv.writer(kept, delimiter=layout.delimiter, lineterminator="\n")
    gone = 0
    for record in records(io.StringIO(text[body:], newline=""), layout.delimiter):
        if any(_is(cell, address, local) for cell in record.cells):
            gone += 1
        else:
            writer.writerow(record.cells)
    whole = kept.getvalue().encode()
    return [whole[start : start + CHUNK] for start in range(0, len(whole), CHUNK)], gone


def _is(cell: str, address: str, local: str) -> bool:
    return local in cell.lower() and normal_address(cell) == address
