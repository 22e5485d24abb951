"""The jobs: runs of the assets under a name. Not here: when they run."""

import dagster as dg

from aicmo_dagster.defs.assets import ASSETS

lead_pipeline_job = dg.define_asset_job(
    "lead_pipeline_job",
    selection=dg.AssetSelection.assets(*ASSETS[:4]),
    description="Harvest, score, qualify and route the leads of a campaign; nobody is written to.",
)
full_pipeline_job = dg.define_asset_job(
    "full_pipeline_job",
    selection=dg.AssetSelection.assets(*ASSETS),
    description="All five stages of a campaign, from its sources to the mail that is due.",
)
nurture_job = dg.define_asset_job(
    "nurture_job",
    selection=dg.AssetSelection.assets(ASSETS[4]),
    description="Send what is due in a campaign.",
)

JOBS = [lead_pipeline_job, full_pipeline_job, nurture_job]
