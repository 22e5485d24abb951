"""An installation of several processes: PostgreSQL, Redis, Celery workers, by the files in deploy.

Not here: what it is asked to do (`bench_workers`, and a short one in `defs/test_celery.py`).
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
from dagster._core.definitions.reconstruct import ReconstructableRepository

from aicmo_dagster.definitions import defs
from aicmo_dagster.defs.jobs import full_pipeline_job
from aicmo_dagster.settings import CODE_LOCATION, Settings
from aicmo_dagster_tests.bench.mailing import free_port, wait_for

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
START_SECONDS = 60


def redis_server() -> str | None:
    """Where Redis is, if it is installed: Debian's package is redis-server."""
    return shutil.which("redis-server", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@contextmanager
def running_redis(folder: Path) -> Iterator[str]:
    """A Redis of our own, which keeps nothing; tells its URL."""
    port = free_port()
    keeps_nothing = ["--save", "", "--appendonly", "no", "--dir", str(folder)]
    command = [redis_server() or "", "--port", str(port), "--bind", "127.0.0.1", *keeps_nothing]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_for(port)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait()


@dataclass
class Cluster:
    """Processes that share two databases and a broker.

    Args:
        folder: Where DAGSTER_HOME lies, and what the processes print.
        settings: Of all processes alike; they share the home, as containers share a volume.
        broker: The URL of Redis.
        dagster_url: The URL of Dagster's own database.
        processes: What was started, by name.
    """

    folder: Path
    settings: Settings
    broker: str
    dagster_url: str
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """The variables of every process."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("AICMO", "DAGSTER"))}
        return {
            **inherited,
            **self.settings.process_environment(),
            "AICMO_CELERY_URL": self.broker,
            "AICMO_DAGSTER_DATABASE_URL": self.dagster_url,
            "AICMO_DAGSTER_STATE": str(self.folder),
            "PYTHONPATH": os.pathsep.join([str(DEPLOY.parent), str(DEPLOY)]),
        }

    def start(self, name: str, *command: str) -> None:
        """`command`, a Python module and its arguments, runs as a process group of its own."""
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", *command],
                env=self.environment(),
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def configure(self) -> None:
        """DAGSTER_HOME holds deploy/celery.yaml."""
        self.settings.dagster_home.mkdir()
        shutil.copyfile(DEPLOY / "celery.yaml", self.settings.dagster_home / "dagster.yaml")

    def start_dagster(self) -> int:
        """Code server, web server, daemon and API, as in compose.yaml; tells the web server's port.

        All but the daemon answer then.
        """
        code, web, api = free_port(), free_port(), free_port()
        workspace = self.folder / "workspace.yaml"
        text = (DEPLOY / "workspace.yaml").read_text(encoding="utf-8")
        text = text.replace("host: code-server", "host: 127.0.0.1").replace("4000", str(code))
        workspace.write_text(text, encoding="utf-8")
        module = ("--module-name", "aicmo_dagster.definitions", "--location-name", CODE_LOCATION)
        address = ("--host", "127.0.0.1", "--port")
        self.start("code-server", "dagster", "api", "grpc", *address, str(code), *module)
        wait_for(code, START_SECONDS)
        self.start("web", "dagster_webserver", *address, str(web), "--workspace", str(workspace))
        self.start("daemon", "dagster._daemon", "run", "--workspace", str(workspace))
        self.start("api", "aicmo_dagster.cli.main", "api", "--port", str(api))
        for port in (web, api):
            wait_for(port, START_SECONDS)
        return web

    def start_worker(self, name: str, concurrency: int = 1) -> None:
        """A Celery worker of that name, as compose.celery.yaml starts it."""
        app = ("celery", "--app", "dagster_celery.app", "worker", "--queues", "dagster")
        self.start(name, *app, "--concurrency", str(concurrency), "--hostname", f"{name}@%h")

    def await_workers(self, launcher: object, count: int) -> None:
        """`count` workers answer."""
        deadline = time.monotonic() + START_SECONDS
        while len(launcher.celery.control.ping(timeout=0.5)) < count:  # type: ignore[attr-defined]
            assert time.monotonic() < deadline, "the workers have not started"

    def kill(self, name: str) -> None:
        """The process and its children end at once, as when their machine is lost."""
        os.killpg(self.processes[name].pid, signal.SIGKILL)
        self.processes.pop(name).wait()

    def stop(self) -> None:
        """Nothing of it runs any more."""
        for process in self.processes.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for name in list(self.processes):
            try:
                self.processes[name].wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.kill(name)


def launch(instance: dg.DagsterInstance, key: str, as_of: str) -> str:
    """A run of the campaign's five stages is at the broker; tells its id."""
    job = defs.resolve_job_def(full_pipeline_job.name)
    module = ReconstructableRepository.for_module("aicmo_dagster.definitions", "defs")
    run = instance.create_run_for_job(
        job,
        run_config={"resources": {"clock": {"config": {"as_of": as_of}}}},
        tags={"dagster/partition": key},
        job_code_origin=module.get_reconstructable_job(job.name).get_python_origin(),
    )
    instance.launch_run(run.run_id, None)  # type: ignore[arg-type]
    return run.run_id
