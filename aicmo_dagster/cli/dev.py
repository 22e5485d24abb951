"""`aicmo dev`: Dagster's code server, web server and daemon together, stopped together."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import click
from ruamel.yaml import YAML

from aicmo_dagster.errors import AicmoError
from aicmo_dagster.settings import CODE_LOCATION, Settings, load_settings
from aicmo_dagster.stages.dagster_home import prepare_dagster_home
from aicmo_dagster.stages.workspace import open_workspace

LOCALHOST = "127.0.0.1"
STOP_SECONDS = 20

Process = subprocess.Popen[bytes]


@click.command()
@click.option("--host", default=LOCALHOST, show_default=True, help="Where the web UI listens.")
@click.option("--port", default=3000, show_default=True, help="Where the web UI listens.")
def dev(host: str, port: int) -> None:
    """Run the Dagster web UI and daemon; state is kept in AICMO_HOME; Ctrl-C stops both."""
    settings = load_settings()
    prepare_dagster_home(settings)
    with open_workspace(settings):
        pass
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    processes: list[Process] = []
    try:
        workspace = _start_code_server(settings, processes)
        for module, *arguments in (
            ("dagster_webserver", "-h", host, "-p", str(port)),
            ("dagster._daemon", "run"),
        ):
            processes.append(_start(settings, module, *arguments, "-w", str(workspace)))
        click.echo(f"Web UI: http://{host}:{port}    state: {settings.home}    Ctrl-C stops")
        _wait(processes)
    except KeyboardInterrupt:
        click.echo("stopping")
    finally:
        _stop(processes)


def _start_code_server(settings: Settings, processes: list[Process]) -> Path:
    """Starts the process that loads the definitions and hosts runs.

    Web server and daemon share it: on their own each would load the definitions again and again,
    and a reload would end the runs.

    Returns:
        The workspace file that points at it.
    """
    with socket.socket() as probe:
        probe.bind((LOCALHOST, 0))
        port = probe.getsockname()[1]
    module = ("-m", "aicmo_dagster.definitions", "--location-name", CODE_LOCATION)
    address = ("-h", LOCALHOST, "-p", str(port))
    processes.append(_start(settings, "dagster", "code-server", "start", *address, *module))
    server = {"host": LOCALHOST, "port": port, "location_name": CODE_LOCATION}
    workspace = settings.dagster_home / "workspace.yaml"
    with workspace.open("w", encoding="utf-8") as file:
        YAML().dump({"load_from": [{"grpc_server": server}]}, file)
    while not _listens(port):
        _fail_if_ended(processes)
        time.sleep(0.1)
    return workspace


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((LOCALHOST, port)) == 0


def _start(settings: Settings, module: str, *arguments: str) -> Process:
    """A Python module as a process group of its own, so that Ctrl-C reaches it through us only."""
    command = [sys.executable, "-m", module, *arguments]
    environment = {**os.environ, **settings.process_environment()}
    return subprocess.Popen(command, env=environment, start_new_session=True)


def _wait(processes: list[Process]) -> None:
    """Returns never; fails when one of the processes ends by itself."""
    while True:
        _fail_if_ended(processes)
        time.sleep(0.5)


def _fail_if_ended(processes: list[Process]) -> None:
    for process in processes:
        if process.poll() is not None:
            raise AicmoError(
                f"a part of Dagster ended with code {process.returncode}; its output is above"
            )


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
