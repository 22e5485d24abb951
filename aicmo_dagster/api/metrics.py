"""`GET /metrics`: what Prometheus scrapes, of the installation and of this service's requests.

Not here: the statements behind it (`store.gauges`).
"""

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from prometheus_client import CollectorRegistry, Histogram, values
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from aicmo_dagster.api.access import Viewer
from aicmo_dagster.api.problems import answers
from aicmo_dagster.store import gauges, vitals
from aicmo_dagster.store.database import Database
from aicmo_dagster.store.heartbeats import CLOCK, last_beat

CACHED_SECONDS = 30.0
"""How old figures of the database may be: however many scrape, they are read this often."""

TEXT = "text/plain; version=0.0.4; charset=utf-8"

_REQUESTS = CollectorRegistry()
REQUEST_SECONDS = Histogram(
    "aicmo_http_request_duration_seconds",
    "How long requests took, by the route's template.",
    ("method", "route", "status"),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30),
    registry=_REQUESTS,
)

router = APIRouter(tags=["operation"])


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}, **answers(401, 403, 503)},
)
def metrics(
    request: Request,
    principal: Viewer,
    accept: Annotated[str, Header(description="A format of Prometheus.")] = TEXT,
) -> Response:
    """Leads, mail, engagement, durations, queues and this service's latencies, for Prometheus."""
    principal.require_all_campaigns()
    registry = CollectorRegistry()
    registry.register(request.app.state.gauges)
    try:
        encode, content_type = choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is none
        encode, content_type = choose_encoder(TEXT)
    return Response(encode(registry) + encode(_own_registry()), media_type=content_type)


def _own_registry() -> CollectorRegistry:
    """The requests of this process, or of all workers where there are several."""
    if values.ValueClass is values.MutexValue:
        return _REQUESTS
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return registry


class Gauges(Collector):
    """Gauges of the database, read at most every CACHED_SECONDS."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reading = threading.Lock()
        self._read_at = float("-inf")
        self._families: list[Metric] = []

    def collect(self) -> Iterator[Metric]:
        """The figures."""
        with self._reading:
            if time.monotonic() - self._read_at > CACHED_SECONDS:
                self._families = list(self._families_now(datetime.now(UTC)))
                self._read_at = time.monotonic()
            yield from self._families

    def _families_now(self, now: datetime) -> Iterator[Metric]:
        with self._database.read() as connection:
            counts = (
                ("leads", "Leads in the frame of a stage.", "stage", gauges.leads_by_stage),
                ("sends", "Messages of the ledger by state.", "state", gauges.sends_by_state),
                ("events", "What recipients did, by kind.", "kind", gauges.events_by_kind),
            )
            for name, text, label, count in counts:
                yield _family(name, text, ("campaign", label), count(connection))
            durations = gauges.stage_durations(connection)
            depths = gauges.queue_depths(connection, now)
            dead = vitals.dead_letters(connection)
            beat = last_beat(connection, CLOCK)
        place, seconds = ("campaign", "stage"), "stage_duration_seconds"
        text = "How long a stage took when it was last done."
        yield _family(seconds, text, place, {at: took for at, (took, _) in durations.items()})
        text = "When a stage was last done."
        done = {at: when.timestamp() for at, (_, when) in durations.items()}
        yield _family("stage_success_timestamp_seconds", text, place, done)
        text = "How much is due and waits."
        yield _family("queue_depth", text, ("queue",), {(q,): n for q, n in depths.items()})
        text = "How much was given up."
        yield _family("dead_letters", text, ("queue",), {(q,): n for q, n in dead.items()})
        text = "When the daemon last looked at the schedules."
        looked = {(): beat.timestamp()} if beat else {}
        yield _family("scheduler_look_timestamp_seconds", text, (), looked)


def _family(
    name: str,
    text: str,
    labels: tuple[str, ...],
    samples: "dict[tuple[str, str], int] | dict[tuple[str, str], float] | dict[tuple[str], int]"
    " | dict[tuple[()], float]",
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"aicmo_{name}", text, labels=labels)
    for at, value in samples.items():
        family.add_metric(at, value)
    return family
