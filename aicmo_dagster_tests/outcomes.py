"""Campaigns whose leads have outcomes, for tests of learning. Not here: databases."""

import csv
import io
from typing import Any

import numpy as np

from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster_tests.workspaces import apply

SOURCE = {
    "type": "csv",
    "path": "leads.csv",
    "columns": {"email": "Email", "company": "Account", "visits": "Visits"},
    "outcome": {"column": "Won", "won": "1"},
    "arrived": "Number",
}


def outcomes_csv(
    count: int, *, seed: int = 7, shuffled: bool = False, shift: float = 0.0, first: int = 1
) -> str:
    """Leads who were the likelier won the more hours they spent; shuffled, by chance alone.

    Args:
        count: How many.
        seed: Of the draw.
        shuffled: Whether outcomes mean nothing.
        shift: Added to the logit of each.
        first: The number of the first.
    """
    draw = np.random.default_rng(seed)
    hours = draw.integers(0, 12, count)
    plan = draw.choice(["basic", "team", "none"], count)
    logit = -1.7 + hours / 4 + 0.6 * (plan == "team") + shift
    won = draw.random(count) < 1 / (1 + np.exp(-logit))
    if shuffled:
        draw.shuffle(won)
    text = io.StringIO()
    writer = csv.writer(text)
    header = ["Email", "Account", "Visits", "Hours", "Plan", "Lead Quality", "Won", "Number"]
    writer.writerow(header)
    for number in range(count):
        name = first + number
        quality = "High" if won[number] else "Low"
        facts = (number % 4, hours[number], plan[number], quality, int(won[number]), name)
        writer.writerow([f"lead{name}@company{name}.example", f"Company {name}", *facts])
    return text.getvalue()


def apply_outcomes(workspace: Workspace, key: str, text: str, **scoring: Any) -> None:
    """The campaign `key` is applied over a CSV of that text."""
    path = apply(workspace, key, None, sources=[SOURCE], scoring=scoring)
    path.write_text(text, encoding="utf-8")
