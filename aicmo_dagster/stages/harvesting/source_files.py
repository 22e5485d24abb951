"""The files of a campaign's CSV sources: where they are, and how much they hold.

Not here: reading them (`harvest`), or whether they have changed (`arrivals`).
"""

import glob
from collections.abc import Iterable, Iterator
from pathlib import Path

from aicmo_dagster.domain.field_types import is_url
from aicmo_dagster.domain.sections.sources import CsvSource
from aicmo_dagster.store.campaigns import StoredCampaign


def patterns_of(stored: StoredCampaign) -> list[str]:
    """The paths and URLs of the campaign's CSV sources; a name that is no pattern is itself."""
    return [
        source.path if source.is_remote else _local_pattern(stored.folder / source.path)
        for source in stored.campaign.sources
        if isinstance(source, CsvSource)
    ]


def files_of(pattern: str) -> Iterator[tuple[str, int, int]]:
    """The local files of a pattern, each with its size and its last change in nanoseconds."""
    for name in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207 - absolute patterns
        try:
            stat = Path(name).stat()
        except OSError:  # gone since
            continue
        yield name, stat.st_size, stat.st_mtime_ns


def bytes_in(patterns: Iterable[str]) -> int:
    """How many bytes the local files of the patterns hold together."""
    local = (pattern for pattern in patterns if not is_url(pattern))
    return sum(size for pattern in local for _, size, _ in files_of(pattern))


def _local_pattern(path: Path) -> str:
    return glob.escape(str(path)) if path.is_file() else str(path)
