"""How the installation fares, part by part, and what to do about it: for `doctor` and the API.

Not here: figures over time (`api.metrics`), or how a campaign stands (`status`).
"""

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal
from urllib.parse import urlsplit

import psutil
import requests
import sqlalchemy as sa

from aicmo_dagster.errors import AicmoError
from aicmo_dagster.handoff.connections import is_private_host
from aicmo_dagster.settings import Settings
from aicmo_dagster.store import vitals
from aicmo_dagster.store.database import Database
from aicmo_dagster.store.heartbeats import CLOCK, last_beat

State = Literal["pass", "warn", "fail"]
WORST: tuple[State, ...] = ("pass", "warn", "fail")

LATE = timedelta(minutes=2)
"""The scheduler looks every 15 seconds; after this it is taken to have stopped."""

ASKING_SECONDS = 2.0
"""How long the web server may take to answer."""

_GIB = 2**30
_START = "start it with 'aicmo dev', or as deploy/ shows"


@dataclass(frozen=True)
class Check:
    """How one part fares.

    Args:
        name: The part.
        state: `pass`; `warn`: it works, and somebody should look; `fail`: it does not work.
        detail: What was found, without personal data.
        advice: What to do; empty where there is nothing to do.
        observed_at: From when that is.
        figures: Numbers behind it.
    """

    name: str
    state: State
    detail: str
    observed_at: datetime
    advice: str = ""
    figures: dict[str, float] | None = None


@dataclass(frozen=True)
class Health:
    """How everything fares at an instant."""

    at: datetime
    checks: list[Check]

    @property
    def state(self) -> State:
        """That of the part that fares worst."""
        return max((check.state for check in self.checks), key=WORST.index)

    def as_document(self) -> dict[str, Any]:
        """Plain values for JSON; ages in seconds."""
        return {
            "state": self.state,
            "at": self.at.isoformat(),
            "checks": {check.name: self._told(check) for check in self.checks},
        }

    def _told(self, check: Check) -> dict[str, Any]:
        return {
            "state": check.state,
            "age_seconds": round((self.at - check.observed_at).total_seconds(), 3),
            "detail": check.detail,
            "advice": check.advice,
            "figures": check.figures or {},
        }


def examine(settings: Settings, database: Database | AicmoError, now: datetime) -> Health:
    """The health of the installation at `now`.

    Args:
        settings: Of the installation.
        database: Open, or why it cannot be opened.
        now: The instant.
    """
    local = [_memory(now), _disk(settings, now), _spool(settings, now), _web_server(settings, now)]
    local.append(_settings(settings, now))
    if isinstance(database, AicmoError):
        advice = "see AICMO_DATABASE_URL, and whether the server runs"
        return Health(now, [Check("database", "fail", str(database), now, advice), *local])
    checks = [_guarded("database", _database, database, now)]
    if checks[0].state == "pass":
        checks += [
            _guarded("scheduler", _scheduler, database, now),
            _guarded("mail", partial(_mail, settings), database, now),
            _guarded("dead_letters", _dead_letters, database, now),
        ]
        for name, provider in (("apollo", settings.apollo), ("dropcontact", settings.dropcontact)):
            has_key = provider.api_key is not None
            checks.append(_guarded(name, partial(_provider, name, has_key), database, now))
    return Health(now, checks + local)


def _guarded(
    name: str,
    look: Callable[[sa.Connection, datetime], Check],
    database: Database,
    now: datetime,
) -> Check:
    """What `look` finds; that it could not is a finding too."""
    try:
        with database.read() as connection:
            return look(connection, now)
    except (AicmoError, sa.exc.SQLAlchemyError) as error:
        advice = "see AICMO_DATABASE_URL, and whether the server runs"
        return Check(name, "fail", f"cannot be read ({type(error).__name__})", now, advice)


def _database(connection: sa.Connection, now: datetime) -> Check:
    begun = time.perf_counter()
    connection.execute(sa.select(sa.literal(1)))
    seconds = time.perf_counter() - begun
    name = connection.dialect.name
    return Check("database", "pass", f"{name} answers", now, figures={"seconds": round(seconds, 6)})


def _scheduler(connection: sa.Connection, now: datetime) -> Check:
    beat = last_beat(connection, CLOCK)
    if beat is None:
        return Check("scheduler", "fail", "the daemon never looked at the schedules", now, _START)
    if now - beat > LATE:
        detail = f"the daemon last looked at the schedules at {beat:%Y-%m-%d %H:%M:%S} UTC"
        return Check("scheduler", "fail", detail, beat, _START)
    return Check("scheduler", "pass", "the daemon looks at the schedules", beat)


def _mail(settings: Settings, connection: sa.Connection, now: datetime) -> Check:
    held, unknown = vitals.open_breakers(connection, now), vitals.unknown_sends(connection)
    figures = {"held_back": float(held), "unknown": float(unknown)}
    way = "to an SMTP server" if settings.smtp_url else "into the outbox folder, to nobody"
    if not held and not unknown:
        return Check("mail", "pass", f"it goes {way}", now, figures=figures)
    detail = f"it goes {way}; {held} breakers hold some back, the fate of {unknown} is not known"
    refused = "read the refusals with 'aicmo explain', and mend what they name"
    doubtful = "see 'aicmo unknown list' for what is in doubt, which is not sent again by itself"
    advice = "; ".join([refused] * bool(held) + [doubtful] * bool(unknown))
    return Check("mail", "warn", detail, now, advice, figures)


