"""Structured logs: one JSON object a line, with the ids of request, campaign and run.

Nothing of a request's path, query, headers or body is logged but those ids, and of an exception its
type and places alone: the rest may be personal, or a token. Not here: the requests (`observation`).
"""

import logging
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any

import structlog


def log_as_json() -> None:
    """From now on what this process logs goes to standard error, a JSON object a line."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            _without_values,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(),
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.disable(logging.NOTSET)


def _without_values(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """An exception's type and places, and not its text."""
    found = event.pop("exc_info", None)
    if found and (error := found[1]):
        event["error"] = type(error).__name__
        event["at"] = [
            f"{frame.filename}:{frame.lineno} {frame.name}"
            for frame in traceback.extract_tb(error.__traceback__)
        ]
    return event
