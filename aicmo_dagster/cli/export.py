"""`aicmo export`: a stage's frame as a file."""

import sys
from pathlib import Path

import click
import pandas as pd

from aicmo_dagster.domain.schemas import STAGES
from aicmo_dagster.errors import AicmoError
from aicmo_dagster.settings import load_settings
from aicmo_dagster.stages.workspace import open_workspace
from aicmo_dagster.store.frames import read_frame

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


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
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="The file; else standard output."
)
def export(key: str, asset: str, kind: str, output: Path | None) -> None:
    """Write ASSET of campaign KEY as CSV, Parquet or JSON Lines."""
    if kind == "parquet" and output is None:
        raise AicmoError("parquet is not text: name a file with --output")
    with open_workspace(load_settings()) as workspace:
        workspace.campaign(key)
        with workspace.database.read() as connection:
            frame = read_frame(connection, asset, key)
    try:
        _write(frame, kind, output)
    except BrokenPipeError:
        # Whoever reads has seen enough; nothing more may be written, not even at exit.
        sys.stdout = None
    except OSError as error:
        raise AicmoError(f"{output}: cannot be written ({error.strerror or error})") from error


def _write(frame: pd.DataFrame, kind: str, output: Path | None) -> None:
    target = output or sys.stdout
    if kind == "parquet":
        frame.to_parquet(output)
    elif kind == "jsonl":
        frame.to_json(target, orient="records", lines=True, date_format="iso", force_ascii=False)
    else:
        defused(frame).to_csv(target, index=False)


def defused(frame: pd.DataFrame) -> pd.DataFrame:
    """`frame` with an apostrophe before text that a spreadsheet would run as a formula (OWASP)."""
    texts = [str(name) for name, dtype in frame.dtypes.items() if str(dtype).startswith("string")]
    changed = {}
    for name in texts:
        runs = frame[name].str.startswith(FORMULA_STARTS).fillna(False).astype(bool)
        changed[name] = frame[name].mask(runs, "'" + frame[name])
    return frame.assign(**changed)
