"""Sends in doubt, resolved by a person who has looked: what was found is kept as a decision.

Not here: listing them (`store.unknown_sends`), or resolving by proof (`nurturing.nurture`).
"""

from datetime import datetime

import pandas as pd
import pyarrow as pa

from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.audit import record_change
from aicmo_dagster.store.campaigns import load_campaign
from aicmo_dagster.store.decisions import record_decisions
from aicmo_dagster.store.unknown_sends import resolve_unknown

_TEXT = pd.ArrowDtype(pa.string())


def resolve(
    workspace: Workspace,
    message_id: str,
    *,
    sent: bool,
    reason: str,
    by: str,
    who: str,
    now: datetime,
) -> tuple[str, str, str]:
    """The send arrived, or did not and is due again; tells its campaign, lead and step.

    Raises:
        AicmoError: If no send of that Message-ID is in doubt.
    """
    with workspace.database.write(durable=True) as connection:
        campaign, lead_id, step = resolve_unknown(connection, message_id, sent=sent, now=now)
        outcome = "sent" if sent else "not sent"
        told = {"lead_id": [lead_id], "outcome": [outcome], "decided_by": [by]}
        frame = pd.DataFrame(told | {"reason": [f"step '{step}': {reason}"]}).astype(_TEXT)
        version = load_campaign(connection, campaign).version
        record_decisions(
            connection,
            campaign,
            "nurture_sends",
            frame,
            now=now,
            campaign_version=version,
            inputs={"step": step},
        )
        about = {"campaign": campaign, "subject": lead_id}
        before, after = ({"step": step, "state": state} for state in ("unknown", outcome))
        record_change(connection, who, "send.resolve", now, **about, before=before, after=after)
    return campaign, lead_id, step
