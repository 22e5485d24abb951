"""The jobs: runs of the assets under a name.

Not here: when they run (`sensors`), or jobs whose runs campaigns share (`shared_runs`).
"""

from typing import Any

import dagster as dg

from aicmo_dagster.defs.assets import ASSETS
from aicmo_dagster.defs.in_turn import LONG
from aicmo_dagster.defs.shared_runs import SHARED_JOBS

lead_pipeline_job = dg.define_asset_job(
    "lead_pipeline_job",
    selection=dg.AssetSelection.assets(*ASSETS[:4]),
    tags=LONG,
    description="Harvest, score, qualify and route the leads of a campaign; nobody is written to.",
)
full_pipeline_job = dg.define_asset_job(
    "full_pipeline_job",
    selection=dg.AssetSelection.assets(*ASSETS),
    tags=LONG,
    description="All five stages of a campaign, from its sources to the mail that is due.",
)
nurture_job = dg.define_asset_job(
    "nurture_job",
    selection=dg.AssetSelection.assets(ASSETS[4]),
    description="Send what is due in a campaign.",
)


JOBS: list[Any] = [lead_pipeline_job, full_pipeline_job, nurture_job, *SHARED_JOBS]
