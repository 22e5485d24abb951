"""Paid calls whose outcome nobody knows: released where it is proven that they cost nothing.

Whoever was killed has noted which of its calls had left (`store.departures`). For the others,
neither provider has idempotency keys or can be asked about a single call whose answer was lost, so
that a balance is all the evidence there is. What it does not prove stays in doubt: it counts at its
ceiling, and its people are not asked about again while an answer would be fresh.

Not here: what counts as proof (`store.departures`, `store.balances`).
"""

import logging

from aicmo_dagster.errors import AicmoError
from aicmo_dagster.stages.harvesting.payer import Payer
from aicmo_dagster.store.balances import heed_balance
from aicmo_dagster.store.departures import release_kept_back
from aicmo_dagster.store.workers import has_ended

_ENDPOINTS = {"apollo": "apollo/usage", "dropcontact": "dropcontact"}
_log = logging.getLogger(__name__)


def resolve_doubts(payer: Payer, provider: str) -> None:
    """Calls that provably cost nothing may be made again; a later run judges by today's balance."""
    _release_kept_back(payer)
    providers = payer.providers
    client = providers.apollo if provider == "apollo" else providers.dropcontact
    assert client is not None
    endpoint = _ENDPOINTS[provider]
    now = providers.time.now()
    try:
        balance = providers.ask(endpoint, client.credits)
    except AicmoError as error:  # a key need not open this, and a harvest need not know
        _log.info("%s: %s does not tell its balance: %s", payer.campaign, provider, error)
        return
    if balance is None:
        return
    with providers.workspace.database.write() as connection:
        released = heed_balance(
            connection,
            provider,
            providers.key_hash(endpoint),
            balance=balance,
            now=now,
            has_ended=has_ended,
        )
    payer.outcomes[f"{provider}: calls in doubt that cost nothing"] += released


def _release_kept_back(payer: Payer) -> None:
    """Calls that runs of this machine had begun when they were killed, and that had not left."""
    workspace = payer.providers.workspace
    folder = workspace.settings.departures
    if not folder.is_dir():
        return
    with workspace.database.write() as connection:
        released, told = release_kept_back(connection, folder, has_ended)
    for path in told:
        path.unlink(missing_ok=True)
    if released:
        _log.info("%d calls of runs that were killed had never left", released)


def doubts_left(payer: Payer, provider: str) -> str | None:
    """What an operator should know of the campaign's calls that are in doubt, if there are any."""
    calls = [call for call in payer.open_calls(provider) if call.state != "pending"]
    if not calls:
        return None
    people = sum(len(call.people) for call in calls)
    credits = sum(call.credits_at_most for call in calls)
    return (
        f"{provider}: of {len(calls)} calls about {people} leads nobody knows whether they were "
        f"paid for; they count as {credits:g} credits, and nobody is asked about twice"
    )
