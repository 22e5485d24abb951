"""What the cron is measured against: five trivial assets as one plain Dagster job."""

import dagster as dg


@dg.asset
def first() -> None:
    """Nothing."""


@dg.asset(deps=[first])
def second() -> None:
    """Nothing."""


@dg.asset(deps=[second])
def third() -> None:
    """Nothing."""


@dg.asset(deps=[third])
def fourth() -> None:
    """Nothing."""


@dg.asset(deps=[fourth])
def fifth() -> None:
    """Nothing."""


@dg.sensor(
    job_name="plain_job",
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def plain_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Starts some runs, once."""
    count = 0 if context.cursor else 10
    return dg.SensorResult([dg.RunRequest(run_key=str(n)) for n in range(count)], cursor="done")


defs = dg.Definitions(
    assets=[first, second, third, fourth, fifth],
    jobs=[dg.define_asset_job("plain_job", selection="*")],
    sensors=[plain_sensor],
    executor=dg.in_process_executor,
)
