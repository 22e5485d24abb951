"""The learned score: what it costs at 1,000,000 leads, how good it is on real ones, and on none.

Figures of the real leads are left out where they are absent. Not here: the scorecard.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow
from scipy.special import expit

from aicmo_dagster.domain.scoring.dimensions import Dimension
from aicmo_dagster.domain.scoring.evaluation import Evaluation
from aicmo_dagster.domain.scoring.history import History, time_split
from aicmo_dagster.domain.scoring.learning import Learned, learn
from aicmo_dagster.domain.scoring.model import score
from aicmo_dagster.domain.scoring.training import train, with_points
from aicmo_dagster_tests.bench.measure import Measured, cost
from aicmo_dagster_tests.domain.scoring.histories import history
from aicmo_dagster_tests.domain.scoring.x_education import (
    DOCUMENT,
    POINTED,
    auc,
    auc_by_labels,
    harvested,
    learned,
    x_education,
)
from aicmo_dagster_tests.workspaces import open_test_workspace

LEADS = 1_000_000
TRAINED_ON = 100_000
SEEDS = 20
NULL_LEADS = 1_500
DRAWS = 40


class Spent(NamedTuple):
    """CPU seconds, and MiB above what was held before."""

    cpu: float
    above: float


def run(scratch: Path) -> Iterator[Measured]:
    """Scoring, training, the real leads, shuffled outcomes."""
    spent = min(cost(_score, 30).value for _ in range(2))
    size = f"{LEADS:,} leads x 30"
    yield Measured("frame to score with all contributions", size, spent, "CPU s", bound=5)
    size = f"{LEADS:,} leads x 20"
    for what, function in (
        ("training, additive", _train),
        ("guard to verdict, both kinds", _learn),
    ):
        taken: Spent = cost(function, 20).value
        yield Measured(what, size, taken.cpu, "CPU s", bound=60)
        yield Measured(f"{what}: peak above", size, taken.above, "MiB", bound=1_536)
    if DOCUMENT.exists():
        yield from _real(scratch)
    promoted = sum(_promoted_from_nothing(seed) for seed in range(SEEDS))
    size = f"{SEEDS} x {NULL_LEADS:,} leads"
    yield Measured("promoted from shuffled outcomes", size, promoted, "models", bound=0)


def _real(scratch: Path) -> Iterator[Measured]:
    """The leads as their campaign harvests them, by its document alone and with points."""
    workspace = open_test_workspace(scratch, f"sqlite:///{scratch}/aicmo.db")
    raw = harvested(workspace)
    workspace.database.close()
    plain, pointed = x_education(raw), x_education(raw, **POINTED)
    yield from _guarded(plain)
    for told, leads in (("by the document alone", plain), ("with points of an expert", pointed)):
        yield from _few_labels(told, leads, bounded=leads is pointed)


def _guarded(leads: History) -> Iterator[Measured]:
    on = _evaluation(leads, [])
    off = _evaluation(leads, [dimension.name for dimension in leads.dimensions])
    size = f"{on.leads:,} newest leads"
    yield Measured("X Education, guard on", size, on.auc.value, "AUC", bound=0.87, at_least=True)
    yield Measured("  within cohorts", size, on.auc_within.value, "AUC")
    assert on.ece is not None
    yield Measured("  calibration", size, on.ece.value, "ECE", bound=0.05)
    yield Measured("  best tenth", size, on.lift.value, "x the share won")
    yield Measured("X Education, guard off", size, off.auc.value, "AUC")
    ratio = (on.auc.value, "AUC", off.auc.value, "guard off", 0.99)
    yield Measured("  guard on against off", size, *ratio)


def _few_labels(told: str, leads: History, *, bounded: bool) -> Iterator[Measured]:
    """The anchored logistic with few labels drawn at random, and what it is anchored to."""
    newest = leads.part(time_split(leads).test)
    assert newest.points is not None
    size = f"{len(newest.won):,} newest leads"
    yield Measured(f"the points alone, {told}", size, auc(newest.points, newest), "AUC")
    for labels, least in ((50, 0.82), (200, 0.85), (500, 0.86)):
        mean = float(np.mean(auc_by_labels(leads, labels, DRAWS)))
        size = f"{labels} labels, {DRAWS} draws"
        bound = least if bounded else None
        yield Measured(f"  anchored to them, {told}", size, mean, "AUC", bound=bound, at_least=True)


def _evaluation(leads: History, known_at_capture: list[str]) -> Evaluation:
    best = learned(leads, known_at_capture).best
    assert best is not None
    return best.evaluation


def _promoted_from_nothing(seed: int) -> bool:
    past = history(NULL_LEADS, seed)
    won = past.won.sample(frac=1, random_state=seed, ignore_index=True)
    found = _learned(replace(past, won=won), seed)
    assert len(found.candidates) == 2
    return found.promoted is not None


def _score(dimensions: int) -> float:
    past = _history(TRAINED_ON, dimensions)
    model = train(past, "anchored", code_version="bench")
    today = _history(LEADS, dimensions)
    columns = with_points(today.columns, today.points)
    begun = time.process_time()
    scores = score(model, columns)
    spent = time.process_time() - begun
    assert scores.contributions.shape == (LEADS, dimensions + 1)
    return spent


def _train(dimensions: int) -> Spent:
    past = _history(LEADS, dimensions)
    return _spent(lambda: train(past, "additive", code_version="bench"))


def _learn(dimensions: int) -> Spent:
    past = _history(LEADS, dimensions)
    return _spent(lambda: _learned(past, seed=0))


def _learned(past: History, seed: int) -> Learned:
    return learn(
        past,
        known_at_capture=[],
        ignore=[],
        incumbent=None,
        embargo=timedelta(0),
        seed=seed,
        code_version="bench",
    )


def _spent(function: Callable[[], object]) -> Spent:
    held = _memory("VmRSS")
    begun = time.process_time()
    function()
    return Spent(time.process_time() - begun, _memory("VmHWM") - held)


def _history(count: int, dimensions: int) -> History:
    """Amounts (some missing), counts, skewed sizes and categories by turns; two of them matter."""
    draw = np.random.default_rng(count)
    columns = pd.DataFrame({f"d{n}": _column(draw, n % 4, count) for n in range(dimensions)})
    merit = columns["d0"].fillna(0).to_numpy() + columns["d1"].to_numpy() / 2
    won = draw.random(count) < expit(merit - 3)
    return History(
        columns=columns,
        dimensions=tuple(Dimension(name, "custom", "", "") for name in columns),
        won=pd.Series(won, dtype="boolean"),
        arrival=pd.Series(np.arange(count, dtype=np.float64)),
        points=merit + draw.normal(size=count),
    )


def _column(draw: np.random.Generator, kind: int, count: int) -> object:
    if kind == 0:
        return np.where(draw.random(count) < 0.1, np.nan, draw.normal(size=count))
    if kind == 1:
        return draw.poisson(2, count).astype(np.float64)
    if kind == 2:
        return draw.lognormal(3, 1, count)
    names = pyarrow.array([f"category {number}" for number in range(60)])
    return pd.arrays.ArrowExtensionArray(names.take(pyarrow.array(draw.integers(0, 60, count))))


def _memory(figure: str) -> float:
    """Of this process, in MiB: VmRSS is what it holds, VmHWM the most that it ever held."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{figure}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc tells no {figure}")
