"""What it costs to live through a campaign of 1,000 leads over 30 days, as `aicmo simulate` does.

Virtual time costs nothing: what is paid for is the work of the stages.
"""

from collections.abc import Iterator
from pathlib import Path

from aicmo_dagster.simulation.behaviour import Behaviour
from aicmo_dagster.simulation.life import Setting, live
from aicmo_dagster.sources.campaign_files import CampaignFile
from aicmo_dagster_tests.bench.measure import Measured, cost
from aicmo_dagster_tests.simulation.worlds import MONDAY, living, nurture

LEADS, DAYS, MOST_SECONDS = 1000, 30, 20


def run(scratch: Path) -> Iterator[Measured]:
    """CPU seconds of one life, start of the process and imports left out."""
    found = cost(_live, LEADS, DAYS, str(scratch))
    size = f"{LEADS:,} leads, {DAYS} days"
    yield Measured("aicmo simulate", size, found.cpu, "CPU s", bound=MOST_SECONDS)
    yield Measured("aicmo simulate", size, found.peak, "MiB")


def _live(leads: int, days: int, folder: str) -> int:
    document = living(
        schedule={"harvest": "0 6 * * 1-5", "nurture": "*/15 * * * *"},
        nurture=nurture(caps={"per_sender_per_day": 60, "per_domain_per_hour": 10}),
    )
    setting = Setting(CampaignFile(document, {}, Path(folder)), MONDAY, days, leads, Behaviour())
    return live(setting, 1).funnel.totals["sent"]
