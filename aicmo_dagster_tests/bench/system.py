"""The whole system as a deployment runs it: code server, daemons, web server, API, each a process.

Each can be killed and started again. Not here: what is tried with it.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import psutil
from ruamel.yaml import YAML

from aicmo_dagster.cli.dev import DAEMON
from aicmo_dagster.settings import CODE_LOCATION
from aicmo_dagster_tests.bench.mailing import free_port

REPOSITORY = Path(__file__).parents[2]
CODE, API = "code", "api"
RUN_MARK = "multiprocessing.spawn"
"""What shows in the command of a run's process, which the code server spawns."""


@dataclass(frozen=True)
class Stores:
    """Databases on one server of PostgreSQL.

    Args:
        ours: The URL of AICMO's.
        dagsters: The URL of Dagster's.
        server: The number of the server's process, whose work is the system's.
    """

    ours: str
    dagsters: str
    server: int


class System:
    """Processes over one home.

    Args:
        home: AICMO_HOME.
        module: What the code server loads.
        stores: The databases; SQLite files in the home without them.
        variables: Of the environment, beside where the system's parts are.
        changes: Sections of dagster.yaml that are to be otherwise.
    """

    def __init__(
        self,
        home: Path,
        module: str = "aicmo_dagster.definitions",
        stores: Stores | None = None,
        variables: Mapping[str, str] | None = None,
        **changes: object,
    ) -> None:
        self.home = home
        self._server = stores and psutil.Process(stores.server)
        self._module = module
        self._port = free_port()
        self._web_port = free_port()
        self._api_port = free_port()
        self.api_url = f"http://127.0.0.1:{self._api_port}"
        self.processes: dict[str, psutil.Popen] = {}
        self._ended = 0.0
        (home / "dagster").mkdir(parents=True, exist_ok=True)
        self._workspace = home / "dagster" / "workspace.yaml"
        self._environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("AICMO", "DAGSTER"))},
            **{"AICMO_HOME": str(home), "DAGSTER_HOME": str(home / "dagster")},
            **({"AICMO_DATABASE_URL": stores.ours} if stores else {}),
            "AICMO_DAGSTER_URL": f"http://127.0.0.1:{self._web_port}",
            "PYTHONPATH": str(REPOSITORY),  # `module` may be of the tests, which are not installed
            **DAEMON,
            **(variables or {}),
        }
        if stores:
            changes["storage"] = _storage(stores.dagsters)
        self._configure(changes)
        with self.instance():  # made by one, as several that do so at once spoil it
            pass

    def start(self, name: str) -> None:
        """The process `name` runs: `code`, `web`, `api` or any name of a daemon."""
        if name == CODE:
            loaded = ("-m", self._module, "--location-name", CODE_LOCATION)
            address = ("-h", "127.0.0.1", "-p", str(self._port))
            self._run(name, "dagster", "api", "grpc", *address, *loaded)
        elif name == "web":
            address = ("-h", "127.0.0.1", "-p", str(self._web_port))
            self._run(name, "dagster_webserver", *address, "-w", str(self._workspace))
        elif name == API:
            self._run(name, "aicmo_dagster.cli.main", "api", "--port", str(self._api_port))
        else:
            self._run(name, "dagster._daemon", "run", "-w", str(self._workspace))

    def wait_for_code(self) -> None:
        """The code server answers."""
        wait_until(lambda: _listens(self._port), 90, "the code server")

    def kill(self, name: str) -> None:
        """The process `name`, and all that it started, ends at once."""
        process = self.processes.pop(name)
        self._ended += _cpu(process)
        started = process.children(recursive=True)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for each in started:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()

    def run_workers(self) -> list[psutil.Process]:
        """The processes of runs."""
        code = self.processes.get(CODE)
        children = code.children(recursive=True) if code else []
        return [each for each in children if _is_run(each)]

    def cpu(self) -> float:
        """CPU seconds that the system has taken so far."""
        server = _cpu(self._server) if self._server else 0.0
        return self._ended + server + sum(_cpu(process) for process in self.processes.values())

    def instance(self) -> dg.DagsterInstance:
        """The instance that the system works on."""
        return dg.DagsterInstance.from_config(str(self.home / "dagster"))

    def stop(self) -> None:
        """Everything has ended."""
        for name in [*self.processes]:
            self.kill(name)

    def _run(self, name: str, module: str, *arguments: str) -> None:
        with (self.home / f"{name}.log").open("ab") as log:
            self.processes[name] = psutil.Popen(
                [sys.executable, "-m", module, *arguments],
                env=self._environment,
                cwd=self.home,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _configure(self, changes: dict[str, object]) -> None:
        yaml = YAML(typ="safe")
        yaml.default_flow_style = False  # as Dagster's own reader takes a URL with a `?`
        ours = REPOSITORY / "dagster.yaml"
        configuration = yaml.load(ours.read_text(encoding="utf-8")) | changes
        with (self.home / "dagster" / "dagster.yaml").open("w", encoding="utf-8") as file:
            yaml.dump(configuration, file)
        server = {"host": "127.0.0.1", "port": self._port, "location_name": CODE_LOCATION}
        with self._workspace.open("w", encoding="utf-8") as file:
            yaml.dump({"load_from": [{"grpc_server": server}]}, file)


def wait_until(true: Callable[[], object], seconds: float, what: str) -> None:
    """Returns once it is true; raises after that many seconds."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not come within {seconds} s")
        time.sleep(0.2)


def _storage(url: str) -> dict[str, object]:
    """Dagster's as it is deployed, but in that database."""
    file = REPOSITORY / "deploy" / "dagster.yaml"
    storage = YAML(typ="safe").load(file.read_text(encoding="utf-8"))["storage"]
    storage["custom"]["config"]["postgres_url"] = url
    return storage


def _listens(port: int) -> bool:
    return any(c.laddr.port == port and c.status == "LISTEN" for c in psutil.net_connections("tcp"))


def _is_run(process: psutil.Process) -> bool:
    try:
        return any(RUN_MARK in part for part in process.cmdline())
    except psutil.Error:
        return False


def _cpu(process: psutil.Process) -> float:
    """Of the process, of those it started, and of those of them that have ended."""
    total = 0.0
    for each in [process, *process.children(recursive=True)]:
        try:
            total += sum(each.cpu_times()[:4])  # user, system, and those of children reaped
        except psutil.Error:
            continue
    return total
