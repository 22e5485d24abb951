"""Raw leads: every source of the campaign read, normalised, merged, completed.

Not here: how a source is read (`sources`, `search`), or whom providers are asked about (`enrich`).
"""

from collections import Counter
from datetime import datetime

import pandas as pd
import sqlalchemy as sa

from aicmo_dagster.domain.campaigns import CsvSource
from aicmo_dagster.domain.intake import Intake, intake
from aicmo_dagster.errors import AicmoError
from aicmo_dagster.sources.csv_files import Harvested, read_csv_source
from aicmo_dagster.stages.enrich import Enrichment
from aicmo_dagster.stages.providers import REAL_TIME, Providers, Time, open_providers
from aicmo_dagster.stages.report import Report, counted
from aicmo_dagster.stages.search import search_people
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.campaigns import StoredCampaign
from aicmo_dagster.store.database import take_turn
from aicmo_dagster.store.frames import read_frame, replace_frame
from aicmo_dagster.store.harvests import put_aliases, read_aliases, replace_rejects
from aicmo_dagster.store.merges import follow_aliases
from aicmo_dagster.store.provider_calls import spending
from aicmo_dagster.store.search_pages import forget_pages


def harvest(workspace: Workspace, key: str, now: datetime, clock: Time = REAL_TIME) -> Report:
    """`raw_leads` of the campaign holds everyone its sources name, each person once, completed.

    The sources are read before the transaction begins; one that cannot be read leaves the frame
    as it was. Providers are asked after it, and what they answered is merged in another.
    """
    stored = workspace.campaign(key)
    with open_providers(workspace, clock) as providers:
        harvested, notes, searches = _read_sources(stored, providers)
        rejects = pd.concat([part.rejects for part in harvested], ignore_index=True)
        rows = pd.concat([part.rows for part in harvested], ignore_index=True)
        with workspace.database.write() as connection:
            take_turn(connection, f"leads of {key}")
            taken = _take_in(connection, key, rows, now)
            rejects = pd.concat([rejects, taken.rejects], ignore_index=True)
            replace_rejects(connection, key, rejects)
        outcomes: Counter[str] = Counter()
        if stored.campaign.enrich is not None:
            enrichment = Enrichment(providers, key, stored.campaign.enrich, now)
            rejects = _enrich(workspace, enrichment, rejects)
            outcomes, notes = enrichment.outcomes, notes + enrichment.notes
        with workspace.database.write() as connection:  # only now the next harvest begins anew
            forget_pages(connection, key, searches)
    reasons = counted(rejects["reason"])
    if taken.merged:
        reasons["merged with another record of the same person"] = taken.merged
    return _report(workspace, key, sum(p.read for p in harvested), taken, reasons, outcomes, notes)


def _read_sources(
    stored: StoredCampaign, providers: Providers
) -> tuple[list[Harvested], list[str], list[str]]:
    """What each source holds, notes on providers, and the searches that came to their end."""
    harvested: list[Harvested] = []
    notes: list[str] = []
    searches: list[str] = []
    for position, source in enumerate(stored.campaign.sources, start=1):
        name = f"{source.type}-{position}"
        if isinstance(source, CsvSource):
            harvested.append(read_csv_source(source, name, stored.folder))
            continue
        try:
            found = search_people(providers, stored.campaign.campaign, source, name)
            harvested.append(found.harvested)
            notes += found.notes
            searches += filter(None, [found.search])
        except AicmoError as error:
            notes.append(f"source {name} was not harvested: {error}")
    if not harvested:
        raise AicmoError("; ".join(notes))
    return harvested, notes, searches


def _take_in(connection: sa.Connection, key: str, rows: pd.DataFrame, now: datetime) -> Intake:
    """The campaign's leads hold `rows` as well."""
    taken = intake(
        rows,
        campaign=key,
        known=read_aliases(connection, key),
        previous=read_frame(connection, "raw_leads", key),
        now=now,
    )
    replace_frame(connection, "raw_leads", key, taken.leads)
    put_aliases(connection, key, taken.aliases)
    follow_aliases(connection, key)
    return taken


def _enrich(workspace: Workspace, enrichment: Enrichment, rejects: pd.DataFrame) -> pd.DataFrame:
    """The answers of the providers are part of the leads; tells all rejects."""
    answers = enrichment.run()
    if answers.empty:
        return rejects
    with workspace.database.write() as connection:
        take_turn(connection, f"leads of {enrichment.key}")
        taken = _take_in(connection, enrichment.key, answers, enrichment.now)
        refused = taken.rejects.assign(source=taken.rejects["source"].fillna("enrich"))
        rejects = pd.concat([rejects, refused], ignore_index=True)
        replace_rejects(connection, enrichment.key, rejects)
    return rejects


def _report(
    workspace: Workspace,
    key: str,
    read: int,
    taken: Intake,
    reasons: dict[str, int],
    outcomes: Counter[str],
    notes: list[str],
) -> Report:
    with workspace.database.read() as connection:
        leads = read_frame(connection, "raw_leads", key, ["email"])
        spent = spending(connection, key)
    figures: dict[str, float] = {
        "rejected_share": round((read - taken.merged - taken.seen) / read, 4) if read else 0.0,
        "with_address": int(leads["email"].notna().sum()),
        "seen": taken.seen,
        "kept_from_before": taken.kept,
    }
    for provider, figure in spent.items():
        figures[f"{provider}_credits"] = figure.credits
        figures[f"{provider}_cache_hits"] = figure.cache_hits
        if len(leads):
            figures[f"{provider}_credits_per_lead"] = round(figure.credits / len(leads), 4)
        if figure.usable:
            figures[f"{provider}_credits_per_address"] = round(figure.credits / figure.usable, 3)
    figures |= {outcome: count for outcome, count in outcomes.items() if count}
    return Report(key, "raw_leads", read, len(leads), reasons, figures, tuple(notes))
