"""The whole system as Dagster sees it: a table of contents."""

import dagster as dg

from aicmo_dagster.defs.announcements import ANNOUNCEMENT_SENSORS
from aicmo_dagster.defs.assets import ASSETS
from aicmo_dagster.defs.checks import CHECKS
from aicmo_dagster.defs.engagement import (
    ENGAGEMENT_ASSETS,
    ENGAGEMENT_JOBS,
    ENGAGEMENT_SENSORS,
)
from aicmo_dagster.defs.housekeeping import housekeeping_job, housekeeping_schedule
from aicmo_dagster.defs.incidents import INCIDENT_JOBS, INCIDENT_SENSORS
from aicmo_dagster.defs.jobs import JOBS
from aicmo_dagster.defs.models import score_model, train_job
from aicmo_dagster.defs.reports import campaign_report, report_job
from aicmo_dagster.defs.resources import RESOURCES
from aicmo_dagster.defs.sensors import SENSORS

defs = dg.Definitions(
    assets=[*ASSETS, score_model, *ENGAGEMENT_ASSETS, campaign_report],
    asset_checks=CHECKS,
    jobs=[*JOBS, train_job, report_job, *ENGAGEMENT_JOBS, *INCIDENT_JOBS, housekeeping_job],
    schedules=[housekeeping_schedule],
    sensors=[*SENSORS, *ENGAGEMENT_SENSORS, *INCIDENT_SENSORS, *ANNOUNCEMENT_SENSORS],
    resources=RESOURCES,
    # A chain has nothing to run in parallel, and a process for each step costs twenty times more.
    executor=dg.in_process_executor,
)
