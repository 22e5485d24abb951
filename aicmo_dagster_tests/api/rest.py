"""The REST API over real HTTP, with a campaign, leads in it and a token of each role."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import sqlalchemy as sa
from fastapi import FastAPI

from aicmo_dagster.api.app import create_app
from aicmo_dagster.api.service import BASE
from aicmo_dagster.domain.schemas import typed
from aicmo_dagster.domain.scoring.scorecard import VERSION
from aicmo_dagster.settings import Settings
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.campaigns import apply_campaign
from aicmo_dagster.store.decisions import record_decisions
from aicmo_dagster.store.frames import replace_frame
from aicmo_dagster.store.heartbeats import CLOCK, beat
from aicmo_dagster.store.tokens import ROLES, Role, create_token
from aicmo_dagster_tests.api.servers import serving
from aicmo_dagster_tests.samples import NOON, SECRET, campaign, lead_id, raw_leads

LEADS = 5
"""Of scores 20, 40, and so on; the last two are qualified."""


@dataclass(frozen=True)
class Rest:
    """A running application; `tokens` are by role, and of one limited to the campaign `spring`."""

    app: FastAPI
    client: httpx.Client
    workspace: Workspace
    tokens: dict[str, str]

    def ask(self, who: str | None, method: str, path: str, **more: Any) -> httpx.Response:
        """What `who`, a role or a token's text, is answered at a path below the base."""
        headers = dict(more.pop("headers", {}))
        if who is not None:
            headers["Authorization"] = f"Bearer {self.tokens.get(who, who)}"
        return self.client.request(method, BASE + path, headers=headers, **more)

    def token(self, role: Role, *campaigns: str, **more: Any) -> str:
        """The text of a new token."""
        now = datetime.now(UTC)
        with self.workspace.database.write() as connection:
            return create_token(connection, role, campaigns or None, "test", now, **more)[1]


@contextmanager
def running_rest(home: Path, database_url: str, **changes: Any) -> Iterator[Rest]:
    """The application over the campaigns `spring`, with leads, and `autumn`, without any."""
    settings = Settings(
        home=home,
        database_url=database_url,
        dagster_home=home,
        configured_secret_key=SECRET.decode(),
        **changes,
    )
    app = create_app(settings)
    workspace = app.state.service.workspace
    with workspace.database.write() as connection:
        for key in ("spring", "autumn"):
            apply_campaign(connection, campaign(key), {}, home, NOON)
        replace_frame(connection, "raw_leads", "spring", raw_leads(LEADS))
        _judge(connection)
        # As if a daemon ran for as long as any test does.
        beat(connection, CLOCK, datetime.now(UTC) + timedelta(hours=1))
    tokens: dict[str, str] = {}
    with serving(app) as address, httpx.Client(base_url=address, trust_env=False) as client:
        rest = Rest(app, client, workspace, tokens)
        tokens |= {role: rest.token(role) for role in ROLES}
        tokens["limited"] = rest.token("admin", "spring")
        yield rest


def _judge(connection: sa.Connection) -> None:
    ids = [lead_id(number) for number in range(1, LEADS + 1)]
    points = [20.0 * number for number in range(1, LEADS + 1)]
    scored = {
        "lead_id": ids,
        "score": points,
        "band": ["D", "D", "C", "B", "A"],
        "scale": "points",
        "model": VERSION,
        "contributions": [json.dumps({"title": each}) for each in points],
    }
    replace_frame(connection, "scored_leads", "spring", typed("scored_leads", scored))
    goes_on = {"lead_id": ids[3:], "score": points[3:], "decided_by": "threshold", "reason": "fit"}
    replace_frame(connection, "qualified_leads", "spring", typed("qualified_leads", goes_on))
    verdicts = {
        "lead_id": pd.Series(ids),
        "outcome": ["not_qualified"] * 3 + ["qualified"] * 2,
        "reason": "fit",
        "decided_by": "threshold",
    }
    record_decisions(
        connection,
        "spring",
        "qualified_leads",
        pd.DataFrame(verdicts).astype("string[pyarrow]"),
        now=NOON,
        campaign_version=1,
        inputs={},
    )
