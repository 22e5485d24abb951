"""The whole system as Dagster sees it: a table of contents."""

import dagster as dg

from aicmo_dagster.defs.assets import ASSETS
from aicmo_dagster.defs.checks import CHECKS
from aicmo_dagster.defs.engagement import (
    ENGAGEMENT_ASSETS,
    ENGAGEMENT_JOBS,
    ENGAGEMENT_SENSORS,
)
from aicmo_dagster.defs.jobs import JOBS
from aicmo_dagster.defs.resources import Clock, WorkspaceResource

defs = dg.Definitions(
    assets=[*ASSETS, *ENGAGEMENT_ASSETS],
    asset_checks=CHECKS,
    jobs=[*JOBS, *ENGAGEMENT_JOBS],
    sensors=ENGAGEMENT_SENSORS,
    resources={"workspace": WorkspaceResource(), "clock": Clock()},
    # A chain has nothing to run in parallel, and a process for each step costs twenty times more.
    executor=dg.in_process_executor,
)
