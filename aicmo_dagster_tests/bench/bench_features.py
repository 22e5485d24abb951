"""Leads to dimensions, to points and to a model's scores with all contributions, in CPU seconds."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from aicmo_dagster.domain.documents import validate
from aicmo_dagster.domain.scoring import scorecard
from aicmo_dagster.domain.scoring.features import NAMES, features
from aicmo_dagster.domain.scoring.model import Model, score
from aicmo_dagster.domain.scoring.model_frames import history_of, model_columns, scored_by_model
from aicmo_dagster.domain.scoring.training import train
from aicmo_dagster.domain.sections.scoring import Scoring
from aicmo_dagster_tests.bench.measure import Measured, cost
from aicmo_dagster_tests.samples import NOON, raw_leads

LEADS = 1_000_000
TRAINED_ON = 5_000

SCORING = validate(
    Scoring,
    {
        "fit": {
            "titles": ["revenue operations", "head of sales"],
            "seniorities": ["vp", "head"],
            "industries": ["software"],
            "employees": [51, 500],
            "countries": ["NO", "SE"],
        },
        "budget": {"annual_revenue": [5_000_000, None], "technologies": ["hubspot", "salesforce"]},
    },
    "bench",
)


def run(_: Path) -> Iterator[Measured]:
    """The whole way from leads to a scored frame, and its first part alone."""
    size = f"{LEADS:,} leads"
    for what, function, bound in (
        (f"{len(NAMES)} dimensions", _features, None),
        ("points with contributions and bands", _points, 5.0),
        ("dimensions and a model's contributions", _contributions, 5.0),
        ("the same as a scored frame, contributions as JSON", _model, 10.0),
    ):
        yield Measured(what, size, cost(function).value, "CPU s", bound=bound)


def _features() -> float:
    leads = _leads(LEADS)
    return _cpu(lambda: features(leads, SCORING, NOON))


def _points() -> float:
    leads = _leads(LEADS)
    return _cpu(lambda: scorecard.score(leads, SCORING, NOON))


def _contributions() -> float:
    model, leads = _trained(), _leads(LEADS)
    return _cpu(lambda: score(model, model_columns(model, leads, SCORING, NOON)))


def _model() -> float:
    model, leads = _trained(), _leads(LEADS)

    def scored() -> None:
        scores = score(model, model_columns(model, leads, SCORING, NOON))
        scored_by_model(leads, scores, "bench")

    return _cpu(scored)


def _trained() -> Model:
    past = _leads(TRAINED_ON)
    draw = np.random.default_rng(2)
    decides = past["title"].eq("Head of Sales").to_numpy(dtype=bool, na_value=False)
    won = draw.random(TRAINED_ON) < np.where(decides, 0.6, 0.2)
    arrived = [str(number) for number in range(TRAINED_ON)]
    history = history_of(past.assign(won=won, arrived=arrived), SCORING, NOON)
    return train(history, "anchored", code_version="bench")


def _cpu(function: Callable[[], object]) -> float:
    before = time.process_time()
    function()
    return time.process_time() - before


def _leads(count: int) -> pd.DataFrame:
    """Leads of whom a good deal is known, no two addresses alike."""
    draw = np.random.default_rng(1)
    titles = ["VP, Revenue Operations", "Head of Sales", "Clerk", None]
    engaged = pd.Timestamp(NOON) - pd.to_timedelta(draw.integers(0, 10**7, count), unit="s")
    return raw_leads(
        count,
        title=draw.choice(titles, count),
        seniority=draw.choice(["vp", "head", "entry", None], count),
        industry=draw.choice(["software", "shipping", None], count),
        employees=draw.integers(1, 5_000, count),
        annual_revenue=draw.integers(1, 9_999, count) * 1e4,
        technologies=draw.choice(["hubspot;excel", "salesforce", None], count),
        country=draw.choice(["NO", "DE"], count),
        visits=draw.integers(0, 12, count),
        last_engaged_at=engaged,
    )
