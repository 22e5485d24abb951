"""A real IMAP server: dovecot, started here with one user whose mail is a Maildir."""

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from aicmo_dagster.errors import AicmoError, BadInput
from aicmo_dagster.mail.inbound.mailboxes import Arrived, open_mailbox
from aicmo_dagster_tests.mail.inbound.letters import letter

DOVECOT = shutil.which("dovecot") or next(
    (str(p) for p in [Path("/usr/sbin/dovecot")] if p.exists()), None
)

CONFIGURATION = """
protocols = imap
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
ssl = no
disable_plaintext_auth = no
mail_location = maildir:{folder}/Maildir
default_login_user = {login}
default_internal_user = {internal}
default_internal_group = {internal_group}
first_valid_uid = 0
service imap-login {{
  chroot =
  inet_listener imap {{
    address = 127.0.0.1
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
passdb {{
  driver = static
  args = password=s%%crt
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={folder}
}}
"""


@dataclass(frozen=True)
class Server:
    folder: Path
    port: int

    def url(self, password: str = "s%25crt", folder: str = "INBOX") -> str:
        return f"imap://ida:{password}@127.0.0.1:{self.port}/{folder}"

    def deliver(self, content: bytes, name: str) -> None:
        (self.folder / "Maildir" / "new" / name).write_bytes(content)


@pytest.fixture
def server() -> Iterator[Server]:
    if DOVECOT is None:
        pytest.skip("no dovecot on this machine")
    # Short, and open to the users that dovecot changes to when root starts it.
    folder = Path(tempfile.mkdtemp(prefix="aicmo-imap-"))
    folder.chmod(0o755)
    for name in ("new", "cur", "tmp"):
        (folder / "Maildir" / name).mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    text = CONFIGURATION.format(folder=folder, port=port, **_users(folder))
    (folder / "dovecot.conf").write_text(text, encoding="utf-8")
    command = [DOVECOT, "-F", "-c", str(folder / "dovecot.conf")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(port, folder, process)
        yield Server(folder, port)
    finally:
        process.terminate()
        process.wait(timeout=20)
        shutil.rmtree(folder, ignore_errors=True)


def _users(folder: Path) -> dict[str, str]:
    """Whom dovecot runs as: ourselves, but its own users for what it does not let root do."""
    user, group = getpass.getuser(), folder.group()
    own = {"user": user, "group": group, "login": user, "internal": user, "internal_group": group}
    if os.geteuid() == 0:
        own |= {"login": "dovenull", "internal": "dovecot", "internal_group": "dovecot"}
        own |= {"user": "nobody", "group": "nogroup"}
        for place in (folder, folder / "Maildir", *(folder / "Maildir").iterdir()):
            shutil.chown(place, "nobody", "nogroup")
    return own


def _wait(port: int, folder: Path, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    log = folder / "log"
    pytest.fail(log.read_text(encoding="utf-8") if log.exists() else "dovecot does not start")


def arrived(url: str, cursor: str | None = None, limit: int = 10) -> list[Arrived]:
    return list(open_mailbox(url).arrived(cursor, limit))


def test_mail_is_read_in_order_from_the_cursor_on_and_left_as_it_was(server: Server) -> None:
    letters = [letter(f"letter {number}") for number in range(5)]
    for number, content in enumerate(letters[:4]):
        server.deliver(content, f"{1000 + number}.a.host")

    first = arrived(server.url(), limit=3)
    rest = arrived(server.url(), first[-1].cursor)

    assert [each.content for each in first + rest] == letters[:4]
    assert arrived(server.url(), rest[-1].cursor) == []
    server.deliver(letters[4], "1009.a.host")
    assert [each.content for each in arrived(server.url(), rest[-1].cursor)] == [letters[4]]
    assert list((server.folder / "Maildir").rglob("*:2,*S*")) == []


def test_the_mark_changes_whenever_something_arrives(server: Server) -> None:
    mailbox = open_mailbox(server.url())
    before = mailbox.mark()

    assert mailbox.mark() == before
    server.deliver(letter(), "1000.a.host")
    assert mailbox.mark() != before


def test_a_mailbox_made_anew_is_read_from_its_beginning(server: Server) -> None:
    """Its UIDVALIDITY is another."""
    server.deliver(letter("x"), "1000.a.host")
    (only,) = arrived(server.url())
    validity, uid = only.cursor.strip("[]").split(", ")

    assert [each.content for each in arrived(server.url(), f"[{int(validity) - 1}, {uid}]")] == [
        letter("x")
    ]


def test_a_mailbox_that_cannot_be_read_says_so_without_its_password(server: Server) -> None:
    for url in (server.url(password="wr0ng-secret"), server.url(folder="Nowhere")):
        with pytest.raises(AicmoError, match="AICMO_INBOUND_URL") as raised:
            arrived(url)
        assert "s%crt" not in str(raised.value)
        assert "wr0ng-secret" not in str(raised.value)
    with pytest.raises(AicmoError, match="cannot be read"):
        arrived("imap://ida:x@127.0.0.1:1/INBOX")


@pytest.mark.parametrize(
    "url", ["", "maildir:", "pop3://a:b@c", "imap://host/INBOX", "imaps://", "imap://[::1"]
)
def test_what_names_no_mailbox_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(BadInput, match="AICMO_INBOUND_URL"):
        open_mailbox(url)


def test_the_name_of_a_mailbox_holds_no_password() -> None:
    assert "secret" not in open_mailbox("imaps://ida:secret@mail.example/INBOX").name
