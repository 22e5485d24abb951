"""Requests and replies of the stand-in, and the faults that may befall them."""

import gzip
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

JSON = "application/json; charset=utf-8"
HTML = (
    "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
)


@dataclass(frozen=True)
class Request:
    """What a client sent: query and JSON body merged, as Apollo does."""

    method: str
    path: str
    headers: Mapping[str, str]
    values: dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """What is sent back, and what is booked for it."""

    status: int
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    kind: str = JSON
    charged: float = 0
    refunded: float = 0
    people: tuple[str, ...] = ()


def reply(status: int, body: Any, **more: Any) -> Reply:
    """A reply of JSON, or of the text that `body` is."""
    if isinstance(body, str):
        return Reply(status, body.encode(), **{"kind": "text/plain", **more})
    return Reply(status, json.dumps(body).encode(), **more)


@dataclass
class Fault:
    """What goes wrong with some calls.

    Args:
        path: What their path holds.
        method: Theirs; any if empty.
        nth: Which of these calls, the first being 1; none means all.
        status: Answered without processing the request.
        headers: Of that answer, or added to the true one.
        body: Of that answer: a text, or what is JSON.
        body_kind: `html`, `truncated`, `empty`, `bomb` or `cut`: what becomes of the body; when
            cut, more is promised than comes.
        delay: Real seconds before anything is answered.
        drip: Real seconds between the single bytes of the body.
        reset: The connection is reset before the request is processed.
        drop_after_charge: The request is processed, and the connection reset.
    """

    path: str
    method: str = ""
    nth: tuple[int, ...] = ()
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    body_kind: str = ""
    delay: float = 0
    drip: float = 0
    reset: bool = False
    drop_after_charge: bool = False
    met: int = 0

    def befalls(self, method: str, path: str) -> bool:
        """Whether it is this call's turn; each that fits is counted."""
        if self.path not in path or self.method not in ("", method):
            return False
        self.met += 1
        return not self.nth or self.met in self.nth

    def instead(self) -> Reply | None:
        """What is answered without processing the request, if anything is."""
        if self.status is None:
            return None
        body = self.body if self.body is not None else (HTML if self.body_kind == "html" else {})
        return self.bent(reply(self.status, body, headers=self.headers))

    def bent(self, true: Reply) -> Reply:
        """`true`, with what the fault does to its body."""
        headers = {**true.headers, **self.headers}
        content, kind = true.content, true.kind
        if self.body_kind == "html":
            content, kind = (self.body or HTML).encode(), "text/html"
        elif self.body_kind == "truncated":
            content = content[: len(content) // 2]
        elif self.body_kind == "empty":
            content = b""
        elif self.body_kind == "bomb":
            content = gzip.compress(b" " * 5_000_000 + content)
            headers["content-encoding"] = "gzip"
        elif self.body_kind == "cut":
            headers["content-length"] = str(len(content) + 1)
        booked = {name: getattr(true, name) for name in ("charged", "refunded", "people")}
        return Reply(true.status, content, headers, kind, **booked)


class Faults:
    """The faults that are set; threads may ask."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def set(self, *faults: Fault) -> None:
        """These instead of those before."""
        with self._lock:
            self._faults = list(faults)

    def of(self, method: str, path: str) -> Fault | None:
        """The first that befalls this call."""
        with self._lock:
            befallen = [fault for fault in self._faults if fault.befalls(method, path)]
        return befallen[0] if befallen else None
