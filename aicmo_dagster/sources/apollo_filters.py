"""The filters of Apollo's people search, checked here since Apollo is silent about mistakes.

It drops a name that it does not know, and so returns everybody; a value that it does not know finds
nobody. Not here: the search itself (`apollo`).
"""

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from aicmo_dagster.domain.schemas import SENIORITIES
from aicmo_dagster.errors import Problem

_EMAIL_STATES = (
    *("verified", "unverified", "likely to engage", "unavailable"),
    *("guessed", "bounced", "pending_manual_fulfillment"),
)
_LISTS = (
    *("person_titles", "person_locations", "organization_locations", "organization_ids"),
    *("q_organization_domains_list", "q_organization_job_titles", "organization_job_locations"),
    *("currently_using_any_of_technology_uids", "currently_using_all_of_technology_uids"),
    "currently_not_using_any_of_technology_uids",
    # Not documented, but honoured.
    *("q_organization_keyword_tags", "q_not_organization_keyword_tags", "person_not_titles"),
    "person_functions",
)
_RANGES = (
    *("revenue_range", "organization_num_jobs_range", "organization_job_posted_at_range"),
    *("total_funding_range", "latest_funding_amount_range", "latest_funding_date_range"),
)
_TEXTS = ("q_keywords", "q_person_name")
_SPAN = re.compile(r"\d+,\d+")
_MOST_DOMAINS = 1000

FILTERS = (
    *_LISTS,
    *_RANGES,
    *_TEXTS,
    *("person_seniorities", "contact_email_status", "include_similar_titles"),
    "organization_num_employees_ranges",
)
"""Every filter that Apollo honours."""


def filter_problems(filters: Mapping[str, Any], where: str) -> list[Problem]:
    """What is wrong with `filters`, which stand in `where`."""
    found = []
    for name, value in filters.items():
        expected = _expected(name, value)
        if expected:
            shown = repr(name) if name not in FILTERS else f"{value!r:.60}"
            found.append(Problem(where, f"search.{name}", shown, expected))
    return found


def _expected(name: str, value: Any) -> str | None:
    """What should stand there instead, if something should."""
    if name not in FILTERS:
        near = difflib.get_close_matches(str(name), FILTERS, n=1, cutoff=0.6)
        return f"{near[0]!r}" if near else f"one of: {', '.join(sorted(FILTERS))}"
    return next((text for text, fits in _demands(name) if not fits(value)), None)


def _demands(name: str) -> Iterator[tuple[str, Callable[[Any], bool]]]:
    """(what is demanded, whether a value is so) of the filter."""
    if name in _RANGES:
        yield "an object with min, max or both", _is_range
    elif name in _TEXTS:
        yield "a text", lambda value: isinstance(value, str) and bool(value.strip())
    elif name == "include_similar_titles":
        yield "true or false", lambda value: isinstance(value, bool)
    else:
        yield "a list of texts", _is_list
    if name == "person_seniorities":
        yield f"some of: {', '.join(SENIORITIES)}", lambda value: set(value) <= set(SENIORITIES)
    elif name == "contact_email_status":
        yield f"some of: {', '.join(_EMAIL_STATES)}", lambda value: set(value) <= set(_EMAIL_STATES)
    elif name == "organization_num_employees_ranges":
        yield 'spans such as "1,10"', lambda value: all(map(_SPAN.fullmatch, value))
    elif name == "q_organization_domains_list":
        yield "domains without www.", lambda value: not any(v.startswith("www.") for v in value)
        yield f"{_MOST_DOMAINS} domains at most", lambda value: len(value) <= _MOST_DOMAINS


def _is_list(value: Any) -> bool:
    texts = isinstance(value, list | tuple) and all(isinstance(v, str) and v for v in value)
    return texts and bool(value)


def _is_range(value: Any) -> bool:
    """Whether it is one; a text in its place makes Apollo refuse the whole call."""
    return isinstance(value, Mapping) and bool(value) and set(value) <= {"min", "max"}
