"""What a materialisation tells: counts, reasons, a preview without personal data, a picture."""

from datetime import datetime
from itertools import islice

import dagster as dg
import pandas as pd

from aicmo_dagster.defs.pictures import bars, histogram, intervals
from aicmo_dagster.domain.qualification import funnel
from aicmo_dagster.domain.schemas import BANDS
from aicmo_dagster.stages.nurturing.calendar import nurture_tables
from aicmo_dagster.stages.report import Report
from aicmo_dagster.stages.summary import dispositions
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.frames import read_frame
from aicmo_dagster.store.harvests import source_overlaps

PREVIEW_COLUMNS = {
    "raw_leads": ["lead_id", "source", "seniority", "industry", "employees", "country"],
    "scored_leads": ["lead_id", "score", "band", "scale", "model", "contributions"],
    "qualified_leads": ["lead_id", "score", "decided_by"],
    "routed_leads": ["lead_id", "sequence", "campaign_version", "seed", "position", "score"],
    "nurture_sends": ["lead_id", "sequence", "step", "variant", "state", "due_at", "sent_at"],
}
"""The columns of each stage that name nobody; free text and reasons may, so they are left out."""

PREVIEW_ROWS = 10

MOST_BARS = 15
"""Combinations of sources beyond these are the rarest, and would only make the picture long."""


def of_report(workspace: Workspace, report: Report, now: datetime) -> dict[str, dg.MetadataValue]:
    """The metadata of one materialisation of one campaign."""
    frame = read_preview(workspace, report)
    metadata = {
        "dagster/partition_row_count": dg.MetadataValue.int(report.rows_out),
        "rows_in": dg.MetadataValue.int(report.rows_in),
        "rows_out": dg.MetadataValue.int(report.rows_out),
        "preview": table(frame.head(PREVIEW_ROWS)),
        **{name: _number(value) for name, value in report.figures.items()},
    }
    if report.decisions:
        rows = [(*said, count) for said, count in report.decisions.items()]
        metadata["decisions"] = table(pd.DataFrame(rows, columns=["outcome", "cause", "leads"]))
    if report.reasons:
        counts = {"reason": report.reasons.keys(), "rows": report.reasons.values()}
        metadata["not_going_on"] = table(pd.DataFrame(counts))
    if report.notes:
        metadata["notes"] = dg.MetadataValue.md("\n".join(f"- {note}" for note in report.notes))
    if report.stage == "nurture_sends":
        metadata |= _of_mail(workspace, report.campaign, now)
    return metadata | picture(workspace, report, frame)


def read_preview(workspace: Workspace, report: Report) -> pd.DataFrame:
    """The columns of the stage's frame that name nobody."""
    with workspace.database.read() as connection:
        columns = PREVIEW_COLUMNS[report.stage]
        return read_frame(connection, report.stage, report.campaign, columns)


def picture(
    workspace: Workspace, report: Report, frame: pd.DataFrame
) -> dict[str, dg.MetadataValue]:
    """The picture worth reading at this stage, if there is one."""
    match report.stage:
        case "raw_leads":
            with workspace.database.read() as connection:
                overlaps = source_overlaps(connection, report.campaign)
            shown = {" + ".join(names): n for names, n in islice(overlaps.items(), MOST_BARS)}
            return {"sources": bars("Leads by the sources that hold them", shown)}
        case "scored_leads":
            bands = {band: int((frame["band"] == band).sum()) for band in BANDS}
            return {
                "scores": histogram("Leads by score", frame["score"].tolist()),
                "bands": bars("Leads by band", bands),
            }
        case "qualified_leads":
            return {"funnel": _qualification_funnel(workspace, report)}
        case "routed_leads":
            return {"sequences": _sequences(workspace, report)}
        case "nurture_sends":
            return {"funnel": bars("Where the leads are", dispositions(workspace, report.campaign))}
        case _:
            return {}


def _qualification_funnel(workspace: Workspace, report: Report) -> dg.MarkdownMetadataValue:
    """How many are left after each step of the document."""
    qualification = workspace.campaign(report.campaign).campaign.qualification
    return bars("Left after each step", funnel(qualification, report.rows_in, report.reasons))


def _sequences(workspace: Workspace, report: Report) -> dg.MarkdownMetadataValue:
    """How many leads are under way in each sequence, and how many it may hold."""
    routes = workspace.campaign(report.campaign).campaign.routing.sequences
    held = {r.sequence: int(report.figures.get(f"active in {r.sequence}", 0)) for r in routes}
    limits = {route.sequence: route.capacity for route in routes if route.capacity is not None}
    return bars("Leads under way by sequence, and its capacity", held, limits)


def _of_mail(workspace: Workspace, key: str, now: datetime) -> dict[str, dg.MetadataValue]:
    """The calendar, where the leads are, and the tests of variants with their picture."""
    tables = nurture_tables(workspace, workspace.campaign(key), now)
    found: dict[str, dg.MetadataValue] = {name: table(told) for name, told in tables.items()}
    compared = tables.get("experiments", pd.DataFrame({"z": []})).dropna(subset="z")
    if compared.empty:
        return found
    labels = compared["step"] + ": " + compared["variant"]
    rows = zip(labels, compared["low"], compared["difference"], compared["high"], strict=True)
    return found | {"tests": intervals("Difference from the first variant, 95 %", list(rows))}


def table(frame: pd.DataFrame) -> dg.TableMetadataValue:
    """`frame` as a table that Dagster's pages show; instants and missing values as text."""
    plain = frame.astype(object).where(frame.notna(), "")
    names = [str(name) for name in plain.columns]
    rows = [
        {
            n: v if isinstance(v, str | int | float) else str(v)
            for n, v in zip(names, row, strict=True)
        }
        for row in plain.itertuples(index=False)
    ]
    schema = dg.TableSchema([dg.TableColumn(name) for name in names])
    return dg.MetadataValue.table([dg.TableRecord(row) for row in rows], schema)


def _number(value: float) -> dg.MetadataValue:
    if isinstance(value, int):
        return dg.MetadataValue.int(value)
    return dg.MetadataValue.float(float(value))