def _dead_letters(connection: sa.Connection, now: datetime) -> Check:
    dead = vitals.dead_letters(connection)
    figures = {name: float(count) for name, count in dead.items()}
    if not any(dead.values()):
        return Check("dead_letters", "pass", "nothing was given up", now, figures=figures)
    detail = f"{dead['handoffs']} handoffs and {dead['webhooks']} events were given up"
    advice = "mend the receiver, then 'aicmo handoff resend', or resend over the API"
    return Check("dead_letters", "warn", detail, now, advice, figures)


def _provider(name: str, has_key: bool, connection: sa.Connection, now: datetime) -> Check:
    found = vitals.provider_vitals(connection, name, now)
    observed = found.answered_at or now
    figures = {"open_calls": float(found.open_calls)}
    if found.balance is not None:
        figures["credits"] = found.balance
    if not has_key:
        return Check(name, "pass", "it is not set up", observed, figures=figures)
    if found.closed_until:
        detail = f"it takes no requests until {found.closed_until:%Y-%m-%d %H:%M} UTC"
        advice = "wait: harvests go on by themselves; a larger plan has a higher limit"
        return Check(name, "warn", detail, observed, advice, figures)
    if found.balance is not None and found.balance <= 0:
        return Check(name, "warn", "no credits are left", observed, "buy credits", figures)
    detail = "it has answered" if found.answered_at else "it was not asked yet"
    return Check(name, "pass", detail, observed, figures=figures)


def _memory(now: datetime) -> Check:
    memory = psutil.virtual_memory()
    free = memory.available / memory.total
    used = psutil.Process().memory_info().rss
    figures = {"available_bytes": float(memory.available), "process_bytes": float(used)}
    detail = f"{memory.available / _GIB:.1f} GiB of {memory.total / _GIB:.1f} are free"
    state: State = "pass" if free > 0.1 else "warn" if free > 0.03 else "fail"
    advice = "" if state == "pass" else "give the machine more, or run fewer runs at once"
    return Check("memory", state, detail, now, advice, figures)


def _disk(settings: Settings, now: datetime) -> Check:
    usage = shutil.disk_usage(settings.home)
    state: State = "pass" if usage.free > _GIB else "warn" if usage.free > _GIB / 8 else "fail"
    advice = "" if state == "pass" else f"make room on the disk of {settings.home}"
    detail = f"{usage.free / _GIB:.1f} GiB of {usage.total / _GIB:.1f} are free"
    return Check("disk", state, detail, now, advice, {"free_bytes": float(usage.free)})


def _spool(settings: Settings, now: datetime) -> Check:
    """Events that wait on disk for the database; they do so for a second where all is well."""
    files = list(settings.spool.glob("*.ready")) if settings.spool.is_dir() else []
    refused = len(list(settings.spool.glob("*.refused"))) if settings.spool.is_dir() else 0
    figures = {"files": float(len(files)), "refused": float(refused)}
    if refused:
        advice = f"look at the files in {settings.spool}: the database takes them not"
        return Check(
            "spool", "warn", f"{refused} files of events were refused", now, advice, figures
        )
    oldest = min((file.stat().st_mtime for file in files), default=now.timestamp())
    if now.timestamp() - oldest > LATE.total_seconds():
        advice = "start 'aicmo api' or the daemon, which bring them to the database"
        return Check("spool", "warn", f"{len(files)} files of events wait", now, advice, figures)
    return Check("spool", "pass", "no events wait", now, figures=figures)


def _web_server(settings: Settings, now: datetime) -> Check:
    name, url = "dagster", settings.dagster_url
    try:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(f"{url}/server_info", timeout=ASKING_SECONDS)
            answer.raise_for_status()
    except requests.RequestException as error:
        detail = f"its web server does not answer at AICMO_DAGSTER_URL ({type(error).__name__})"
        advice = f"{_START}; without it no run can be started over the API"
        return Check(name, "warn", detail, now, advice)
    return Check(name, "pass", "its web server answers", now)


def _settings(settings: Settings, now: datetime) -> Check:
    """What each setting says may be right, and still not do."""
    faults = []
    public = urlsplit(settings.public_url)
    outside = public.scheme == "https" and not is_private_host(public.hostname or "")
    if settings.smtp_url and not outside:
        faults.append("AICMO_PUBLIC_URL is no https URL that recipients reach, and mail goes out")
    if settings.dkim and not os.access(settings.dkim.key_file, os.R_OK):
        faults.append("AICMO_DKIM_KEY_FILE cannot be read, so that no mail can be signed")
    try:
        settings.webhook_secret()
    except AicmoError as error:
        faults.append(str(error))
    if not faults:
        return Check("settings", "pass", "nothing is amiss with them", now)
    return Check("settings", "warn", "; ".join(faults), now, "set them as the README says")
