"""Raw leads: every source of the campaign read, normalised, merged, completed.

Sources are read in parts, but who is who can be told of all alone: a harvest holds the leads of its
campaign, column by column, a million of them within 2 GiB (which `bench_intake` keeps to).

Not here: how a source is read (`sources`, `search`), or whom providers are asked about (`enrich`).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import chain

import pandas as pd
import pyarrow
import sqlalchemy as sa

from aicmo_dagster.domain.campaigns import CsvSource, Source
from aicmo_dagster.domain.intake import Intake, take_in
from aicmo_dagster.domain.records import Records
from aicmo_dagster.errors import AicmoError
from aicmo_dagster.sources.csv_files import Harvested, read_csv_source
from aicmo_dagster.stages.enrich import Enrichment
from aicmo_dagster.stages.erased import rejects_without_erased, without_erased
from aicmo_dagster.stages.imports import imported
from aicmo_dagster.stages.providers import REAL_TIME, Providers, Time, open_providers
from aicmo_dagster.stages.report import Report
from aicmo_dagster.stages.search import search_people
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store import harvests
from aicmo_dagster.store.campaigns import StoredCampaign
from aicmo_dagster.store.database import take_turn
from aicmo_dagster.store.frames import read_frame, replace_frame
from aicmo_dagster.store.merges import follow_aliases
from aicmo_dagster.store.provider_calls import spending
from aicmo_dagster.store.search_pages import forget_pages

_BESIDE = ["lead_id", "file", "row", "custom"]
"""What an answer has though nobody answered anything."""


@dataclass
class _Gathered:
    """What the sources gave.

    Args:
        records: What may be leads.
        rejects: What was set aside before.
        read: Source to how many records it gave.
        failed: What went wrong with each source that could not be read.
        searches: What was searched to the end.
        notes: What an operator should know.
    """

    records: Records
    rejects: list[pd.DataFrame] = field(default_factory=list)
    read: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    searches: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def harvest(workspace: Workspace, key: str, now: datetime, clock: Time = REAL_TIME) -> Report:
    """`raw_leads` of the campaign holds everyone its sources name, each person once, completed.

    The sources are read before the transaction begins; one that cannot be read leaves the frame
    as it was. Providers are asked after it, and what they answered is merged in another.
    """
    stored = workspace.campaign(key)
    with open_providers(workspace, clock) as providers:
        gathered = _gather(workspace, stored, providers)
        taken = _take_in(workspace, key, gathered.records, gathered.rejects, now)
        outcomes: Counter[str] = Counter()
        if stored.campaign.enrich is not None:
            enrichment = Enrichment(providers, key, stored.campaign.enrich, now)
            answered = _complete(workspace, enrichment, [*gathered.rejects, taken.rejects])
            outcomes = enrichment.outcomes
            outcomes["changed_by_answers"] += answered
            gathered.notes += enrichment.notes
        with workspace.database.write() as connection:  # only now the next harvest begins anew
            forget_pages(connection, key, gathered.searches)
    return _report(workspace, key, gathered, taken, outcomes)


def _gather(workspace: Workspace, stored: StoredCampaign, providers: Providers) -> _Gathered:
    """What each source and each import holds, normalised part by part."""
    key, asked = stored.campaign.campaign, 0
    gathered = _Gathered(Records(key))
    for name, parts in chain(_sources(stored, providers, gathered), imported(workspace, key)):
        asked += 1
        for part in parts:
            gathered.records.add(part.rows)
            gathered.rejects.append(part.rejects)
            gathered.read[name] += part.read
    _give_back_memory()
    if not asked:
        raise AicmoError(f"campaign '{key}' has neither sources nor imports; import leads first")
    if len(gathered.failed) == asked:
        raise AicmoError("; ".join(gathered.failed))
    gathered.notes += gathered.failed
    return gathered


def _sources(
    stored: StoredCampaign, providers: Providers, gathered: _Gathered
) -> Iterator[tuple[str, Iterable[Harvested]]]:
    """Each source of the document: its name, and what it holds."""
    for position, source in enumerate(stored.campaign.sources, start=1):
        name = f"{source.type}-{position}"
        yield name, _parts(stored, providers, source, name, gathered)


def _parts(
    stored: StoredCampaign, providers: Providers, source: Source, name: str, gathered: _Gathered
) -> Iterable[Harvested]:
    """What `source` holds; or nothing, and why, if it is a provider that could not be asked."""
    if isinstance(source, CsvSource):
        copies = providers.workspace.settings.copies
        return read_csv_source(source, name, stored.folder, copies)
    try:
        found = search_people(providers, stored.campaign.campaign, source, name)
    except AicmoError as error:
        gathered.failed.append(f"source {name} was not harvested: {error}")
        return []
    gathered.notes += found.notes
    gathered.searches += filter(None, [found.search])
    return [found.harvested]


def _take_in(
    workspace: Workspace, key: str, records: Records, rejects: list[pd.DataFrame], now: datetime
) -> Intake:
    """The campaign's leads hold `records` as well, and its rejects are those and `rejects`.

    The counts go on, and what was rejected; the leads are stored, and need not be held any longer.
    """
    with workspace.database.write() as connection:
        take_turn(connection, f"leads of {key}")
        taken = take_in(
            records,
            known=lambda: harvests.read_aliases(connection, key),
            previous=lambda: _read_leads(connection, key),
            now=now,
        )
        _give_back_memory()
        secret_key = workspace.settings.secret_key()
        taken = without_erased(connection, secret_key, taken)
        refused = taken.rejects.assign(source=taken.rejects["source"].fillna("enrich"))
        replace_frame(connection, "raw_leads", key, taken.leads)
        harvests.put_aliases(connection, key, taken.aliases)
        others = [rejects_without_erased(connection, secret_key, part) for part in rejects]
        parts = [part for part in (*others, refused) if len(part)] or [refused]
        harvests.replace_rejects(connection, key, pd.concat(parts))
        follow_aliases(connection, key)
    return replace(
        taken, leads=taken.leads.iloc[:0], aliases=taken.aliases.iloc[:0], rejects=refused
    )


def _read_leads(connection: sa.Connection, key: str) -> pd.DataFrame:
    _give_back_memory()
    return read_frame(connection, "raw_leads", key)


def _give_back_memory() -> None:
    """What Arrow holds on to for later is the system's again: of a million leads, a fifth."""
    pyarrow.default_memory_pool().release_unused()


