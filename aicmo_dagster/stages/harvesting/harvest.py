"""Raw leads: every source of the campaign read, normalised, merged, completed.

Not here: how a source is read (`sources`, `search`), what becomes of what they gave (`take_in`), or
whom providers are asked about (`enrich`).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain

import sqlalchemy as sa

from aicmo_dagster.domain.intake import Counts
from aicmo_dagster.domain.sections.sources import CsvSource, Source
from aicmo_dagster.errors import AicmoError
from aicmo_dagster.sources.csv_files import Harvested, read_csv_source
from aicmo_dagster.stages import chunks
from aicmo_dagster.stages.chunks import Aside
from aicmo_dagster.stages.harvesting.enrich import Enrichment
from aicmo_dagster.stages.harvesting.imports import imported
from aicmo_dagster.stages.harvesting.providers import REAL_TIME, Providers, Time, open_providers
from aicmo_dagster.stages.harvesting.search import search_people
from aicmo_dagster.stages.harvesting.take_in import Waiting, give_back_memory, take_in, waiting
from aicmo_dagster.stages.report import Report
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store import harvests
from aicmo_dagster.store.campaigns import StoredCampaign
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

    records: Waiting
    rejects: Aside
    read: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    searches: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def harvest(
    workspace: Workspace,
    key: str,
    now: datetime,
    clock: Time = REAL_TIME,
    at_once: int = chunks.LEADS,
) -> Report:
    """`raw_leads` of the campaign holds everyone its sources name, each person once, completed.

    The sources are read before the transaction begins; one that cannot be read leaves the frame
    as it was. Providers are asked after it, and what they answered is merged in another.

    Args:
        workspace: The settings and the database.
        key: The campaign.
        now: The instant of the harvest.
        clock: What providers are waited for by.
        at_once: How many leads are held at once; what becomes of them does not depend on it.
    """
    stored = workspace.campaign(key)
    with (
        open_providers(workspace, clock) as providers,
        waiting(workspace, key) as records,
        chunks.set_aside(workspace.settings.home) as rejects,
    ):
        gathered = _Gathered(records, rejects)
        _gather(workspace, stored, providers, gathered)
        taken = take_in(workspace, records, [rejects, records.refused], now, at_once)
        outcomes: Counter[str] = Counter()
        if stored.campaign.enrich is not None:
            enrichment = Enrichment(providers, key, stored.campaign.enrich, now)
            answered = _complete(workspace, enrichment, [rejects, records.refused], at_once)
            outcomes = enrichment.outcomes
            outcomes["changed_by_answers"] += answered
            gathered.notes += enrichment.notes
        with workspace.database.write() as connection:  # only now the next harvest begins anew
            forget_pages(connection, key, gathered.searches)
    return _report(workspace, key, gathered, taken, outcomes)


def _gather(
    workspace: Workspace, stored: StoredCampaign, providers: Providers, gathered: _Gathered
) -> None:
    """`gathered` is what each source and each import holds, normalised part by part."""
    key, asked = stored.campaign.campaign, 0
    for name, parts in chain(_sources(stored, providers, gathered), imported(workspace, key)):
        asked += 1
        for part in parts:
            gathered.records.add(part.rows)
            if len(part.rejects):
                gathered.rejects.put(part.rejects)
            gathered.read[name] += part.read
    give_back_memory()
    if not asked:
        raise AicmoError(f"campaign '{key}' has neither sources nor imports; import leads first")
    if len(gathered.failed) == asked:
        raise AicmoError("; ".join(gathered.failed))
    gathered.notes += gathered.failed


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


def _complete(
    workspace: Workspace, enrichment: Enrichment, rejects: Sequence[Aside], at_once: int
) -> int:
    """The answers of the providers are part of the leads; tells how many leads that changed."""
    with waiting(workspace, enrichment.key) as records:
        for answers in enrichment.run(at_once):
            # Who knows nothing of somebody is no source of them.
            told = answers.drop(columns=_BESIDE, errors="ignore").notna().any(axis=1)
            if told.any():
                records.add(answers[told])
        if not records:
            return 0
        refused = [*rejects, records.refused]
        return take_in(workspace, records, refused, enrichment.now, at_once).changed


def _report(
    workspace: Workspace, key: str, gathered: _Gathered, taken: Counts, outcomes: Counter[str]
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
