"""What became of campaigns' leads, read and ripened: what their models learn from.

Not here: learning (`train`), or what an outcome is (`domain.scoring.history`, `.answers`).
"""

from datetime import datetime

import pandas as pd
import sqlalchemy as sa

from aicmo_dagster.domain.scoring.history import History
from aicmo_dagster.domain.scoring.model_frames import history_of
from aicmo_dagster.domain.scoring.pooling import pooled
from aicmo_dagster.domain.sections.scoring import Scoring
from aicmo_dagster.store.answers import answers
from aicmo_dagster.store.campaigns import load_campaign
from aicmo_dagster.store.frames import read_frame


def read_history(
    connection: sa.Connection, key: str, scoring: Scoring, now: datetime
) -> tuple[pd.DataFrame, History]:
    """The raw leads of the campaign, and in their order what became of them."""
    leads = read_frame(connection, "raw_leads", key)
    kinds = [kind for kind in scoring.won_by if kind != "outcome"]
    told = answers(connection, key, kinds) if kinds else None
    return leads, history_of(leads, scoring, now, told)


def read_pooled(connection: sa.Connection, key: str, now: datetime) -> History:
    """What the campaign learns from: its leads, and those of the campaigns that it names.

    Raises:
        AicmoError: If it names one that there is none of, or one whose leads have no instants of
            arrival.
    """
    named = load_campaign(connection, key).campaign.scoring.learn_from
    keys = dict.fromkeys([key, *named])
    sections = {each: load_campaign(connection, each).campaign.scoring for each in keys}
    return pooled([read_history(connection, each, sections[each], now)[1] for each in keys])
