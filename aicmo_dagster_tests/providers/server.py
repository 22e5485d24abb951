"""One loopback server that plays Apollo under /apollo and Dropcontact under /dropcontact.

What it does wrong is set by `faults` and `modes`, here or by `PUT /__ctl/faults`; what it charged
stands in `ledger`, here or by `GET /__ctl/ledger`.
"""

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from aicmo_dagster_tests.providers import windows
from aicmo_dagster_tests.providers.accounts import Accounts
from aicmo_dagster_tests.providers.apollo import ApolloModes, ApolloStandIn
from aicmo_dagster_tests.providers.clock import FastClock, VirtualClock
from aicmo_dagster_tests.providers.dropcontact import DropcontactModes, DropcontactStandIn
from aicmo_dagster_tests.providers.ledger import Entry, Ledger
from aicmo_dagster_tests.providers.market import SPECIALS, Person, market
from aicmo_dagster_tests.providers.wire import Fault, Faults, Reply, Request, reply

_BEFORE = 0.75
"""How much of its delay a request waits before it is looked at; that it is takes from the rest."""

_RESET = struct.pack("ii", 1, 0)  # a socket that is closed so resets its connection


class StandIn:
    """Both providers; `running` gives it an address.

    Args:
        people: How many there are in the market.
        credits: On the good account, at each provider.
        apollo: Its modes, which may be changed while it runs.
        dropcontact: Its modes, likewise.
        clock: The time, for rate limits; None for the real one.
        delay: Real seconds that each answer takes, our own work on it included.
        specials: Whether the awkward people are among them.
    """

    def __init__(
        self,
        people: int = 60,
        credits: float = 10_000,
        *,
        apollo: ApolloModes | None = None,
        dropcontact: DropcontactModes | None = None,
        clock: VirtualClock | FastClock | None = None,
        delay: float = 0,
        specials: bool = True,
    ) -> None:
        first = 0 if specials else SPECIALS + 1
        self.people: list[Person] = market(first + people)[first:]
        self.now = clock.now if clock else time.time
        self.delay = delay
        self.ledger = Ledger()
        self.faults = Faults()
        self.witness: Callable[[str], None] = lambda moment: None
        self.connections = 0
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self.requests: list[Request] = []
        self.url = ""
        self.apollo = ApolloStandIn(
            self.people, Accounts(credits), apollo or ApolloModes(), self.now
        )
        self.dropcontact = DropcontactStandIn(
            self.people, Accounts(credits), dropcontact or DropcontactModes()
        )

    @contextmanager
    def running(self) -> Iterator["StandIn"]:
        """It listens on a port of its own, until the end of the block."""
        server = _Server(("127.0.0.1", 0), _Handler)
        server.stand_in = self
        self.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.close_connections()
            server.server_close()
            thread.join()

    @contextmanager
    def counted(self) -> Iterator[None]:
        """One more request is being answered."""
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            yield
        finally:
            with self._lock:
                self._at_once -= 1

    def answer(self, request: Request, fault: Fault | None) -> Reply:
        """What is answered, as it stands in the books."""
        _, provider, *rest = request.path.split("/")
        if provider == "__ctl":
            return self._controlled(request)
        players: dict[str, ApolloStandIn | DropcontactStandIn] = {
            "apollo": self.apollo,
            "dropcontact": self.dropcontact,
        }
        if provider not in players:
            self.requests.append(request)
            return reply(404, {"detail": "Not Found"})
        inner = Request(request.method, "/" + "/".join(rest), request.headers, request.values)
        given = (fault.instead() if fault else None) or players[provider].handle(inner)
        given = fault.bent(given) if fault and fault.status is None else given
        with self._lock:  # the two stay in one order
            self.requests.append(request)
            self._book(provider, inner, given)
        return given

    def _book(self, provider: str, request: Request, given: Reply) -> None:
        headers = request.headers
        self.ledger.add(
            Entry(
                provider=provider,
                key=headers.get("x-api-key") or headers.get("x-access-token") or "",
                method=request.method,
                path=request.path,
                status=given.status,
                charged=given.charged,
                refunded=given.refunded,
                people=given.people,
                at=self.now(),
            )
        )

    def _controlled(self, request: Request) -> Reply:
        if request.path == "/__ctl/faults" and request.method == "PUT":
            self.faults.set(*(_fault(entry) for entry in request.values["faults"]))
            return reply(200, {})
        if request.path == "/__ctl/ledger":
            return reply(200, {"entries": self.ledger.as_json()})
        return reply(404, {})


def _fault(entry: dict[str, Any]) -> Fault:
    return Fault(**{**entry, "nth": tuple(entry.get("nth", ()))})


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    stand_in: StandIn

    def __init__(self, *given: Any) -> None:
        self._sockets: set[socket.socket] = set()
        super().__init__(*given)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.stand_in.connections += 1
        self._sockets.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._sockets.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """Kept connections end, and so do their threads."""
        for kept in list(self._sockets):
            try:
                kept.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is part of the game."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def do_PUT(self) -> None:
        self._handle()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed."""

    def _handle(self) -> None:
        begun, stand_in = time.perf_counter(), self.server.stand_in
        length = int(self.headers.get("content-length") or 0)
        request = self._read(self.rfile.read(length))
        fault = None
        if not request.path.startswith("/__ctl"):
            fault = stand_in.faults.of(request.method, request.path)
        with stand_in.counted():
            delay = (fault.delay if fault else 0) or stand_in.delay
            time.sleep(_BEFORE * delay)
            if fault and fault.reset:
                stand_in.requests.append(request)
                self._reset()
                return
            stand_in.witness("arrived")
            given = stand_in.answer(request, fault)
            stand_in.witness("processed")
            time.sleep(max(0.0, begun + delay - time.perf_counter()))
        if fault and fault.drop_after_charge:
            self._reset()
            return
        self._send(given, fault.drip if fault else 0)

    def _read(self, content: bytes) -> Request:
        parts = urlsplit(self.path)
        query = {
            name.removesuffix("[]"): values if name.endswith("[]") else values[0]
            for name, values in parse_qs(parts.query).items()
        }
        body = json.loads(content) if content else {}
        values = body if isinstance(body, dict) else {}
        headers = {name.lower(): value for name, value in self.headers.items()}
        return Request(self.command, parts.path, headers, {**query, **values})

    def _send(self, given: Reply, drip: float) -> None:
        self.send_response_only(given.status)
        dated = {"date": windows.http_date(self.server.stand_in.now())}
        usual = {**dated, "content-type": given.kind, "content-length": str(len(given.content))}
        headers = {**usual, **given.headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.close_connection |= headers["content-length"] != usual["content-length"]
        pieces = [given.content] if not drip else [bytes([byte]) for byte in given.content]
        for piece in pieces:
            self.wfile.write(piece)
            time.sleep(drip)

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.close_connection = True
        self.connection.close()
