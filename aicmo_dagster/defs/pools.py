"""The pools whose slots steps take, and how Dagster comes to know them. Not here: their limits."""

from typing import Final

import dagster as dg
from dagster._core.storage.event_log import EventLogStorage

PROVIDERS: Final = "providers"
BULK_WRITES: Final = "bulk_writes"
MAIL: Final = "mail"
POOLS: Final = (PROVIDERS, BULK_WRITES, MAIL)


def introduce_pools(instance: dg.DagsterInstance) -> None:
    """Dagster knows our pools, before runs ask for slots of them.

    Else it makes each when a run first asks: of two runs that do at once, PostgreSQL refuses the
    second, which Dagster 1.13 answers within the refused transaction; that run fails.
    """
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return
    if instance.global_op_concurrency_default_limit is None:
        return  # what has no limit of its own has none, and Dagster would remove one set meanwhile
    known = storage.get_concurrency_keys()
    for pool in POOLS:
        if pool not in known:
            _introduce(storage, pool)


def _introduce(storage: EventLogStorage, pool: str) -> None:
    try:
        storage.initialize_concurrency_limit_to_default(pool)
    except Exception:  # the boundary: of whichever library the storage is
        if pool not in storage.get_concurrency_keys():
            raise  # and nobody else has introduced it meanwhile
