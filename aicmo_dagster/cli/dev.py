"""`aicmo dev`: Dagster's code server, web server and daemon, and the API; stopped together."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import click
from ruamel.yaml import YAML

from aicmo_dagster.api.runs import Runs
from aicmo_dagster.api.service import BASE
from aicmo_dagster.errors import AicmoError
from aicmo_dagster.settings import CODE_LOCATION, Settings, load_settings
from aicmo_dagster.stages.workspace import open_workspace

LOCALHOST = "127.0.0.1"
EVERYWHERE = ("0.0.0.0", "::", "")
STOP_SECONDS = 20

DAEMON = {"DAGSTER_EVENT_LOG_CONSUMER_DAEMON_INTERVAL_SECONDS": "20"}
"""How soon the daemon starts a run again that lost its process. Dagster by itself looks every 5
seconds: that costs half as much as looking for what is queued, and no loss is noticed sooner."""

Process = subprocess.Popen[bytes]


@click.command()
@click.option("--host", default=LOCALHOST, show_default=True, help="Where both listen.")
@click.option("--port", default=3000, show_default=True, help="Where the web UI listens.")
@click.option("--api-port", default=8000, show_default=True, help="Where the API listens.")
def dev(host: str, port: int, api_port: int) -> None:
    """Run Dagster's web UI and daemon, and the API; state is kept in AICMO_HOME.

    Ctrl-C stops all of them.
    """
    reached = LOCALHOST if host in EVERYWHERE else host
    settings = replace(load_settings(), dagster_url=f"http://{reached}:{port}")
    with open_workspace(settings), closing(Runs(settings)) as runs:
        runs.open()  # before the processes do, all at once
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    processes: list[Process] = []
    try:
        workspace = _start_code_server(settings, processes)
        for module, *arguments in (
            ("dagster_webserver", "-h", host, "-p", str(port), "-w", str(workspace)),
            ("dagster._daemon", "run", "-w", str(workspace)),
            ("aicmo_dagster.cli.main", "api", "--host", host, "--port", str(api_port)),
        ):
            processes.append(_start(settings, module, *arguments))
        for one in (port, api_port):
            _wait_until_listening(reached, one, processes)
        _tell(settings, f"http://{reached}:{api_port}")
        _wait(processes)
    except KeyboardInterrupt:
        click.echo("stopping")
    finally:
        _stop(processes)


def _tell(settings: Settings, api: str) -> None:
    """What runs where."""
    for name, where in (
        ("Web UI", settings.dagster_url),
        ("REST API", f"{api}{BASE}"),
        ("its description", f"{api}/openapi.json"),
        ("metrics", f"{api}/metrics"),
        ("is it alive", f"{api}/health/live"),
        ("state", settings.home),
        ("a token", "aicmo token create --role admin"),
        ("to stop", "Ctrl-C"),
    ):
        click.echo(f"{name:<16}{where}")


def _start_code_server(settings: Settings, processes: list[Process]) -> Path:
    """Starts the process that loads the definitions and hosts runs.

    Web server and daemon share it: on their own each would load the definitions again and again.
    No `dagster code-server` stands before it, which could take up changed code while runs go on:
    asking for whether it is there, and passing all on, took a quarter of what an idle system takes.

    Returns:
        The workspace file that points at it.
    """
    with socket.socket() as probe:
        probe.bind((LOCALHOST, 0))
        port = probe.getsockname()[1]
    module = ("-m", "aicmo_dagster.definitions", "--location-name", CODE_LOCATION)
    address = ("-h", LOCALHOST, "-p", str(port))
    processes.append(_start(settings, "dagster", "api", "grpc", *address, *module))
    server = {"host": LOCALHOST, "port": port, "location_name": CODE_LOCATION}
    workspace = settings.dagster_home / "workspace.yaml"
    with workspace.open("w", encoding="utf-8") as file:
        YAML().dump({"load_from": [{"grpc_server": server}]}, file)
    _wait_until_listening(LOCALHOST, port, processes)
    return workspace


def _wait_until_listening(host: str, port: int, processes: list[Process]) -> None:
    """Something listens there.

    Raises:
        AicmoError: If one of the processes has ended meanwhile.
    """
    while True:
        _fail_if_ended(processes)
        with suppress(OSError), socket.create_connection((host, port), timeout=1):
            return
        time.sleep(0.1)


def _start(settings: Settings, module: str, *arguments: str) -> Process:
    """A Python module as a process group of its own, so that Ctrl-C reaches it through us only."""
    command = [sys.executable, "-m", module, *arguments]
    environment = {**DAEMON, **os.environ, **settings.process_environment()}
    return subprocess.Popen(command, env=environment, start_new_session=True)


def _wait(processes: list[Process]) -> None:
    """Returns never; fails when one of the processes ends by itself."""
    while True:
        _fail_if_ended(processes)
        time.sleep(0.5)


def _fail_if_ended(processes: list[Process]) -> None:
    for process in processes:
        if process.poll() is not None:
            raise AicmoError(f"a part ended with code {process.returncode}; its output is above")


def _stop(processes: list[Process]) -> None:
    """Asks every process group to end, the last started first, and ends what has not by then."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # a second one would leave processes behind
    for process in reversed(processes):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
    deadline = time.monotonic() + STOP_SECONDS
    for process in processes:
        try:
            process.wait(timeout=max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
