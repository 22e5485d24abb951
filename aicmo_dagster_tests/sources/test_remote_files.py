"""Sources at URLs: of a store in memory, and of a real server on loopback."""

import socket
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from aicmo_dagster.domain.sections.sources import CsvSource
from aicmo_dagster.errors import BadInput, Transient
from aicmo_dagster.sources.csv_files import read_csv_source
from aicmo_dagster.sources.remote_files import (
    fetched,
    matching,
    protocol_problem,
    put,
)


@pytest.fixture
def store() -> Iterator[fsspec.AbstractFileSystem]:
    """A store in memory, which is empty at the end."""
    files = fsspec.filesystem("memory")
    yield files
    files.store.clear()
    files.pseudo_dirs[:] = [""]


class _Hosted(MemoryFileSystem):
    """A store in memory that is reached as FTP and SFTP are: its names hold no host."""

    protocol = "hosted"

    def __init__(self, host: str, **options: Any) -> None:
        assert host == "there.example"
        super().__init__(host=host, **options)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        name: str = super()._strip_protocol(urlsplit(path).path if "://" in path else path)
        return name

    @staticmethod
    def _get_kwargs_from_urls(path: str) -> dict[str, Any]:
        return {"host": urlsplit(path).hostname}


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing is printed."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The URL of a server that serves `tmp_path`."""
    serving = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=serving.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{serving.server_port}"
    serving.shutdown()
    serving.server_close()
    thread.join()


def read(path: str) -> list[tuple[str, str]]:
    """File and address of each record."""
    document = {"type": "csv", "path": path, "columns": {"email": "Email"}}
    parts = read_csv_source(CsvSource.model_validate(document), "csv-1", Path("/nowhere"))
    return [
        pair
        for part in parts
        for pair in zip(part.rows["file"], part.rows.get("email", ()), strict=False)
    ]


def test_the_files_that_a_url_names_are_read_in_order(store: fsspec.AbstractFileSystem) -> None:
    store.pipe({"/leads/b.csv": b"Email\nb@c.example\n", "/leads/a.csv": b"Email\na@c.example\n"})
    store.pipe({"/leads/c.txt": b"nothing of ours", "/leads/below/d.csv": b"Email\n"})

    found = read("memory://leads/*.csv")

    assert [(url.rpartition("/")[2], email) for url, email in found] == [
        ("a.csv", "a@c.example"),
        ("b.csv", "b@c.example"),
    ]
    assert all(url.startswith("memory://") for url, _ in found)


def test_a_real_server_is_read_whole_and_by_pattern(server: str, tmp_path: Path) -> None:
    text = "Email\n" + "".join(f"lead{n}@c.example\n" for n in range(20_000))
    (tmp_path / "leads 1.csv").write_text(text, encoding="utf-8")

    found = read(f"{server}/leads*.csv")

    assert len(found) == 20_000
    assert found[-1] == (f"{server}/leads%201.csv", "lead19999@c.example")


def test_a_host_that_the_names_of_its_files_lack_is_asked_for_them(
    store: fsspec.AbstractFileSystem,
) -> None:
    fsspec.register_implementation("hosted", _Hosted, clobber=True)
    store.pipe({"/leads/a.csv": b"Email\na@c.example\n"})

    found = read("hosted://there.example/leads/*.csv")

    assert found == [("hosted://there.example/leads/a.csv", "a@c.example")]


def test_a_file_that_changes_at_a_server_is_noticed_though_its_list_tells_names_alone(
    server: str, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("Email\n", encoding="utf-8")
    (before,) = matching(f"{server}/*.csv", "csv-1")
    (tmp_path / "a.csv").write_text("Email\na@c.example\n", encoding="utf-8")
    (after,) = matching(f"{server}/*.csv", "csv-1")
    assert after.state != before.state


def test_a_signature_in_a_url_is_shown_to_nobody(server: str, tmp_path: Path) -> None:
    """Neither as the file that a lead is from, nor in an error."""
    (tmp_path / "a.csv").write_text("Email\na@c.example\n", encoding="utf-8")
    assert read(f"{server}/a.csv?signature=SECRET") == [(f"{server}/a.csv?...", "a@c.example")]
    with pytest.raises(BadInput) as refused:
        read(f"{server}/b.csv?signature=SECRET")
    assert "SECRET" not in str(refused.value)


def test_a_local_url_is_a_url_like_others(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Email\na@c.example\n", encoding="utf-8")
    assert read(f"file://{tmp_path}/*.csv") == [(f"file://{tmp_path}/a.csv", "a@c.example")]


def test_a_file_that_is_written_again_is_in_another_state(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("Email\n", encoding="utf-8")
    (first,) = matching(f"file://{path}", "csv-1")
    assert first.written == pytest.approx(path.stat().st_mtime)
    path.read_text(encoding="utf-8")
    assert matching(f"file://{path}", "csv-1") == [first], "reading it changes nothing"
    path.write_text("Email\na@c.example\n", encoding="utf-8")
    assert matching(f"file://{path}", "csv-1")[0].state != first.state


def test_what_is_put_is_there_whole(store: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes(b"a,b\n")
    put(tmp_path / "rows", "memory://out/rows.csv", "--output")
    assert store.cat("/out/rows.csv") == b"a,b\n"


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("oci://bucket/a.csv", "a package that is not installed .*Install ocifs"),
        ("nonsense://bucket/a.csv", "a protocol that is not known"),
        ("memory://nowhere/*.csv", "no such file"),
    ],
)
def test_a_url_that_cannot_be_read_is_named_with_the_reason(url: str, found: str) -> None:
    with pytest.raises(BadInput, match=f"csv-1: {url[:6]}.*{found}"):
        read(url)


def test_a_store_that_fails_may_well_answer_later() -> None:
    """With what an error says left out: it may hold what was given."""
    with pytest.raises(Transient, match=r"^csv-1: ftp://127\.0\.0\.1:1/a\.csv cannot be reached"):
        read("ftp://127.0.0.1:1/a.csv")


def test_a_web_server_that_is_down_or_fails_may_well_answer_later(server: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(Transient, match="cannot be reached"):
        read(f"http://127.0.0.1:{port}/a.csv")
    with pytest.raises(BadInput, match="no such file"):
        read(f"{server}/a.csv")


def test_a_copy_is_where_it_is_looked_for_if_its_reader_is_killed(
    store: fsspec.AbstractFileSystem, tmp_path: Path
) -> None:
    store.pipe("/leads/a.csv", b"Email\na@b.example\n")
    (file,) = matching("memory://leads/a.csv", "csv-1")
    with fetched(file, "csv-1", tmp_path / "copies") as copy:
        assert copy.parent.parent == tmp_path / "copies"
    assert not copy.exists()


def test_a_protocol_is_known_without_asking_anyone() -> None:
    assert protocol_problem("memory://a/b.csv") is None
    assert protocol_problem("zip://*.csv::memory://a/b.zip") is None
    assert "ocifs" in (protocol_problem("oci://bucket/a.csv") or "")
    assert "ocifs" in (protocol_problem("zip://*.csv::oci://bucket/a.zip") or "")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        assert protocol_problem(f"ftp://127.0.0.1:{listening.getsockname()[1]}/a.csv") is None
        with pytest.raises(BlockingIOError):  # nobody has called
            listening.accept()
