"""A harvest of 2,000 leads, killed at 20 random moments and begun again each time.

Nobody may be paid for twice, and all leads but those in doubt must be as if nothing had happened.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from aicmo_dagster_tests.bench.measure import Measured
from aicmo_dagster_tests.providers.killing import harvest_calmly, harvest_killed, random_points
from aicmo_dagster_tests.providers.server import StandIn

LEADS, KILLS, SEED = 2_000, 20, 20


def run(scratch: Path) -> Iterator[Measured]:
    """People paid for twice, leads that differ, and leads whose paid answer was lost."""
    os.environ["NO_PROXY"] = "127.0.0.1"
    with StandIn(LEADS, specials=False).running() as stand_in:
        calm = harvest_calmly(scratch / "calm", f"sqlite:///{scratch}/calm.db", stand_in, LEADS)
        points = random_points(KILLS, len(stand_in.requests), SEED)
    with StandIn(LEADS, specials=False, delay=0.01).running() as stand_in:
        url = f"sqlite:///{scratch}/killed.db"
        survived = harvest_killed(scratch / "killed", url, stand_in, LEADS, points)
        twice = {p for name in ("apollo", "dropcontact") for p in stand_in.ledger.paid_twice(name)}
    size = f"{LEADS:,} leads, {survived.kills} kills"
    unharmed = ~calm["lead_id"].isin(survived.doubtful)
    here = survived.leads[~survived.leads["lead_id"].isin(survived.doubtful)]
    differ = here.reset_index(drop=True).compare(calm[unharmed].reset_index(drop=True))
    yield Measured("paid for twice", size, len(twice), "people", bound=0)
    yield Measured("differ from a calm harvest", size, len(differ), "leads", bound=0)
    yield Measured("in doubt, not asked again", size, len(survived.doubtful), "leads")
