"""Dagster's web server as far as the API calls it: it launches into a storage, or fails at will.

It stands in for faults that a real one shows only when it dies at the right moment.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg


@dataclass
class StandIn:
    """What it does next: `faults` are taken from the front, and none is an honest launch.

    The connection breaks ``before`` anything is stored, ``between`` storing the run and starting
    it, or ``after`` that; ``error`` is an answer that nothing is started, and ``late error`` one
    that hides that something was.
    """

    instance: dg.DagsterInstance
    url: str = ""
    faults: list[str] = field(default_factory=list)
    delay: float = 0.0
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def runs(self) -> list[dg.DagsterRun]:
        return list(self.instance.get_runs())

    def end(self, run_id: str, *, well: bool = True) -> None:
        """The run has ended."""
        run = self.instance.get_run_by_id(run_id)
        assert run
        kinds = dg.DagsterEventType
        kind = kinds.RUN_SUCCESS if well else kinds.RUN_FAILURE
        event = dg.DagsterEvent(kind.value, run.job_name)
        self.instance.handle_run_event(run_id, event, datetime.now(UTC))

    def add(self, job: str, tags: dict[str, str], *, started: bool = True) -> str:
        """A run of the job is stored; gives its id."""
        states = dg.DagsterRunStatus
        status = states.STARTING if started else states.NOT_STARTED
        run = dg.DagsterRun(job_name=job, run_id=str(uuid4()), status=status, tags=tags)
        return self.instance.add_run(run).run_id

    def answer(self, variables: dict[str, Any]) -> dict[str, Any] | None:
        """The data of the answer; none if the connection breaks."""
        time.sleep(self.delay)
        with self._turn:
            fault = self.faults.pop(0) if self.faults else ""
            if fault == "error":
                return {"launchPipelineExecution": {"__typename": "PipelineNotFoundError"}}
            if fault == "before":
                return None
            run_id = self._store(variables["params"], started=fault != "between")
            if fault == "late error":
                return {"launchPipelineExecution": {"__typename": "PythonError"}}
            if fault:
                return None
        launched = {"__typename": "LaunchRunSuccess", "run": {"runId": run_id}}
        return {"launchPipelineExecution": launched}

    def _store(self, params: dict[str, Any], *, started: bool) -> str:
        tags = {tag["key"]: tag["value"] for tag in params["executionMetadata"]["tags"]}
        return self.add(params["selector"]["pipelineName"], tags, started=started)


@contextmanager
def dagster_stand_in(home: Path) -> Iterator[StandIn]:
    """It listens until the end; runs are stored as Dagster stores them in `home`."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        stand_in = StandIn(instance)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                data = stand_in.answer(body["variables"])
                if data is None:
                    self.close_connection = True
                    return
                content = json.dumps({"data": data}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                return

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        stand_in.url = f"http://127.0.0.1:{server.server_port}"
        yield stand_in
        server.shutdown()
        thread.join()
        server.server_close()
