"""The asset `campaign_report` and its job. Not here: what a report says (`stages`)."""

import dagster as dg

from aicmo_dagster.defs.assets import OWNERS
from aicmo_dagster.defs.in_turn import Metadata, Work, materialise
from aicmo_dagster.defs.partitions import campaign_partitions
from aicmo_dagster.defs.pools import MAIL
from aicmo_dagster.defs.resources import Clock
from aicmo_dagster.stages.operating.campaign_report import STAGE, report_campaign
from aicmo_dagster.stages.report import Report
from aicmo_dagster.stages.workspace import Workspace


@dg.asset(
    name=STAGE,
    partitions_def=campaign_partitions,
    group_name="pipeline",
    kinds={"email"},
    owners=OWNERS,
    deps=["nurture_sends"],
    pool=MAIL,
)
def campaign_report(
    context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace], clock: Clock
) -> dg.MaterializeResult:
    """The owner of the campaign is mailed how it stands: counts and reasons, nobody's name."""

    def perform(key: str) -> tuple[Report, Metadata]:
        report = report_campaign(workspace, key, clock.now())
        numbers = {name: dg.MetadataValue.float(value) for name, value in report.figures.items()}
        text = "\n".join(report.notes)
        return report, {"report": dg.MetadataValue.md(f"```\n{text}\n```"), **numbers}

    return materialise(context, Work(STAGE, perform), workspace)


report_job = dg.define_asset_job(
    "report_job",
    selection=dg.AssetSelection.assets(campaign_report),
    description="Mail the owner of a campaign how it stands.",
)
