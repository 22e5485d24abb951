"""Rehearsing a campaign before anybody gets its mail: on request, and once a version in planning.

Not here: what counts as a fault (`domain.nurture.rehearsal`).
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from aicmo_dagster.domain.campaigns import Campaign
from aicmo_dagster.domain.intake import intake
from aicmo_dagster.domain.nurture.rehearsal import (
    RESERVED,
    Fault,
    Rehearsal,
    dmarc_names,
    domain_faults,
)
from aicmo_dagster.domain.schemas import typed
from aicmo_dagster.domain.sections.sources import CsvSource
from aicmo_dagster.mail.dns import DnsUnavailable, Lookup
from aicmo_dagster.sources.campaign_files import CampaignFile
from aicmo_dagster.sources.csv_files import read_csv_source
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.campaigns import StoredCampaign
from aicmo_dagster.store.frames import count_rows, read_frame
from aicmo_dagster.store.leads import read_leads
from aicmo_dagster.store.rehearsals import (
    StoredRehearsal,
    read_rehearsal,
    record_rehearsal,
)

CHUNK = 2_000
"""Leads in memory at a time."""

TRY_AGAIN = timedelta(hours=1)
"""After this a rehearsal that failed is held again: leads and the DNS may be better."""


def rehearse(
    campaign: Campaign,
    templates: Mapping[str, str],
    leads: Iterable[Iterable[Mapping[str, Any]]],
    sequences: Mapping[str, str],
    lookup: Lookup | None = None,
) -> tuple[list[Fault], int]:
    """What is wrong with the campaign, and over how many leads that was found.

    Args:
        campaign: The document.
        templates: The texts of the files that it names.
        leads: Chunks of leads with their fields, `custom` as a mapping.
        sequences: The sequence of those leads that are in one.
        lookup: Answers questions about the sender's domain; it is left out without one.
    """
    rehearsal = Rehearsal(campaign, templates)
    for chunk in leads:
        rehearsal.play(chunk, sequences)
    domain = campaign.nurture.sender.address.rpartition("@")[2]
    return [*sender_faults(domain, lookup), *rehearsal.faults()], rehearsal.leads


def sender_faults(
    domain: str, lookup: Lookup | None, *, selector: str | None = None
) -> list[Fault]:
    """What the sender's domain lacks; nothing where no name server answers."""
    if lookup is None or f".{domain}".endswith(RESERVED):
        return []
    try:
        above = (found for name in dmarc_names(domain) if (found := lookup.texts(name)))
        return domain_faults(
            domain,
            spf=lookup.texts(domain),
            dmarc=next(above, []),
            dkim=lookup.texts(f"{selector}._domainkey.{domain}") if selector else None,
        )
    except DnsUnavailable:
        return []


def rehearse_stored(
    workspace: Workspace,
    campaign: Campaign,
    templates: Mapping[str, str],
    lookup: Lookup | None = None,
) -> tuple[list[Fault], int]:
    """As `rehearse`, over the campaign's leads in the store: those that qualify, if any do."""
    key = campaign.campaign
    with workspace.database.read() as connection:
        routed = read_frame(connection, "routed_leads", key, ["lead_id", "sequence"])
        qualified = read_frame(connection, "qualified_leads", key, ["lead_id"])
        raw = read_frame(connection, "raw_leads", key, ["lead_id", "email"])
    known = raw.loc[raw["email"].notna(), "lead_id"]
    meant = known[known.isin([*routed["lead_id"], *qualified["lead_id"]])]
    wanted = (meant if len(meant) else known).tolist()
    sequences = dict(zip(routed["lead_id"], routed["sequence"], strict=True))
    chunks = (
        _leads(workspace, key, wanted[start : start + CHUNK])
        for start in range(0, len(wanted), CHUNK)
    )
    return rehearse(campaign, templates, chunks, sequences, lookup)


def rehearse_file(
    workspace: Workspace, document: CampaignFile, now: datetime, lookup: Lookup | None = None
) -> tuple[list[Fault], int]:
    """As `rehearse`, for a document on disk: over the stored leads, else over its CSV files."""
    campaign = document.campaign
    with workspace.database.read() as connection:
        stored = count_rows(connection, "raw_leads", campaign.campaign)
    if stored:
        return rehearse_stored(workspace, campaign, document.templates, lookup)
    leads = _leads_in_files(document, now)
    return rehearse(campaign, document.templates, [leads], {}, lookup)


def rehearsed(
    workspace: Workspace, stored: StoredCampaign, lookup: Lookup | None, now: datetime
) -> StoredRehearsal:
    """How the rehearsal of this version went, which is held now if there was none that passed.

    Whoever is at a version whose rehearsal failed is not planned for.
    """
    key = stored.campaign.campaign
    with workspace.database.read() as connection:
        before = read_rehearsal(connection, key, stored.version)
    if before is not None and _counts(before, now):
        return before
    faults, leads = rehearse_stored(workspace, stored.campaign, stored.templates, lookup)
    with workspace.database.write() as connection:
        record_rehearsal(connection, key, stored.version, faults, leads, now)
    passed = not any(fault.blocks for fault in faults)
    return StoredRehearsal(stored.version, passed, leads, tuple(faults), now)


def _counts(before: StoredRehearsal, now: datetime) -> bool:
    """Whether the rehearsal need not be held again; one over nobody has shown nothing."""
    if before.passed:
        return before.leads > 0
    return now - before.rehearsed_at < TRY_AGAIN


def notes_of(rehearsal: StoredRehearsal) -> tuple[str, ...]:
    """What an operator should know of it: what keeps the campaign from starting, if anything."""
    if rehearsal.passed:
        return ()
    why = fault_texts(fault for fault in rehearsal.faults if fault.blocks)
    return (f"nobody begins with version {rehearsal.version}: its rehearsal failed", *why)


def fault_texts(faults: Iterable[Fault]) -> list[str]:
    """Each fault in one line."""
    return [
        f"{fault.place}: {fault.reason}"
        + (f" ({fault.leads} leads)" if fault.leads else "")
        + ("" if fault.blocks else ", which holds these leads only")
        for fault in faults
    ]


def _leads_in_files(document: CampaignFile, now: datetime) -> list[dict[str, Any]]:
    """The leads of the document's CSV files that have an address; nothing of them is stored."""
    rows = [
        part.rows
        for position, source in enumerate(document.campaign.sources, start=1)
        if isinstance(source, CsvSource)
        for part in read_csv_source(source, f"{source.type}-{position}", document.folder)
    ]
    if not rows:
        return []
    leads = intake(
        pd.concat(rows, ignore_index=True),
        campaign=document.campaign.campaign,
        known=pd.DataFrame({"alias": [], "lead_id": []}, dtype="string[pyarrow]"),
        previous=typed("raw_leads", {"lead_id": []}),
        now=now,
    ).leads
    reached = leads[leads["email"].notna()]
    records: list[dict[str, Any]] = reached.astype(object).to_dict("records")  # type: ignore[assignment]
    return [{**lead, "custom": json.loads(lead["custom"])} for lead in records]


def _leads(workspace: Workspace, key: str, ids: list[str]) -> list[dict[str, Any]]:
    with workspace.database.read() as connection:
        return list(read_leads(connection, key, ids).values())
