"""Files of the dashboard: our own, and the chart library's out of its installed package.

Each is named by its content, so that browsers keep it for good. Not here: the pages (`dashboard`).
"""

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.metadata import distribution
from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, Request, Response

router = APIRouter(include_in_schema=False)

PLOTLY_STYLE = "sha256-ji27qzEtxXZW+7dun6UwjHXJ18e6WAin1VvNtkzIE/o="
"""The one style sheet that Plotly's script adds to a page, that of its maps; a browser test tells
when another version of it has another."""

_TYPES = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
_OURS = ("dashboard.js", "dashboard.css", "icon.svg")
_PLOTLY = "plotly.min.js"
_PLACE = f"plotly/package_data/{_PLOTLY}"
_HEADERS = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "Vary": "Accept-Encoding",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class File:
    """A file's content, also compressed, and what it is."""

    content: bytes
    compressed: bytes
    media_type: str


@router.get("/dashboard/files/{name}")
def read(name: str, request: Request) -> Response:
    """A file, under any version: there is but the one that is installed."""
    if name not in (*_OURS, _PLOTLY):
        return Response(status_code=404)
    file = _file(name)
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(file.content, headers=_HEADERS, media_type=file.media_type)
    headers = _HEADERS | {"Content-Encoding": "gzip"}
    return Response(file.compressed, headers=headers, media_type=file.media_type)


@cache
def address(name: str) -> str:
    """Where a file is, with what it is known by."""
    if name == _PLOTLY:  # which is too large to be read for that
        return f"/dashboard/files/{name}?v={distribution('plotly').version}"
    return f"/dashboard/files/{name}?v={hashlib.sha256(_file(name).content).hexdigest()[:12]}"


@cache
def _file(name: str) -> File:
    if name == _PLOTLY:
        # By its path, since importing the package takes longer than serving the file.
        content = Path(str(distribution("plotly").locate_file(_PLACE))).read_bytes()
    else:
        content = (files("aicmo_dagster.api") / "static" / name).read_bytes()
    return File(content, gzip.compress(content, 6, mtime=0), _TYPES[name.rpartition(".")[2]])