def _complete(workspace: Workspace, enrichment: Enrichment, rejects: list[pd.DataFrame]) -> int:
    """The answers of the providers are part of the leads; tells how many leads that changed."""
    answers = enrichment.run()
    # Who knows nothing of somebody is no source of them.
    answers = answers[answers.drop(columns=_BESIDE, errors="ignore").notna().any(axis=1)]
    if answers.empty:
        return 0
    records = Records(enrichment.key)
    records.add(answers)
    return _take_in(workspace, enrichment.key, records, rejects, enrichment.now).changed


def _report(
    workspace: Workspace, key: str, gathered: _Gathered, taken: Intake, outcomes: Counter[str]
) -> Report:
    read = gathered.read.total()
    with workspace.database.read() as connection:
        addresses = harvests.address_counts(connection, key)
        reasons = harvests.reject_counts(connection, key)
        by_source = _figures_by_source(connection, key, gathered.read)
        leads = sum(addresses.values())
        spent = _spent(connection, key, leads)
    figures: dict[str, float] = {
        "rejected_share": round((read - taken.merged - taken.seen) / read, 4) if read else 0.0,
        "with_address": leads - addresses.get("none", 0),
        **{f"address_{kind}": count for kind, count in addresses.items()},
        "seen": taken.seen,
        "new": taken.new,
        "changed": taken.changed,
        "unchanged": taken.unchanged,
        "kept_from_before": taken.kept,
        **by_source,
        **spent,
        **{outcome: count for outcome, count in outcomes.items() if count},
    }
    if taken.merged:
        reasons["merged with another record of the same person"] = taken.merged
    return Report(key, "raw_leads", read, leads, reasons, figures, tuple(gathered.notes))


def _figures_by_source(
    connection: sa.Connection, key: str, read: Mapping[str, int]
) -> dict[str, float]:
    """Of each source what it gave now, how many leads it ever held, and what was refused."""
    leads = harvests.leads_by_source(connection, key)
    refused = harvests.reject_counts(connection, key, by="source")
    figures: dict[str, float] = {}
    for name in sorted({*read, *leads, *refused}):
        figures[f"{name}_rows"] = read.get(name, 0)
        figures[f"{name}_leads"] = leads[name]
        figures[f"{name}_rejects"] = refused.get(name, 0)
    return figures


def _spent(connection: sa.Connection, key: str, leads: int) -> dict[str, float]:
    """What each provider cost."""
    figures: dict[str, float] = {}
    for provider, figure in spending(connection, key).items():
        figures[f"{provider}_credits"] = figure.credits
        figures[f"{provider}_cache_hits"] = figure.cache_hits
        if leads:
            figures[f"{provider}_credits_per_lead"] = round(figure.credits / leads, 4)
        if figure.usable:
            figures[f"{provider}_credits_per_address"] = round(figure.credits / figure.usable, 3)
    return figures
