"""A campaign over the floor's leads that asks of them what the floor asks. Not here: measuring it.

All 35 columns are kept: those that are none of our fields as custom fields.
"""

import shutil
from pathlib import Path
from typing import Any

from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.campaigns import apply_campaign
from aicmo_dagster_tests.samples import NOON, campaign, campaign_document

KEY = "floor"

COLUMNS = {
    "external_id": "ext_id",
    "email": "email",
    "first_name": "first_name",
    "last_name": "last_name",
    "title": "title",
    "seniority": "seniority",
    "department": "department",
    "phone": "phone",
    "linkedin_url": "linkedin_url",
    "company": "company",
    "domain": "website",
    "industry": "industry",
    "employees": "employees",
    "annual_revenue": "revenue",
    "technologies": "technologies",
    "founded_year": "founded_year",
    "country": "country",
    "region": "state",
    "city": "city",
    "visits": "page_views",
    "source_detail": "source",
    "arrived": "captured_at",
}

_SCORING = {
    "threshold": 30,
    "fit": {
        "titles": ["head of growth", "vp sales", "vp marketing", "ceo"],
        "seniorities": ["c_suite", "vp", "head", "director"],
        "industries": ["software", "fintech", "healthcare"],
        "employees": [20, 5000],
        "countries": ["US", "GB", "DE"],
    },
    "budget": {"annual_revenue": [1_000_000, None], "technologies": ["salesforce", "hubspot"]},
}
_RULES = [
    {"field": "custom.consent", "op": "!=", "value": "none"},
    {"field": "country", "op": "!=", "value": "BR", "missing": "accept"},
    {"field": "employees", "op": ">=", "value": 5, "missing": "accept"},
]
_WEIGHTS = {"enterprise": 1, "growth": 3, "smb": 2}


def document() -> dict[str, Any]:
    """The changes to `samples.campaign_document` that make it the floor's."""
    steps = campaign_document()["sequences"]["everyone"]
    routes = [{"sequence": name, "weight": weight} for name, weight in _WEIGHTS.items()]
    return {
        "sources": [{"type": "csv", "path": "leads.csv", "columns": COLUMNS}],
        "scoring": _SCORING,
        "qualification": {"rules": _RULES},
        "routing": {"sequences": routes},
        "sequences": dict.fromkeys(_WEIGHTS, steps),
    }


def apply_floor(workspace: Workspace, leads: Path) -> None:
    """The campaign is applied over the CSV `leads`."""
    folder = workspace.settings.home / KEY
    folder.mkdir()
    shutil.copyfile(leads, folder / "leads.csv")
    with workspace.database.write() as connection:
        apply_campaign(connection, campaign(KEY, **document()), {}, folder, NOON)
