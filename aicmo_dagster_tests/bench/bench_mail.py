"""Sending: claimed, rendered, built, sent and recorded, against the bare client of Postfix.

Where `smtp-source` is not installed, its rows are left out; so is django-post_office's where pip
cannot get it.
"""

import base64
import hashlib
import hmac
import shutil
import subprocess
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

import jinja2
import pandas as pd
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from aicmo_dagster.domain.schemas import typed
from aicmo_dagster.mail.delivery import open_transport
from aicmo_dagster.settings import Dkim
from aicmo_dagster.stages.nurturing.dispatch import Dispatch
from aicmo_dagster.stages.nurturing.fence import Fence
from aicmo_dagster.stages.nurturing.letters import Letters
from aicmo_dagster.stages.nurturing.nurture import nurture
from aicmo_dagster.store import agenda, ledger
from aicmo_dagster.store.leads import read_leads
from aicmo_dagster.store.rehearsals import record_rehearsal
from aicmo_dagster_tests.bench.mailing import (
    KEY,
    PARAGRAPH,
    enrol,
    open_at,
    postfix_tool,
    sink,
)
from aicmo_dagster_tests.bench.measure import Measured, cost
from aicmo_dagster_tests.samples import NOON, lead_id, raw_leads

MAILS = 4000
CONNECTIONS = 16
ROUNDS = 2
SECRET = b"a key for benchmarks"


def run(scratch: Path) -> Iterator[Measured]:
    """Throughput and CPU over the sink, assembling alone, and a tick by what is enrolled."""
    for part in PARTS.values():
        yield from part(scratch)


@dataclass(frozen=True)
class Sending:
    """What sending MAILS messages cost: a second's worth of them, and CPU microseconds each."""

    rate: float
    cpu: float


def _sent(scratch: Path) -> Iterator[Measured]:
    with sink() as port:
        yield from _throughput(scratch, port)


def _compared(scratch: Path) -> Iterator[Measured]:
    with sink() as port:
        yield from _against_post_office(scratch, port)


