"""Whose mailboxes a campaign is about to write to, asked of the DNS before anything is claimed.

Not here: what follows for the caps (`store.pacing`).
"""

from datetime import datetime

from aicmo_dagster.domain.nurture.mailboxes import provider_by_exchangers
from aicmo_dagster.mail.dns import DnsUnavailable, Lookup
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.pacing import domains_to_ask_about, know_providers

AT_ONCE = 200
"""Domains asked about in one tick, so that a slow name server does not hold it up for long."""


def learn_providers(workspace: Workspace, key: str, lookup: Lookup, now: datetime) -> int:
    """The providers of the domains that are due are known where the DNS tells; how many are new.

    Only a limit by provider asks for it; without an answer a domain goes by its name.
    """
    if workspace.campaign(key).campaign.nurture.caps.per_provider_per_hour is None:
        return 0
    with workspace.database.read() as connection:
        domains = domains_to_ask_about(connection, key, now, AT_ONCE)
    found = []
    for domain in domains:
        try:
            found.append((domain, provider_by_exchangers(domain, lookup.exchangers(domain))))
        except DnsUnavailable:
            break
    with workspace.database.write() as connection:
        know_providers(connection, found, now)
    return len(found)
