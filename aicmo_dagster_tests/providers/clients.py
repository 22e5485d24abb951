"""The clients, pointed at the stand-in; they sleep on its clock and draw the longest back-off."""

from typing import Any

from aicmo_dagster.sources import apollo, dropcontact
from aicmo_dagster.sources.apollo import Apollo
from aicmo_dagster.sources.dropcontact import Dropcontact
from aicmo_dagster.sources.http import Http
from aicmo_dagster_tests.providers.accounts import GOOD
from aicmo_dagster_tests.providers.clock import VirtualClock


def http_client(
    url: str, virtual: VirtualClock, headers: dict[str, str] | None = None, **more: Any
) -> Http:
    given = {
        "sleep": virtual.sleep,
        "clock": virtual.now,
        "jitter": lambda: 1.0,
        "timeout": 5,
        "advice": apollo.ADVICE,
        **more,
    }
    return Http(url, apollo.key_headers(GOOD) if headers is None else headers, **given)


def apollo_client(url: str, clock: VirtualClock, key: str = GOOD, **more: Any) -> Apollo:
    return Apollo(http_client(f"{url}/apollo", clock, apollo.key_headers(key), **more))


def dropcontact_client(url: str, clock: VirtualClock, key: str = GOOD, **more: Any) -> Dropcontact:
    headers = dropcontact.key_headers(key)
    advised = {"advice": dropcontact.ADVICE, **more}
    return Dropcontact(http_client(f"{url}/dropcontact", clock, headers, **advised))
