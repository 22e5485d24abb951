"""Who is asked about and what is answered, whatever the provider; and who an answer is about.

An answer belongs to whom it identifies, never to a position. Not here: requests (`http`), what a
provider calls things (`apollo`, `dropcontact`).
"""

import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow

from aicmo_dagster.domain import normalise

NOT_FOUND = "not_found"
"""The provider knows nobody, or no address."""

NOT_ASKED = "not_asked"
"""Nothing to go by, or more than the provider takes: never sent, never charged."""

REJECTED = "rejected"
"""The provider took the batch without this one; nothing more will come for it."""

DO_NOT_CONTACT = "do_not_contact"
"""Whoever it is does not want to be written to: a suppression, not a miss."""

LOCKED = "locked"
"""There is an address, which the provider does not show."""

USABLE = frozenset({"verified", "likely_to_engage"})
"""The only states in which an address may be written to."""

_WITHOUT = frozenset({LOCKED, "unavailable", "bounced"})
_PLACEHOLDER = "email_not_unlocked@"
_INVISIBLE = re.compile("[\u200b-\u200f\u2060\ufeff\u00ad]")
_APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\u02b9`\u00b4", "'"))


_KNOWN = ("external_id", "email", "linkedin_url", "first_name", "last_name", "company", "domain")
_KINDS = ("id", "linkedin", "email", "name, domain", "name, company")

Identity = tuple[str, str]
"""A kind and a value: what tells who somebody is."""


@dataclass(frozen=True)
class Asked:
    """A person to be completed. Whatever is not known is None.

    Args:
        key: The caller's own name for the person, such as the lead id.
        external_id: The id that this provider gave the person; another's is not to be given.
        email: The address, if it is to be checked, which may cost.
    """

    key: str
    external_id: str | None = None
    email: str | None = field(default=None, repr=False)
    linkedin_url: str | None = field(default=None, repr=False)
    first_name: str | None = field(default=None, repr=False)
    last_name: str | None = field(default=None, repr=False)
    company: str | None = None
    domain: str | None = None


@dataclass(frozen=True)
class Answered:
    """What a provider knows of a person.

    Args:
        fields: Our fields as raw text, none empty; `email` only if it is usable.
        status: The state of the address: a name of this module, or `verified`,
            `likely_to_engage`, `unverified`, `guessed`, `catch_all`, `generic`, `personal`,
            `school`, `disposable`, `invalid`, `bounced`, `unavailable` or `unknown`.
        usable: Whether `fields` holds an address that may be written to.
        confidence: How sure the provider is, in its own words.
        doubtful: The address that is not usable, if there is one.
    """

    fields: dict[str, str] = field(repr=False)
    status: str
    usable: bool
    confidence: str | None = None
    doubtful: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Window:
    """A rate limit as last told. No limit is None, and so is what was not told."""

    limit: int | None
    used: int | None
    left: int | None


@dataclass(frozen=True)
class Limits:
    """The rate limits of an endpoint; a window of which nothing was told is None."""

    minute: Window | None = None
    hour: Window | None = None
    day: Window | None = None


def answered(
    fields: Mapping[str, str], email: str | None, status: str, confidence: str | None = None
) -> Answered:
    """An answer in which only a usable address stands among the fields, which hold none yet."""
    if email is not None and shown_address(email) is None:
        email, status = None, LOCKED
    usable = email is not None and status in USABLE
    if email is None and status not in _WITHOUT:
        status = NOT_FOUND
    held = dict(fields)
    if usable and email is not None:
        held["email"] = email
    return Answered(held, status, usable, confidence, None if usable else email)


def shown_address(value: object) -> str | None:
    """`value` as an address, unless it is nothing or stands for one that is not shown."""
    text = text_of(value)
    locked = text is not None and text.strip().lower().startswith(_PLACEHOLDER)
    return None if locked else text


def unanswered(status: str) -> Answered:
    """An answer that says only why there is none."""
    return Answered({}, status, usable=False)


def text_of(value: object) -> str | None:
    """`value` as raw text, if it is a text that holds something or a number."""
    if type(value) is str and value.isascii():  # as most are
        return value if value.strip() else None
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, float):
        whole = math.isfinite(value) and value.is_integer()
        return str(int(value)) if whole else repr(value) if math.isfinite(value) else None
    text = str(value) if isinstance(value, str | int) else ""
    if not text.isascii():  # half an emoji is allowed in JSON, but nowhere else
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text if text.strip() else None


def number_of(value: object) -> float | None:
    """`value`, if it is a number."""
    given = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if given and math.isfinite(value) else None  # type: ignore[arg-type]


def texts_of(values: Mapping[str, object]) -> dict[str, str]:
    """Those of `values` that are something, as raw text."""
    return {name: text for name, value in values.items() if (text := text_of(value)) is not None}


def joined(asked: Sequence[Asked], found: Sequence[Mapping[str, str]]) -> dict[str, int]:
    """Of whoever is among `found`: their key, to the position there.

    By id, else by LinkedIn profile, else by address, else by name and domain or company. A name
    that two of either side bear tells nothing.

    Args:
        asked: Whom we asked about.
        found: Our fields of those that came back, `external_id` included.
    """
    at = {person.get("external_id", ""): place for place, person in reversed([*enumerate(found)])}
    if at.keys() <= {person.external_id for person in asked}:  # the usual case, and dear otherwise
        return {p.key: at[p.external_id] for p in asked if p.external_id in at}
    everybody = _identities([*map(known_of, asked), *found])
    wanted, theirs = everybody[: len(asked)], everybody[len(asked) :]
    bearers: dict[Identity, list[int]] = defaultdict(list)
    for place, identities in enumerate(wanted):
        for identity in identities:
            bearers[identity].append(place)
    claims: dict[int, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    for place, identities in enumerate(theirs):
        kind, claimed = _claimed(identities, bearers, wanted)
        for bearer in claimed:
            claims[bearer][kind].add(place)
    best = {bearer: _best(kinds) for bearer, kinds in claims.items()}
    return {asked[bearer].key: place for bearer, place in best.items() if place is not None}


def known_of(person: Asked) -> dict[str, str]:
    """What is known of somebody, in our fields."""
    return texts_of({name: getattr(person, name) for name in _KNOWN})


def _best(kinds: Mapping[str, set[int]]) -> int | None:
    """Who claims somebody by the strongest kind, unless several do by no more than a name."""
    kind = min(kinds, key=_KINDS.index)
    return None if kind.startswith("name") and len(kinds[kind]) > 1 else min(kinds[kind])


def _claimed(
    identities: Sequence[Identity],
    bearers: Mapping[Identity, list[int]],
    wanted: Sequence[Sequence[Identity]],
) -> tuple[str, list[int]]:
    """By which kind somebody who was found is one of those asked about, and who."""
    profile = [value for kind, value in identities if kind == "linkedin"]
    for identity in identities:
        claimed = bearers.get(identity, [])
        if not identity[0].startswith("name"):
            if claimed:
                return identity[0], claimed
        elif len(claimed) > 1:
            break
        elif claimed:
            known = [value for kind, value in wanted[claimed[0]] if kind == "linkedin"]
            if not (profile and known):  # they would have met by it
                return identity[0], claimed
    return "", []


def _identities(people: Sequence[Mapping[str, str]]) -> list[list[Identity]]:
    """Of each, (kind, value) of what tells who it is, strongest first."""
    ids = [person.get("external_id", "") for person in people]
    names = [_full_name(person) for person in people]
    companies = [_folded(person.get("company", "")) for person in people]
    domains = _spelled(normalise.domains, people, "domain")
    columns = (
        ids,
        _spelled(normalise.linkedin_urls, people, "linkedin_url"),
        _spelled(normalise.addresses, people, "email"),
        [n and d and f"{n}\x1f{d}" for n, d in zip(names, domains, strict=True)],
        [n and c and f"{n}\x1f{c}" for n, c in zip(names, companies, strict=True)],
    )
    return [
        [(kind, value) for kind, value in zip(_KINDS, row, strict=True) if value]
        for row in zip(*columns, strict=True)
    ]


def _full_name(person: Mapping[str, str]) -> str:
    """First and last name for comparing; nothing unless both are there."""
    names = [_folded(person.get(name, "")) for name in ("first_name", "last_name")]
    return " ".join(names) if all(names) else ""


def _folded(text: str) -> str:
    """`text` for comparing: compatible characters, without case, invisible ones and styles."""
    plain = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text)).translate(_APOSTROPHES)
    return " ".join(unicodedata.normalize("NFKC", plain.casefold()).split())


def _spelled(
    spelling: Callable[[pyarrow.Array], pyarrow.Array],
    people: Sequence[Mapping[str, str]],
    name: str,
) -> list[str]:
    """The field of that name of each as intake spells it, or nothing."""
    given = pyarrow.array([person.get(name) for person in people], pyarrow.string())
    if given.null_count == len(given):
        return [""] * len(given)
    return [value or "" for value in spelling(normalise.texts(given)).to_pylist()]
