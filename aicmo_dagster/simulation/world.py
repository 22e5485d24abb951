"""Campaigns that live on the virtual clock: ticks, runs of stages, and recipients in between.

The clock jumps to the next instant at which anything is due, so that quiet time costs nothing. What
happens is done by the stages themselves. Not here: what recipients do (`recipients`), the figures
(`funnel`).
"""

import heapq
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import InitVar, dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from aicmo_dagster.domain.nurture.caps import CAMPAIGN, HALTED, SENDER, SENDER_HOUR
from aicmo_dagster.domain.schedules import next_ticks
from aicmo_dagster.domain.schemas import STAGES
from aicmo_dagster.domain.sections.schedule import Schedule
from aicmo_dagster.mail.delivery import Transport
from aicmo_dagster.simulation.behaviour import Behaviour
from aicmo_dagster.simulation.clock import VirtualClock
from aicmo_dagster.simulation.post import Journal, PostOffice
from aicmo_dagster.simulation.recipients import Fit, Recipients
from aicmo_dagster.stages.deciding.qualify import qualify_leads
from aicmo_dagster.stages.deciding.route import route_leads
from aicmo_dagster.stages.deciding.score import score_leads
from aicmo_dagster.stages.engaging.engage import engage
from aicmo_dagster.stages.harvesting.harvest import harvest
from aicmo_dagster.stages.nurturing.nurture import nurture
from aicmo_dagster.stages.operating.attempts import Attempt
from aicmo_dagster.stages.operating.clock import PATIENCE, Ended, Request, look, settle
from aicmo_dagster.stages.operating.sharing import NURTURE
from aicmo_dagster.stages.report import Report
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.due import next_mail_at
from aicmo_dagster.store.pacing import room_again_at
from aicmo_dagster.store.ticks import active_schedules

HEEDED = timedelta(hours=12)
"""How soon what recipients did is judged where no run of a stage comes first. It shortens a wait
at the campaign's next run, where a real campaign looks at its next tick."""

UNPROVEN = timedelta(hours=1)
"""When a run that found nothing to send is made again if no clock tells that it would be idle."""

_DAY, _MINUTE = timedelta(days=1), timedelta(minutes=1)
_EVER, _NEVER = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
_LEADS: Mapping[str, Callable[[Workspace, str, datetime], Report]] = MappingProxyType(
    {
        "scored_leads": score_leads,
        "qualified_leads": qualify_leads,
        "routed_leads": route_leads,
    }
)
_LIMITS = frozenset({SENDER, SENDER_HOUR, CAMPAIGN, HALTED})
"""What ends a run before everything that was due was looked at."""

_STAGES_OF = {"harvest": STAGES[:4], "full_pipeline": STAGES, NURTURE: STAGES[4:]}

Action = Callable[[], object]


@dataclass(frozen=True)
class Pass:
    """One run of a stage: when, and its report."""

    at: datetime
    report: Report


