"""A campaign of any size, ready to be sent, and a server to send it to. Not here: what it costs."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from aicmo_dagster.settings import Dkim, Settings
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.campaigns import apply_campaign
from aicmo_dagster.store.database import Database, open_database
from aicmo_dagster.store.frames import replace_frame
from aicmo_dagster_tests.samples import NOON, campaign, raw_leads, routed_leads

KEY = "spring"
PARAGRAPH = "Some words that go on for a while, as they do in messages of this kind. "
BODY = (
    "Hi {{ first_name }},\n\nI saw that {{ company }} is growing in {{ city | default('town') }}."
    f"\n\n- one thing\n- another thing\n\n{PARAGRAPH * 8}\n\n"
    f"[Our guide](https://acme.example/guide) has more.\n\nBest,\n\n{{{{ sender.name }}}}\n"
)
SUBJECT = "{{ company }} and pipeline hygiene"


def open_at(home: Path, smtp_url: str | None = None, dkim: Dkim | None = None) -> Workspace:
    """The workspace in `home`, as every process of a benchmark opens it."""
    url = f"sqlite:///{home / 'aicmo.db'}"
    settings = Settings(
        home=home,
        database_url=url,
        dagster_home=home / "dagster",
        smtp_url=smtp_url,
        public_url="https://t.acme.example",
        configured_secret_key="a key for benchmarks",
        dkim=dkim,
    )
    return Workspace(settings, open_database(url))


def enrol(home: Path, leads: int, **changes: Any) -> None:
    """`leads` leads with names and companies are routed into a campaign of one step in `home`."""
    home.mkdir(exist_ok=True)
    workspace = open_at(home)
    enrol_in(workspace.database, home, leads, **changes)
    workspace.database.close()


def enrol_in(
    database: Database,
    folder: Path,
    leads: int,
    columns: Mapping[str, Any] = MappingProxyType({}),
    **changes: Any,
) -> None:
    """`leads` leads are routed into a campaign in `database`.

    Args:
        database: Where to.
        folder: The campaign document's.
        leads: How many.
        columns: More of the leads.
        changes: To the document.
    """
    step = {"id": "intro", "subject": SUBJECT, "body": BODY}
    document = campaign(KEY, **({"sequences": {"everyone": {"steps": [step]}}} | changes))
    numbers = pd.Series(range(1, leads + 1)).astype(str)
    named = {"first_name": "Ann", "company": "Company " + numbers, "city": "Bergen", **columns}
    with database.write() as connection:
        apply_campaign(connection, document, {}, folder, NOON)
        replace_frame(connection, "raw_leads", KEY, raw_leads(leads, **named))
        replace_frame(connection, "routed_leads", KEY, routed_leads(leads))


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def postfix_tool(name: str) -> str | None:
    """Where `smtp-sink` or `smtp-source` of Debian's postfix is, if it is installed."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@contextmanager
def sink() -> Iterator[int]:
    """A server that takes everything and keeps nothing, in a process of its own; tells its port."""
    port = free_port()
    tool = postfix_tool("smtp-sink")
    command = [sys.executable, "-m", "aicmo_dagster_tests.bench.sink", str(port)]
    if tool is not None:
        user = ["-u", "nobody"] if os.getuid() == 0 else []
        command = [tool, *user, f"127.0.0.1:{port}", "1000"]
    process = subprocess.Popen(command)
    try:
        wait_for(port)
        yield port
    finally:
        process.terminate()
        process.wait()


def wait_for(port: int, seconds: float = 20) -> None:
    """Something listens at `port`, within so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


SOON = NOON + timedelta(minutes=1)
