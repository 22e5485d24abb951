"""Enrolling: who is routed holds a place in a sequence, and no person two at once.

Not here: who is routed where (`route`), or the rows (`store.enrolments`).
"""

from dataclasses import dataclass, field
from datetime import datetime

import pandas as pd
import pyarrow
import pyarrow.compute as pc
import sqlalchemy as sa

from aicmo_dagster.domain.facts import one_array
from aicmo_dagster.domain.tokens import address_keys
from aicmo_dagster.store.campaigns import StoredCampaign, load_campaign
from aicmo_dagster.store.enrolments import (
    end_enrolments,
    enrol,
    unenrolled,
    withdraw_enrolments,
    withdraw_unrouted,
)
from aicmo_dagster.store.frames import read_frame

TEXT = pd.ArrowDtype(pyarrow.string())


@dataclass(frozen=True)
class Enrolling:
    """Enrolments of one campaign, in one transaction.

    Args:
        connection: From `Database.write`.
        stored: The campaign.
        secret_key: The key that persons are hashed under.
        now: The instant of enrolling.
    """

    connection: sa.Connection
    stored: StoredCampaign
    secret_key: bytes
    now: datetime
    _ends: dict[int, dict[str, str]] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The campaign."""
        return self.stored.campaign.campaign

    def catch_up(self, at_once: int) -> None:
        """Everyone in a sequence is enrolled, and whoever's has ended is not any more."""
        for routed in unenrolled(self.connection, self.key, at_once):
            self.enrol(routed)
        withdraw_unrouted(self.connection, self.key)
        end_enrolments(self.connection, self.now)

    def enrol(self, routed: pd.DataFrame, emails: pd.Series | None = None) -> set[str]:
        """Enrols leads; tells whose person is in another sequence.

        Args:
            routed: lead_id, sequence and campaign_version of each, by lead.
            emails: Their addresses; looked up unless given.
        """
        if routed.empty:
            return set()
        # Not the columns' own lists, for which pandas makes a scalar of each value first.
        followed = (one_array(routed[n]).to_pylist() for n in ("sequence", "campaign_version"))
        last = [self._last_steps(v)[name] for name, v in zip(*followed, strict=True)]
        leads = pd.DataFrame({"lead_id": routed["lead_id"]})
        leads = leads.assign(last_step=pd.Series(last, leads.index, TEXT))
        leads = leads.assign(person=self._persons(leads, emails))
        return enrol(self.connection, self.key, leads, self.now)

    def enrol_again(self, moved: pd.DataFrame) -> None:
        """Those who were moved end with another step now."""
        self.withdraw(moved)
        self.enrol(moved)

    def withdraw(self, routed: pd.DataFrame) -> None:
        """These leads are in no sequence, as if they never had been."""
        withdraw_enrolments(self.connection, self.key, routed["lead_id"].tolist())

    def _last_steps(self, version: int) -> dict[str, str]:
        """Sequence to the step that ends it."""
        if version not in self._ends:
            document = load_campaign(self.connection, self.key, version).campaign
            ends = {name: each.steps[-1].id for name, each in document.sequences.items()}
            self._ends[version] = ends
        return self._ends[version]

    def _persons(self, leads: pd.DataFrame, emails: pd.Series | None) -> pd.Series:
        """Who each lead is, in all campaigns; missing where a person may be in several."""
        if self.stored.campaign.routing.overlap.active_elsewhere == "allow":
            return pd.Series(pd.NA, leads.index, TEXT)
        if emails is None:
            emails = self._emails(leads["lead_id"])
        persons = address_keys(self.secret_key, one_array(emails).to_pylist())
        return pd.Series(persons, leads.index, TEXT)

    def _emails(self, lead_ids: pd.Series) -> pd.Series:
        ends = (lead_ids.iloc[0], lead_ids.iloc[-1])
        columns = ["lead_id", "email"]
        raw = read_frame(self.connection, "raw_leads", self.key, columns, between=ends)
        at = pc.index_in(one_array(lead_ids), value_set=one_array(raw["lead_id"]))
        return pd.Series(pd.arrays.ArrowExtensionArray(one_array(raw["email"]).take(at)))
