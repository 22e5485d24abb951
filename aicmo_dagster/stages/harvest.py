"""Raw leads: every source of the campaign read, normalised, merged.

Not here: how a file is read.
"""

from datetime import datetime

import pandas as pd

from aicmo_dagster.domain.campaigns import CsvSource
from aicmo_dagster.domain.intake import Intake, intake
from aicmo_dagster.errors import AicmoError
from aicmo_dagster.sources.csv_files import Harvested, read_csv_source
from aicmo_dagster.stages.report import Report, counted
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.campaigns import StoredCampaign
from aicmo_dagster.store.frames import read_frame, replace_frame
from aicmo_dagster.store.harvests import put_aliases, read_aliases, replace_rejects
from aicmo_dagster.store.merges import follow_aliases


def harvest(workspace: Workspace, key: str, now: datetime) -> Report:
    """`raw_leads` of the campaign holds everyone its sources name, each person once.

    The sources are read before the transaction begins; one that cannot be read leaves the frame
    as it was.
    """
    stored = workspace.campaign(key)
    harvested, notes = _read_sources(stored)
    rejects = pd.concat([part.rejects for part in harvested], ignore_index=True)
    with workspace.database.write() as connection:
        taken = intake(
            pd.concat([part.rows for part in harvested], ignore_index=True),
            campaign=key,
            known=read_aliases(connection, key),
            previous=read_frame(connection, "raw_leads", key),
            now=now,
        )
        rejects = pd.concat([rejects, taken.rejects], ignore_index=True)
        replace_frame(connection, "raw_leads", key, taken.leads)
        put_aliases(connection, key, taken.aliases)
        follow_aliases(connection, key)
        replace_rejects(connection, key, rejects)
    return _report(key, sum(part.read for part in harvested), taken, rejects, notes)


def _read_sources(stored: StoredCampaign) -> tuple[list[Harvested], list[str]]:
    """What each source holds, and a note on each that this version cannot read."""
    harvested, notes = [], []
    for position, source in enumerate(stored.campaign.sources, start=1):
        name = f"{source.type}-{position}"
        if isinstance(source, CsvSource):
            harvested.append(read_csv_source(source, name, stored.folder))
        else:
            notes.append(f"source {name} was not harvested: only csv sources are, so far")
    if not harvested:
        raise AicmoError(
            f"campaign '{stored.campaign.campaign}' has no source of type csv to harvest"
        )
    return harvested, notes


def _report(key: str, read: int, taken: Intake, rejects: pd.DataFrame, notes: list[str]) -> Report:
    reasons = counted(rejects["reason"])
    if taken.merged:
        reasons["merged with another record of the same person"] = taken.merged
    figures = {
        "rejected_share": round(len(rejects) / read, 4) if read else 0.0,
        "with_address": int(taken.leads["email"].notna().sum()),
        "seen": taken.seen,
        "kept_from_before": taken.kept,
    }
    return Report(key, "raw_leads", read, len(taken.leads), reasons, figures, tuple(notes))
