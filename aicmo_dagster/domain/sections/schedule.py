"""The section `schedule`: when jobs run by themselves. Not here: what is due (`schedules`)."""

from pydantic import Field

from aicmo_dagster.domain.documents import Section
from aicmo_dagster.domain.field_types import Blackout, Cron, Zone


class Schedule(Section):
    """Cron expressions of the jobs, in one time zone; on the days of `blackout` nothing starts."""

    harvest: Cron | None = None
    nurture: Cron | None = None
    train: Cron | None = None
    report: Cron | None = None
    full_pipeline: Cron | None = None
    timezone: Zone = "UTC"
    enabled: bool = True
    blackout: list[Blackout] = Field(default=[])
