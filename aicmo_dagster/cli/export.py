"""`aicmo export`: a stage's frame as a file."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from aicmo_dagster.domain.field_types import is_url
from aicmo_dagster.domain.schemas import STAGES
from aicmo_dagster.errors import AicmoError
from aicmo_dagster.settings import load_settings
from aicmo_dagster.sources.remote_files import put
from aicmo_dagster.stages.leads.export import Format, exported
from aicmo_dagster.stages.workspace import open_workspace


@click.command()
@click.argument("key")
@click.argument("asset", type=click.Choice(STAGES))
@click.option(
    "--format",
    "kind",
    type=click.Choice(["csv", "parquet", "jsonl"]),
    default="csv",
    show_default=True,
)
@click.option("-o", "--output", help="The file, or its URL; else standard output.")
def export(key: str, asset: str, kind: Format, output: str | None) -> None:
    """Write ASSET of campaign KEY as CSV, Parquet or JSON Lines."""
    if kind == "parquet" and output is None:
        raise AicmoError("parquet is not text: name a file with --output")
    with open_workspace(load_settings()) as workspace:
        workspace.campaign(key)
        try:
            _write(exported(workspace, asset, key, kind), output)
        except BrokenPipeError:
            # Whoever reads has seen enough; nothing more may be written, not even at exit.
            sys.stdout = None
        except OSError as error:
            raise AicmoError(f"{output}: cannot be written ({error.strerror or error})") from error


def _write(parts: Iterator[bytes], output: str | None) -> None:
    if output is None:
        for part in parts:
            sys.stdout.buffer.write(part)
        sys.stdout.flush()
    elif is_url(output):
        with tempfile.NamedTemporaryFile(prefix="aicmo-") as file:
            file.writelines(parts)
            file.flush()
            put(Path(file.name), output, "--output")
    else:
        with Path(output).open("wb") as local:
            local.writelines(parts)
