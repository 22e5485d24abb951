"""Many campaigns that want the same people, ready to be routed. Not here: databases for them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa

from aicmo_dagster.domain.schemas import typed
from aicmo_dagster.stages.deciding.route import route_leads
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.campaigns import apply_campaign
from aicmo_dagster.store.frames import replace_frame
from aicmo_dagster_tests.samples import NOON, campaign, lead_id, raw_leads
from aicmo_dagster_tests.workspaces import open_test_workspace

SEQUENCES = 10


def crowd(workspace: Workspace, keys: list[str], leads: int, people: int, capacity: int) -> None:
    """Each campaign has `leads` qualified leads, drawn from the same `people`.

    Two of three of its sequences have a condition, and every other one takes `capacity` leads.
    """
    for seed, key in enumerate(keys):
        chosen = np.sort(np.random.default_rng(seed).choice(people, leads, replace=False))
        raw = _leads(chosen)
        scores = np.random.default_rng(seed).integers(0, 100, leads).astype(float)
        scored = {"scale": "points", "model": "scorecard", "contributions": "{}"}
        judged = {"decided_by": "rules", "reason": "every rule holds"}
        both = {"lead_id": raw["lead_id"], "score": scores}
        with workspace.database.write() as connection:
            apply_campaign(connection, campaign(key, **_document(capacity)), {}, Path(), NOON)
            replace_frame(connection, "raw_leads", key, raw)
            replace_frame(connection, "scored_leads", key, typed("scored_leads", both | scored))
            replace_frame(
                connection, "qualified_leads", key, typed("qualified_leads", both | judged)
            )


def route_all(home: Path, url: str, keys: list[str]) -> int:
    """Routes the campaigns `keys` one after another, as a process of its own does."""
    workspace = open_test_workspace(home, url)
    routed = [route_leads(workspace, key, NOON).rows_out for key in keys]
    workspace.database.close()
    return sum(routed)


def broken_rules(workspace: Workspace, keys: list[str], capacity: int) -> list[str]:
    """What is wrong after routing: people in two sequences, sequences beyond their capacity."""
    with workspace.database.read() as connection:
        query = sa.text(
            "SELECT r.email, t.campaign, t.sequence FROM routed_leads t "
            "JOIN raw_leads r ON r.campaign = t.campaign AND r.lead_id = t.lead_id"
        )
        routed = pd.read_sql(query, connection)
    twice = int(routed["email"].duplicated().sum())
    held = routed.groupby(["campaign", "sequence"]).size()
    limited = {f"s{n}" for n in range(0, SEQUENCES, 2)}
    beyond = [f"{at} holds {n}" for at, n in held.items() if at[1] in limited and n > capacity]
    missing = set(keys) - set(routed["campaign"])
    return [*([f"{twice} people twice"] if twice else []), *beyond, *sorted(missing)]


def _document(capacity: int) -> dict[str, Any]:
    cities = ("Oslo", "Bergen", "Molde")
    routes = [
        {
            "sequence": f"s{n}",
            "weight": n % 4 + 1,
            **({"capacity": capacity} if n % 2 == 0 else {}),
            **({"when": {"field": "city", "op": "==", "value": cities[n % 3]}} if n % 3 else {}),
        }
        for n in range(SEQUENCES)
    ]
    steps = {"steps": [{"id": "intro", "subject": "Hello", "body": "Good day."}]}
    overlap = {"active_elsewhere": "skip", "per_company": 3, "cooldown_days": 30}
    return {
        "routing": {"sequences": routes, "overlap": overlap},
        "sequences": {f"s{n}": steps for n in range(SEQUENCES)},
    }


def _leads(people: np.ndarray) -> pd.DataFrame:
    numbers = people.tolist()
    return raw_leads(
        len(numbers),
        lead_id=[lead_id(n) for n in numbers],
        email=[f"p{n}@company{n % 50_000}.example" for n in numbers],
        domain=[f"company{n % 50_000}.example" for n in numbers],
        city=[("Oslo", "Bergen", "Molde")[n % 3] for n in numbers],
    )
