"""Starting a run once, whatever is repeated, interrupted or asked for at the same moment.

The intent is on disk before Dagster is asked and its id is a tag of the run, by which the run is
found if the answer was lost. Not here: asking Dagster (`runs`), or the endpoint (`executions`).
"""

import hashlib
import secrets
import time
from datetime import UTC, datetime

from aicmo_dagster.api.access import Principal
from aicmo_dagster.api.problems import Refusal
from aicmo_dagster.api.runs import Action, Runs, Unanswered, Unreachable
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store import run_intents
from aicmo_dagster.store.audit import record_change
from aicmo_dagster.store.run_intents import LAUNCHED, LAUNCHING, RunIntent

PATIENCE_SECONDS = 8.0
"""How long a request waits for another that is starting a run of the same campaign."""

_LOOK_SECONDS = 0.2
_SOON = {"Retry-After": "5"}


class Start:
    """A request to run `action` for the campaign `key`."""

    def __init__(
        self, work: Workspace, dagster: Runs, principal: Principal, key: str, action: Action
    ) -> None:
        self._work = work
        self._dagster = dagster
        self._principal = principal
        self._key = key
        self._action: Action = action

    def run_once(self, idempotency_key: str | None) -> str:
        """The id of the run that the request has started, now or the first time.

        Raises:
            Refusal: 409 while another run goes or is being started; 503 if nothing was started, or
                nobody knows yet.
        """
        intent = self._intent(idempotency_key)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            with self._work.database.write(durable=True) as connection:
                known = run_intents.begin_intent(connection, intent)
            if known is None:
                return self._launch(intent)
            if known.state == LAUNCHED:
                return str(known.run_id)
            if run_id := self._dagster.find(known.id):
                self._settle(known, run_id)
            elif datetime.now(UTC) - known.attempted_at > self._dagster.settled:
                self._settle(known, self._dagster.given_up(known.id))
            elif time.monotonic() > deadline:
                raise self._impatient(intent, known)
            else:
                time.sleep(_LOOK_SECONDS)

    def _intent(self, idempotency_key: str | None) -> RunIntent:
        name, now = secrets.token_hex(16), datetime.now(UTC)
        if idempotency_key is not None:
            named = (self._principal.token_id, self._key, self._action, idempotency_key)
            name = hashlib.sha256("\x1f".join(named).encode()).hexdigest()[:32]
        who = self._principal.who
        return RunIntent(name, self._key, self._action, LAUNCHING, None, who, now, now)

    def _impatient(self, intent: RunIntent, known: RunIntent) -> Refusal:
        """What is told after a wait in vain for another request, or for an earlier try of it."""
        if known.id != intent.id:
            detail = "another request is starting a run of this campaign"
            return Refusal(409, detail, type="run-in-progress", headers=_SOON)
        detail = "it is not known yet whether the run was started; ask again"
        return Refusal(503, detail, type="outcome-unknown", headers=_SOON)

    def _launch(self, intent: RunIntent) -> str:
        try:
            if run_id := self._dagster.find(intent.id):  # by an earlier try, taken to have failed
                self._settle(intent, run_id)
                return run_id
            if busy := self._dagster.unfinished(self._key):
                self._settle(intent, None)
                run = busy[0]
                detail = f"run {run.id} of this campaign is {run.state}"
                raise Refusal(409, detail, type="run-in-progress", run_id=run.id)
            run_id = self._dagster.launch(self._action, self._key, intent.id)
        except Unreachable as error:
            self._settle(intent, None)
            raise Refusal(503, str(error), type="dagster-unreachable", headers=_SOON) from error
        except Unanswered as error:
            found = self._dagster.find(intent.id)
            if found is None:
                raise Refusal(503, str(error), type="outcome-unknown", headers=_SOON) from error
            run_id = found
        self._settle(intent, run_id)
        return run_id

    def _settle(self, intent: RunIntent, run_id: str | None) -> None:
        """What became of the intent is known and on record."""
        with self._work.database.write(durable=True) as connection:
            changed = run_intents.settle_intent(connection, intent.id, run_id)
            if not changed or run_id is None:
                return
            record_change(
                connection,
                intent.requested_by,
                "run.start",
                datetime.now(UTC),
                campaign=intent.campaign,
                subject=run_id,
                after={"action": intent.action},
            )
