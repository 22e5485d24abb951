"""What providers tell by webhook: that a batch is ready. It is believed of nothing else.

Dropcontact signs nothing, so that an event is no more than a knock at the door: a batch that is
waited for is fetched from Dropcontact itself, exactly as polling would, and the event's own rows
are not looked at. Apollo calls back only where telephone numbers or its own waterfall are asked
for, which is never done here.

Not here: the address that is called, and the secret in it (`api`).
"""

import logging
from functools import partial
from typing import Any

from aicmo_dagster.errors import AicmoError
from aicmo_dagster.sources.dropcontact import Collected
from aicmo_dagster.sources.people import text_of
from aicmo_dagster.stages.harvesting.answers import keep_outcomes
from aicmo_dagster.stages.harvesting.batches import collected_outcome
from aicmo_dagster.stages.harvesting.providers import REAL_TIME, Time, open_providers
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.provider_calls import pending_call

MOST_EVENTS = 100
"""How many batches one message may tell of; Dropcontact tells of one."""

_log = logging.getLogger(__name__)


def hear_dropcontact(workspace: Workspace, payload: object, clock: Time = REAL_TIME) -> int:
    """Batches of which `payload` tells that they are ready are collected; gives their number.

    A batch that nobody waits for, or that is not ready after all, changes nothing. The next harvest
    of its campaign finds the answers where it finds all that was paid for before.

    Args:
        workspace: Where the batches are remembered.
        payload: The JSON of the request, as it came.
        clock: The time.

    Raises:
        AicmoError: If Dropcontact cannot be asked now. Answer the webhook with an error then, so
            that it may come again; otherwise the next harvest collects the batch.
    """
    with workspace.database.read() as connection:
        found = [pending_call(connection, "dropcontact", one) for one in _request_ids(payload)]
    calls = [pair for pair in found if pair is not None]
    if not calls:
        return 0
    with open_providers(workspace, clock) as providers:
        client = providers.dropcontact
        if client is None:
            raise AicmoError("there is no key for dropcontact: set AICMO_DROPCONTACT_API_KEY")
        collected = 0
        for campaign, call in calls:
            given = providers.ask("dropcontact", partial(client.collect, str(call.request_id)))
            if isinstance(given, Collected):
                outcome = collected_outcome(campaign, call, given, call.started_at)
                with workspace.database.write() as connection:
                    keep_outcomes(connection, workspace, {call.call_id: outcome}, clock.now())
                collected += 1
    _log.info("dropcontact: %d of %d batches told of are collected", collected, len(calls))
    return collected


def _request_ids(payload: object) -> list[str]:
    """The batches that a payload tells of; nothing if it is something else."""
    events: list[Any] = payload if isinstance(payload, list) else [payload]
    told = [event["data"] for event in events if isinstance(event, dict) and "data" in event]
    ids = [text_of(one.get("request_id")) for one in told if isinstance(one, dict)]
    return list(dict.fromkeys(one for one in ids if one))[:MOST_EVENTS]
