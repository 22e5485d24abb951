"""Made-up histories to learn from. Not here: the real one."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow
from scipy.special import expit

from aicmo_dagster.domain.scoring.dimensions import Dimension
from aicmo_dagster.domain.scoring.history import History

TEXT = pd.ArrowDtype(pyarrow.string())
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)

DIMENSIONS = (
    Dimension("visits", "engagement", "Visits to our site.", "visits", 1),
    Dimension("employees", "company", "Headcount.", "people"),
    Dimension("channel", "custom", "Where the lead came from.", "category"),
)


def texts(values: list[str | None]) -> pd.Series:
    return pd.Series(values, dtype=TEXT)


def leads(count: int, seed: int) -> pd.DataFrame:
    """Visits (few), employees (many values, some missing) and a channel, at random."""
    draw = np.random.default_rng(seed)
    employees = draw.lognormal(4, 1, count)
    employees[draw.random(count) < 0.1] = np.nan
    channels = draw.choice(["ads", "fair", "referral", None], count, p=[0.5, 0.2, 0.2, 0.1])
    return pd.DataFrame(
        {
            "visits": draw.poisson(2, count).astype(np.float64),
            "employees": employees,
            "channel": texts(channels.tolist()),
        }
    )


def history(count: int = 2_000, seed: int = 0, *, effect: float = 1.0) -> History:
    """Leads of one an hour, won by visits and channel as `effect` says; points say it weakly."""
    columns = leads(count, seed)
    draw = np.random.default_rng(seed + 1_000)
    fair = (columns["channel"] == "fair").fillna(value=False).to_numpy(dtype=bool)
    merit = (columns["visits"] - 2).to_numpy() * 0.7 + 2 * fair
    won = draw.random(count) < expit(effect * merit - 1)
    return History(
        columns=columns,
        dimensions=DIMENSIONS,
        won=pd.Series(won, dtype="boolean"),
        arrival=pd.Series([BEGIN + timedelta(hours=hour) for hour in range(count)]),
        points=np.round(merit + draw.normal(0, 3, count), 1),
    )