@dataclass
class World:
    """Campaigns that live, their recipients, and the clock.

    Args:
        workspace: One in which nothing leads out of the machine.
        behaviour: How recipients are.
        seed: Of all chance.
        clock: The time; it goes on from where the journal came to, if that is further.
        journal: Of what arrived, which outlives a kill.
        fit: The latent fit of an address, from 0 to 1.
        pause: As the post office's.
        still: Whether the sources stand still, so that they are read once for each version of the
            document: reading them again would find the same.
        passes: Every run of a stage.
        carrier: What takes mail to the post office.
        endures: The failures that the world goes on after, as a daemon does after a run that
            failed; any other ends it.
    """

    workspace: Workspace
    behaviour: InitVar[Behaviour]
    seed: InitVar[int]
    clock: VirtualClock
    journal: Journal
    fit: InitVar[Fit] = lambda address: 0.5
    pause: InitVar[Action] = lambda: None
    still: bool = False
    passes: list[Pass] = field(default_factory=list)
    carrier: Callable[[PostOffice], Transport] = lambda office: office
    endures: Callable[[Exception], bool] = lambda failure: False
    _harvested: dict[str, tuple[int, Report]] = field(default_factory=dict)
    _actions: list[tuple[datetime, int, Action]] = field(default_factory=list)
    _unheeded: datetime | None = None
    _idle_until: dict[str, datetime] = field(default_factory=dict)
    _fresh: set[str] = field(default_factory=set)
    _look_at: datetime = _EVER

    def __post_init__(self, behaviour: Behaviour, seed: int, fit: Fit, pause: Action) -> None:
        """After a kill, so much later that the ticks of the dead process are given up."""
        key = self.workspace.settings.secret_key()
        begun, ended = self.journal.begun, self.journal.ended
        if begun is not None:
            self.clock.jump(begun + PATIENCE + _MINUTE)
        office = PostOffice(behaviour, seed, self.journal, self.clock, key, pause=pause)
        self._transport = self.carrier(office)
        self._recipients = Recipients(self.workspace, behaviour, seed, self.journal, fit)
        if begun is not None:
            self._recipients.receive(since=min(begun, ended or _EVER))

    def at(self, instant: datetime, action: Action) -> None:
        """`action` is done at `instant`: an edit, a pause, whatever people do to a campaign."""
        heapq.heappush(self._actions, (instant, len(self._actions), action))

    def run(self, until: datetime) -> None:
        """The world has come to `until`, and what recipients did by then is judged.

        A tick at `until` itself is for whoever goes on.
        """
        while self.clock.now() < until:
            try:
                self._turn()
                following = self._next()
            except Exception as failure:
                if not self.endures(failure):
                    raise
                following = self.clock.now() + _MINUTE
            self.clock.jump(min(following, until))
        self._recipients.act(until)
        self._engage()
        self.journal.end(until)

    def close(self) -> None:
        """Whatever is open is given back."""
        self._transport.close()
        self.journal.close()

    def _turn(self) -> None:
        """Everything that is due now happens."""
        now = self.clock.now()
        self.journal.begin(now)
        while self._actions and self._actions[0][0] <= now:
            heapq.heappop(self._actions)[2]()
        if self._recipients.act(now):
            self._unheeded = self._unheeded or now
        requests: list[Request] = []
        if now >= self._look_at:
            requests = look(self.workspace, {}, {}, now).requests
        if self._unheeded is not None and (requests or now >= self._unheeded + HEEDED):
            self._engage()
        for request in requests:
            self._run(request)
        self.journal.end(now)

    def _run(self, request: Request) -> None:
        """A run as Dagster would start it, to its end: a stage that fails ends its campaign's."""
        failed = [key for key in request.campaigns if not self._run_stages(request, key)]
        ended = {request.run_key: Ended(request.run_key, succeeded=not failed)}
        settle(self.workspace, ended, self.clock.now())

    def _run_stages(self, request: Request, key: str) -> bool:
        stages = request.stages or _STAGES_OF[request.job]
        return all(self._run_stage(stage, key, request.run_key) for stage in stages)

    def _run_stage(self, stage: str, key: str, run_key: str) -> bool:
        attempt = Attempt(self.workspace, key, stage, run_key, begun_at=self.clock.now())
        try:
            report = self._report(stage, key)
            attempt.succeeded(report, self.clock.now())
        except Exception as failure:
            if not self.endures(failure):
                raise
            with suppress(Exception):  # the database may be what failed
                attempt.failed(type(failure).__name__, self.clock.now())
            return False
        self.passes.append(Pass(attempt.begun_at, report))
        return True

    def _report(self, stage: str, key: str) -> Report:
        now = self.clock.now()
        if stage in _LEADS:
            self._idle_until.pop(key, None)
            self._fresh.add(key)
            return _LEADS[stage](self.workspace, key, now)
        if stage == "raw_leads":
            return self._harvest(key, now)
        try:
            report = nurture(self.workspace, key, self.clock.now, self._transport)
        finally:
            self._recipients.receive()
        self._fresh.discard(key)
        busy = report.figures["now_claimed"] or report.figures["newly_planned"]
        capped = not _LIMITS.isdisjoint(report.reasons)
        self._idle_until[key] = now if busy and not capped else self._room_at(key)
        return report

    def _harvest(self, key: str, now: datetime) -> Report:
        version = self.workspace.campaign(key).version
        known, report = self._harvested.get(key, (0, None))
        if report is None or not self.still or known != version:
            report = harvest(self.workspace, key, now, self.clock.as_time())
            self._harvested[key] = (version, report)
        return report

    def _room_at(self, key: str) -> datetime:
        """When there may be room again for what a run has just not sent."""
        now, campaign = self.clock.now(), self.workspace.campaign(key).campaign
        with self.workspace.database.read() as connection:
            return room_again_at(connection, campaign, now) or now + UNPROVEN

    def _engage(self) -> None:
        """What was done is judged, and whoever is of real interest is handed to sales."""
        reports, failures = engage(self.workspace, self.clock.now)
        for failure in failures.values():
            raise failure
        now = self.clock.now()
        self.passes += [Pass(now, report) for report in reports if report.rows_in]
        self._unheeded = None

    def _next(self) -> datetime:
        """The next instant at which anything may be due."""
        now = self.clock.now()
        self._look_at = max(self._next_look(now), now + _MINUTE)
        begun = self._unheeded or self._recipients.next_at()
        heeded = _NEVER if begun is None else max(begun + HEEDED, now + _MINUTE)
        return min(self._look_at, heeded)

    def _next_look(self, now: datetime) -> datetime:
        """The next tick that there is something to do for, or the next action."""
        instants = [self._actions[0][0]] if self._actions else []
        with self.workspace.database.read() as connection:
            schedules = active_schedules(connection)
            mails = {key: next_mail_at(connection, key) for key in schedules}
        for key, schedule in schedules.items():
            for job in ("harvest", "full_pipeline"):
                instants += next_ticks(schedule, job, now, 1)
            instants += self._mail_tick(key, schedule, mails[key])
        return min(instants, default=_NEVER)

    def _mail_tick(self, key: str, schedule: Schedule, due: datetime | None) -> list[datetime]:
        """The tick that takes the campaign's next mail, as far as one can tell."""
        now = self.clock.now()
        if key in self._fresh:
            due = now
        if due is None:
            return []
        ready = max(due, self._idle_until.get(key, now), now + _MINUTE)
        return next_ticks(schedule, NURTURE, ready - _MINUTE, 1)
