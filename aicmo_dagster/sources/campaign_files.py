"""Campaign documents on disk, checked with the templates and the searches they name.

Not here: what a document may hold.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aicmo_dagster.domain.campaigns import Campaign, read_campaign
from aicmo_dagster.domain.documents import parse_yaml
from aicmo_dagster.domain.sections.sources import ApolloSource, CsvSource
from aicmo_dagster.domain.template_faults import template_problems
from aicmo_dagster.errors import BadInput, Problem
from aicmo_dagster.sources.apollo_filters import filter_problems
from aicmo_dagster.sources.remote_files import protocol_problem


@dataclass(frozen=True)
class CampaignFile:
    """A campaign document that may be applied.

    Args:
        campaign: The document.
        templates: The text of each template file that it names.
        folder: What its paths are relative to.
    """

    campaign: Campaign
    templates: dict[str, str]
    folder: Path


def read_campaign_file(path: Path) -> CampaignFile:
    """The document at `path`, checked together with its templates and its searches.

    Raises:
        BadInput: With every problem of them.
    """
    where, folder = str(path), path.resolve().parent
    document = parse_yaml(_text(path, where), where)
    expected = "a UTF-8 template file beside the document"
    campaign, templates = _checked(document, where, lambda body: _read(folder, body), expected)
    return CampaignFile(campaign, templates, folder)


def check_sent_document(
    document: dict[str, Any], where: str, templates: Mapping[str, str], paths: Collection[str]
) -> tuple[Campaign, dict[str, str]]:
    """A document that came without a folder, checked in the same way, and its templates.

    It may go on naming the files that the campaign named before; it names no other, or whoever may
    send a document could read what lies on this machine.

    Args:
        document: Plain values.
        where: Its name, for the errors.
        templates: The templates of the campaign as it was, by name.
        paths: The paths of its CSV sources.

    Raises:
        BadInput: With every problem.
    """
    expected = "the text itself: files cannot be read from here, but for those it named before"
    problems = _path_problems(document, where, paths)
    try:
        checked = _checked(document, where, lambda body: _kept(templates, body), expected)
    except BadInput as error:
        raise BadInput(*error.problems, *problems) from error
    if problems:
        raise BadInput(*problems)
    return checked


def _checked(
    document: dict[str, Any], where: str, template: Callable[[str], str], expected: str
) -> tuple[Campaign, dict[str, str]]:
    """The campaign and the text of each template it names.

    Args:
        document: Plain values.
        where: Its name, for the errors.
        template: Reads the template of that name.
        expected: What a body is to be, where it cannot be read.
    """
    templates: dict[str, str] = {}
    problems: list[Problem] = []
    for at, key, text in _messages(document):
        place, source = f"{at}.{key}", text
        try:
            if key == "body" and _is_file(text):
                source = templates[text] = templates.get(text) or template(text)
        except (OSError, ValueError) as error:
            problems.append(Problem(where, place, _unreadable(text, error), expected))
        else:
            problems += template_problems(source, where, place)
    try:
        campaign = read_campaign(document, where)
    except BadInput as error:
        raise BadInput(*error.problems, *problems) from error
    problems += _filter_problems(campaign, where) + _protocol_problems(campaign, where)
    if problems:
        raise BadInput(*problems)
    return campaign, templates


def _path_problems(document: dict[str, Any], where: str, known: Collection[str]) -> list[Problem]:
    """The CSV files that a document names and may not."""
    sources = document.get("sources")
    paths = {
        position: source.get("path")
        for position, source in enumerate(sources if isinstance(sources, list) else ())
        if isinstance(source, dict) and source.get("type") == "csv"
    }
    expected = "leads by import: files cannot be read from here, but for those it named before"
    return [
        Problem(where, f"sources[{position}].path", f"a file {path!r}", expected)
        for position, path in paths.items()
        if isinstance(path, str) and path not in known
    ]


def _text(path: Path, where: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(Problem(where, "", "bytes that are not UTF-8", "a UTF-8 text")) from error
    except OSError as error:
        found = str(error.strerror or type(error).__name__).lower()
        raise BadInput(Problem(where, "", found, "a campaign document that can be read")) from error


def _is_file(body: str) -> bool:
    return body.endswith(".j2") and "\n" not in body


def _read(folder: Path, body: str) -> str:
    """The template file `body`; files outside `folder` count as absent."""
    path = (folder / body).resolve()
    if not path.is_relative_to(folder):
        raise FileNotFoundError
    return path.read_text(encoding="utf-8-sig")


def _kept(templates: Mapping[str, str], body: str) -> str:
    if body not in templates:
        raise FileNotFoundError
    return templates[body]


def _unreadable(body: str, error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"no file {body!r}"
    why = error.strerror if isinstance(error, OSError) else "not UTF-8"
    return f"a file {body!r} that cannot be read ({why})"


def _filter_problems(campaign: Campaign, where: str) -> list[Problem]:
    """What is wrong with the searches of its sources, each problem at its place in the document."""
    return [
        replace(problem, path=f"sources[{position}].{problem.path}")
        for position, source in enumerate(campaign.sources)
        if isinstance(source, ApolloSource)
        for problem in filter_problems(source.search, where)
    ]


def _protocol_problems(campaign: Campaign, where: str) -> list[Problem]:
    """The URLs of its sources that cannot be read for want of a package."""
    expected = "a path, or a URL of a protocol whose package is installed beside AICMO"
    found = (
        (position, protocol_problem(source.path))
        for position, source in enumerate(campaign.sources)
        if isinstance(source, CsvSource) and source.is_remote
    )
    return [
        Problem(where, f"sources[{position}].path", problem, expected)
        for position, problem in found
        if problem
    ]


def _messages(document: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(path, `subject` or `body`, text) of every message, as far as the document has its shape."""
    found = []
    sequences = document.get("sequences")
    for name, sequence in sequences.items() if isinstance(sequences, dict) else ():
        steps = sequence.get("steps") if isinstance(sequence, dict) else None
        for position, step in enumerate(steps if isinstance(steps, list) else ()):
            at = f"sequences.{name}.steps[{position}]"
            variants = step.get("variants") if isinstance(step, dict) else None
            parts = [(at, step)]
            for number, part in enumerate(variants if isinstance(variants, list) else ()):
                parts.append((f"{at}.variants[{number}]", part))
            found += [
                (place, key, part[key])
                for place, part in parts
                for key in ("subject", "body")
                if isinstance(part, dict) and isinstance(part.get(key), str)
            ]
    return found
