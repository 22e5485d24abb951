"""Files that a URL names, at an object store or a server: which there are, a copy of one here.

fsspec knows the protocols; for most it needs a package of its own (docs/operations.md). Not here:
files of this machine, or what stands in a file (`csv_text`).
"""

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC
from glob import has_magic
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fsspec import get_filesystem_class
from fsspec.core import url_to_fs

from aicmo_dagster.errors import AicmoError, BadInput, Problem, Transient

_TELLING = frozenset(
    [
        *("size", "etag", "contentmd5", "digest", "md5hash", "checksum", "generation", "versionid"),
        *("mtime", "modify", "modified", "lastmodified", "updated", "created"),
    ]
)
"""What protocols call that which changes with a file, in small letters; never when it was read."""

_QUERY = re.compile(r"(https?://[^?]*[?]).*")


@dataclass(frozen=True)
class RemoteFile:
    """A file somewhere else.

    Args:
        url: Its URL, as it may be shown (`shown`).
        state: What tells this state of it from any other, as far as its protocol does.
        written: When it was last written to, in seconds of the epoch; 0 where nobody tells.
        name: What it is called there; not all protocols leave the host in it.
        files: Where it is, as fsspec knows it.
    """

    url: str
    state: str
    written: float
    name: str = field(repr=False)
    files: Any = field(repr=False, compare=False)


def shown(url: str) -> str:
    """The URL without what follows `?` at a server, which may be a key or a signature."""
    return _QUERY.sub(r"\1...", url)


def protocol_problem(url: str) -> str | None:
    """Why no file of the protocol can be read or written here; None if it can. Asks nobody."""
    try:
        for link in url.split("::"):
            if "://" in link:
                get_filesystem_class(link.partition("://")[0])
    except ImportError as error:  # its text names the package
        return f"a URL whose protocol needs a package that is not installed ({error})"
    except ValueError:
        return "a URL of a protocol that is not known"
    return None


def matching(pattern: str, field: str) -> list[RemoteFile]:
    """The files that the URL `pattern` names, `*` and `**` included, sorted.

    Args:
        pattern: The URL.
        field: Where it was found, for the errors, such as ``csv-1``.

    Raises:
        BadInput: If its protocol cannot be spoken here, or it may not be read.
        Transient: If it cannot be read now.
    """
    with _told(pattern, field):
        files, path = url_to_fs(pattern)
        files.invalidate_cache()  # instances are shared, and so would be what was once listed
        # Looked for as a pattern, a file of a server that is down would be one that is not there.
        found = files.glob(path, detail=True) if _is_pattern(path) else {path: files.info(path)}
        return sorted(
            (
                _remote_file(pattern, files, name, details)
                for name, details in found.items()
                if details.get("type", "file") == "file"
            ),
            key=lambda file: file.url,
        )


@contextmanager
def fetched(file: RemoteFile, field: str, within: Path | None) -> Iterator[Path]:
    """A copy of the file, for as long as it is read.

    Args:
        file: One that `matching` gave.
        field: Where it was found, for the errors.
        within: The folder that the copy is made in; the system's for temporary files if None.

    Raises:
        BadInput: As `matching` does.
        Transient: Likewise.
    """
    if within is not None:
        within.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=within) as folder:
        path = Path(folder) / "copy"
        with _told(file.url, field):
            file.files.get_file(file.name, str(path))
        yield path


def put(path: Path, url: str, field: str) -> None:
    """The file at `url` is that at `path`; it appears whole where its protocol can do so.

    Raises:
        BadInput: If its protocol cannot be spoken here, or it may not be written.
        Transient: If it cannot be written now.
    """
    with _told(url, field):
        files, name = url_to_fs(url)
        files.put_file(str(path), name)


def _is_pattern(path: str) -> bool:
    return has_magic(path.partition("?")[0] if path.startswith("http") else path)


def _remote_file(pattern: str, files: Any, name: str, listed: Mapping[str, Any]) -> RemoteFile:
    # A server's list of a folder tells names alone.
    state = _state(listed) or _state(files.info(name))
    return RemoteFile(_url(pattern, files, name), repr(state), _written(files, name), name, files)


def _state(details: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is known of a file that changes with it."""
    plain = {key.lower().replace("-", "").replace("_", ""): at for key, at in details.items()}
    return sorted((k, str(at)) for k, at in plain.items() if k in _TELLING and at is not None)


def _url(pattern: str, files: Any, name: str) -> str:
    """The URL of one of the files that `pattern` names."""
    outermost, chained, within = pattern.partition("::")
    host = files.storage_options.get("host")
    protocol = outermost.partition("://")[0]
    url = f"{protocol}://{host}{name}" if host else str(files.unstrip_protocol(name))
    return shown(f"{url}{chained}{within}")


def _written(files: Any, name: str) -> float:
    try:
        at = files.modified(name)
    except NotImplementedError:
        return 0.0
    return float((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())


@contextmanager
def _told(url: str, field: str) -> Iterator[None]:
    """What goes wrong is told in our words; what a package says may hold what it was given."""
    expected = "a URL that can be reached from here, with the right credentials"
    told = shown(url)
    try:
        yield
    except (ImportError, ValueError) as error:
        found = protocol_problem(url) or f"a URL that is not understood ({type(error).__name__})"
        expected = "a protocol whose package is installed beside AICMO"
        raise BadInput(Problem(field, told, found, expected)) from error
    except FileNotFoundError as error:
        if _unanswered(error):
            raise _unreachable(field, told, error) from error
        raise BadInput(Problem(field, told, "no such file", expected)) from error
    except PermissionError as error:
        raise BadInput(Problem(field, told, "no permission", expected)) from error
    except AicmoError:
        raise
    except Exception as error:  # each package has errors of its own
        raise _unreachable(field, told, error) from error


def _unanswered(error: FileNotFoundError) -> bool:
    """Whether it is a web server's silence or fault, which fsspec takes for a missing file."""
    cause = error.__cause__
    if not type(cause).__module__.startswith("aiohttp"):
        return False
    return getattr(cause, "status", None) not in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)


def _unreachable(field: str, told: str, error: Exception) -> Transient:
    return Transient(f"{field}: {told} cannot be reached ({type(error).__name__})")