def _throughput(scratch: Path, port: int) -> Iterator[Measured]:
    key = scratch / "dkim.pem"
    made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    key.write_bytes(made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    signing = Dkim("acme.example", "spring", key)
    plain, signed, bare = [], [], []
    for number in range(ROUNDS):
        bare.append(_source(port))
        plain.append(cost(_send, scratch / f"plain-{number}", port, None).value)
        signed.append(cost(_send, scratch / f"signed-{number}", port, signing).value)
    limit = max(bare, default=0) or None
    size = f"{MAILS:,} mails"
    for name, sendings, bound in (("unsigned", plain, 0.35), ("DKIM, RSA-2048", signed, 0.10)):
        best = max(each.rate for each in sendings)
        bounds = {"bound": bound, "at_least": True} if limit else {}
        yield Measured(f"sent, {name}", size, best, "mails/s", limit, "smtp-source -d", **bounds)  # type: ignore[arg-type]
        yield Measured(f"CPU, {name}", size, min(each.cpu for each in sendings), "µs/mail")


def _source(port: int) -> float:
    """Messages a second of a client in C that makes and records nothing; 0 if there is none."""
    tool = postfix_tool("smtp-source")
    if tool is None:
        return 0.0
    options = ["-d", "-s", str(CONNECTIONS), "-m", str(MAILS), "-l", "4200"]
    ends = ["-f", "ida@acme.example", "-t", "lead@company.example", f"127.0.0.1:{port}"]
    begun = time.perf_counter()
    subprocess.run([tool, *options, *ends], check=True)
    return MAILS / (time.perf_counter() - begun)


def _send(home: Path, port: int, dkim: Dkim | None) -> Sending:
    """All of a campaign is sent whose sends are planned; only claiming to recording is measured."""
    enrol(home, MAILS)
    url = f"smtp://127.0.0.1:{port}?connections={CONNECTIONS}&messages=100000"
    workspace = open_at(home, url, dkim)
    stored, fence = workspace.campaign(KEY), Fence(workspace)
    fence.check(NOON)
    _plan(home, MAILS, due=MAILS)
    transport = open_transport(url, home / "outbox")
    dispatch = Dispatch(workspace, stored, transport, fence, lambda: NOON)
    wall, cpu = time.perf_counter(), time.process_time()
    dispatch.send()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    transport.close()
    workspace.database.close()
    if dispatch.tally["accepted"] != MAILS:
        raise RuntimeError(f"{dict(dispatch.tally)} of {MAILS} mails")
    return Sending(MAILS / wall, cpu / MAILS * 1e6)


def _plan(home: Path, leads: int, *, due: int) -> None:
    """Every lead's first step is in the ledger, of `due` of them due now and of the rest later."""
    raw = raw_leads(leads)
    later = pd.Timestamp(NOON + timedelta(days=3))
    when = pd.Series([pd.Timestamp(NOON)] * due + [later] * (leads - due))
    columns = {
        "lead_id": raw["lead_id"],
        "sequence": "everyone",
        "step": "intro",
        "campaign_version": 1,
        "message_id": "<" + raw["lead_id"] + "@acme.example>",
        "recipient_domain": raw["domain"],
        "state": "planned",
        "due_at": when,
    }
    frame = pd.DataFrame(columns)
    sends = typed("nurture_sends", {name: frame[name] for name in frame})
    workspace = open_at(home)
    with workspace.database.write() as connection:
        ledger.plan_sends(connection, KEY, sends, sender="ida@acme.example")
        agenda.enter(connection, KEY, NOON)
        looked_at = sends[["lead_id"]].assign(state="enrolled", look_at=None)
        agenda.record_plan(connection, KEY, sends.iloc[:0], looked_at, NOON)
    with workspace.database.write() as connection:
        connection.exec_driver_sql("ANALYZE")
    workspace.database.close()


def _against_post_office(scratch: Path, port: int) -> Iterator[Measured]:
    theirs = _post_office(scratch, port)
    ours = min(cost(_send, scratch / f"ours-{n}", port, None).value.cpu for n in range(ROUNDS))
    size = f"{MAILS:,} mails"
    if theirs is None:
        print("mail: django-post_office cannot be installed here, so nothing is compared with it")
        yield Measured("CPU, ledger included", size, ours, "µs/mail")
    else:
        named = "django-post_office"
        yield Measured("CPU, ledger included", size, ours, "µs/mail", theirs, named, bound=0.15)


def _post_office(scratch: Path, port: int) -> float | None:
    """CPU microseconds a message of django-post_office, in an environment of its own."""
    home = scratch / "post_office"
    venv.create(home, with_pip=True)
    pip = [str(home / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    if subprocess.run([*pip, "django-post_office"], check=False, capture_output=True).returncode:
        return None
    script = shutil.copy(Path(__file__).with_name("sending_by_django.py"), home / "send.py")
    command = [str(home / "bin" / "python"), script, str(home), str(port), str(MAILS // 4)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(told.split()[-1])


def _assembling(_scratch: Path) -> Iterator[Measured]:
    """One message rendered and built: ours, and the least that does the same by hand."""
    ours, floor = [], []
    for _ in range(3):
        ours.append(cost(_assemble).value)
        floor.append(cost(_assemble_by_hand).value)
    yield Measured("assembled", "one mail", min(ours), "µs", min(floor), "by hand", bound=3)


def _assemble() -> float:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        enrol(home, 1)
        _plan(home, 1, due=1)
        workspace = open_at(home)
        stored = workspace.campaign(KEY)
        with workspace.database.read() as connection:
            lead = read_leads(connection, KEY, [lead_id(1)])[lead_id(1)]
        at = ("everyone", "intro", None, 1, "<0123456789@acme.example>", "lead1@company1.example")
        send = ledger.Send(lead_id(1), *at, "company1.example", 0)
        letters = Letters(workspace, stored)
        each = _least_of(partial(letters.write, send, lead, [], NOON))
        workspace.database.close()
        return each


def _assemble_by_hand() -> float:
    """Two compiled templates, an HMAC a link, base64 parts, headers in one string."""
    jinja = jinja2.Environment(autoescape=True)
    words = PARAGRAPH * 8
    footer = "---\n\nIda Berg, Kai 7, 5003 Bergen\n\nUnsubscribe ({{ url }})\n"
    text = jinja.from_string(
        "Hi {{ first_name }},\n\nI saw that {{ company }} is growing in {{ city }}.\n\n"
        f"  * one thing\n  * another thing\n\n{words}\n\n"
        f"Our guide ({{{{ click }}}})\n\nBest,\n\nIda Berg\n\n{footer}"
    )
    html = jinja.from_string(
        "<!DOCTYPE html><html><body><p>Hi {{ first_name }},</p><p>I saw that {{ company }} is "
        f"growing in {{{{ city }}}}.</p><ul><li>one thing</li><li>another thing</li></ul>{words}"
        '<p><a href="{{ click }}">Our guide</a></p><p>Best,</p><p>Ida Berg</p>'
        '<p><a href="{{ url }}">Unsubscribe</a></p><img src="{{ pixel }}"></body></html>'
    )
    subject = jinja.from_string("{{ company }} and pipeline hygiene")
    values = {"first_name": "Ann", "company": "Company 1", "city": "Bergen"}

    def write() -> bytes:
        token, click, pixel = (
            hmac.new(SECRET, named, hashlib.sha256).hexdigest()[:32]
            for named in (b"spring/lead", b"spring/lead/intro/guide", b"spring/lead/intro")
        )
        base = "https://t.acme.example"
        url = f"{base}/u/{token}"
        given = values | {
            "url": url,
            "click": f"{base}/t/c/{click}",
            "pixel": f"{base}/t/o/{pixel}",
        }
        parts = (
            base64.encodebytes(part.render(given).encode()).replace(b"\n", b"\r\n")
            for part in (text, html)
        )
        head = (
            f"From: Ida Berg <ida@acme.example>\r\nTo: Ann <lead1@company1.example>\r\n"
            f"Subject: {subject.render(given)}\r\nDate: Wed, 04 Mar 2026 12:00:00 +0000\r\n"
            f"Message-ID: <{token}@acme.example>\r\nList-Unsubscribe: <{url}>\r\n"
            "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nMIME-Version: 1.0\r\n"
            'Content-Type: multipart/alternative; boundary="x"\r\n'
        ).encode()
        kind = b"\r\n--x\r\nContent-Type: text/%s\r\nContent-Transfer-Encoding: base64\r\n\r\n%s"
        plain, marked = parts
        return head + kind % (b"plain", plain) + kind % (b"html", marked) + b"\r\n--x--\r\n"

    return _least_of(write)


def _least_of(write: Callable[[], bytes], times: int = 3000) -> float:
    """CPU microseconds of one call, the least of five rounds."""
    rounds = []
    for _ in range(5):
        begun = time.process_time()
        for _ in range(times):
            write()
        rounds.append((time.process_time() - begun) / times * 1e6)
    return min(rounds)


def _ticks(scratch: Path) -> Iterator[Measured]:
    """A whole run of nurture with 100 due, whatever the number of those that wait."""
    few, many = (
        min(cost(_tick, scratch / f"{name}-{n}", enrolled).value for n in range(ROUNDS))
        for name, enrolled in (("few", 1_000), ("many", 1_000_000))
    )
    yield Measured(
        "tick, 100 due of 1,000,000", "SQLite", many, "CPU s", few, "100 of 1,000", bound=3
    )


def _tick(home: Path, enrolled: int) -> float:
    """CPU seconds of one tick of a campaign whose version has been rehearsed, as it is but once."""
    enrol(home, enrolled)
    _plan(home, enrolled, due=100)
    workspace = open_at(home)
    with workspace.database.write() as connection:
        record_rehearsal(connection, KEY, 1, [], enrolled, NOON)
    begun = time.process_time()
    report = nurture(workspace, KEY, lambda: NOON)
    spent = time.process_time() - begun
    workspace.database.close()
    if report.figures["now_accepted"] != 100:
        raise RuntimeError(f"{report.figures}")
    return spent


PARTS: dict[str, Callable[[Path], Iterator[Measured]]] = {
    "sent": _sent,
    "compared": _compared,
    "assembled": _assembling,
    "ticks": _ticks,
}
"""What can be run by itself, in the order of the whole."""
