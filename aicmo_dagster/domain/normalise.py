"""A lead's text fields in their one spelling: addresses, countries, links, domains and the like.

Every function takes an Arrow array of text and gives one of the same length; what cannot be read is
missing. Not here: numbers and instants (`quantities`), what is refused for it (`intake`).
"""

import functools
import re
import unicodedata
from collections.abc import Callable
from zoneinfo import available_timezones

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.compute as pc
import pycountry
from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email

from aicmo_dagster.domain.schemas import SENIORITIES
from aicmo_dagster.domain.tokens import normal_address

_CLEAN = r"^[!-~]+(?: [!-~]+)*$"
_UNPRINTABLE = (
    r"[\x{00}-\x{08}\x{0E}-\x{1F}\x{7F}-\x{84}\x{86}-\x{9F}"  # controls that are not white space
    r"\x{200B}\x{200E}\x{200F}\x{202A}-\x{202E}\x{2060}-\x{2064}\x{2066}-\x{2069}\x{FEFF}]"
)
_WHITE = r"[\t-\r\x{85}\pZ]+"

_PLAIN_ADDRESS = r"^(?P<local>[a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*)@(?P<domain>[a-z0-9.-]+)$"
_PLAIN_DOMAIN = r"^(?:[a-z0-9]{1,20}(?:-[a-z0-9]{1,20})?\.){1,4}[a-z]{2,20}$"
_HOST = (
    r"^(?:[a-z][a-z0-9+.-]*://|//|mailto:)?(?:[^/?#@]*@)?(?:www\.)?"
    r"(?P<host>[^/?#:@ ]+?)\.?(?:[:/?#].*)?$"
)
_PROFILE = r"^(?:https?://)?(?:[a-z]{1,3}\.)?linkedin\.com/(?:in|pub)/(?P<slug>[^/?# ]+)"
_PERCENT_ESCAPES = re.compile(r"(?:%[0-9a-f]{2})+")

_COUNTRIES_OF_SPREADSHEETS = {
    "AE": "UAE|Emirates",
    "AT": "Österreich",
    "BE": "België|Belgique",
    "BN": "Brunei",
    "BR": "Brasil",
    "CD": "DR Congo|DRC|Congo, Democratic Republic|Congo (Kinshasa)",
    "CG": "Congo (Brazzaville)|Republic of the Congo",
    "CH": "Schweiz|Suisse|Svizzera",
    "CI": "Ivory Coast",
    "CV": "Cape Verde",
    "CZ": "Czech Republic",
    "DE": "Deutschland",
    "DK": "Danmark",
    "ES": "España",
    "FI": "Suomi",
    "FK": "Falkland Islands",
    "FM": "Micronesia",
    "GB": "UK|Great Britain|Britain|England|Scotland|Wales|Northern Ireland",
    "HK": "Hong Kong SAR|Hong Kong SAR China",
    "IT": "Italia",
    "KP": "North Korea|Korea, North",
    "KR": "South Korea|Korea, South|Korea",
    "MK": "Macedonia",
    "MM": "Burma",
    "MO": "Macau|Macau SAR",
    "MX": "México",
    "NL": "Holland|Nederland",
    "NO": "Norge",
    "PL": "Polska",
    "PS": "Palestine",
    "RU": "Russia",
    "SE": "Sverige",
    "SZ": "Swaziland",
    "TL": "East Timor",
    "TR": "Turkey",
    "US": "USA|U.S.|America|United States of America",
    "VA": "Vatican|Vatican City",
    "VN": "Vietnam|Viet Nam",
}

_FALSE_FRIENDS = re.compile(
    r"\b(?:product|process|data|system|service|platform|application|risk|control) owner\b"
    r"|\b(?:business|hr|channel|alliance|technology) partner\b|\bchief of staff\b"
    r"|\bpartner(?= (?:manager|success|marketing|sales|development|account|engineer|relations))"
    # What follows is somebody else's rank: assistant to the CEO, office of the CTO.
    r"|\b(?:to|for|office of|reporting to)\b.*$"
)
_RANKS = tuple(
    (re.compile(pattern), seniority)
    for pattern, seniority in (
        (r"\b(?:intern|internship|trainee|apprentice|working student)\b", "intern"),
        (r"\b(?:owner|proprietor)\b", "owner"),
        (r"\b(?:co ?)?founder\b|\bco ?founding\b|\bfounding partner\b", "founder"),
        (
            r"\bchief\b|\bc(?:ao|bo|co|do|eo|fo|hro|io|iso|lo|mo|oo|po|ro|so|to|xo)\b"
            r"|\bc (?:level|suite)\b|\bpresident\b|\bmanaging director\b"
            r"|\bgeschäftsführer(?:in)?\b",
            "c_suite",
        ),
        (r"\bpartner\b", "partner"),
        (r"\b[aes]?vp\b", "vp"),
        (r"\bhead\b", "head"),
        (r"\bdirector\b", "director"),
        (r"\b(?:manager|mgr|supervisor|team lead(?:er)?)\b", "manager"),
        (r"\b(?:senior|sr|lead|principal|staff|expert)\b", "senior"),
        (r"\b(?:entry|junior|jr|graduate|associate|assistant)\b", "entry"),
    )
)
"""What in a title tells the seniority; the first that fits decides."""


def text_array(values: pd.Series | None, length: int) -> pyarrow.Array:
    """`values` as one Arrow array of text; missing throughout where there is no such column."""
    if values is None:
        return pyarrow.nulls(length, pyarrow.string())
    array = pyarrow.array(values, from_pandas=True)
    whole = array.combine_chunks() if isinstance(array, pyarrow.ChunkedArray) else array
    return whole.cast(pyarrow.string())


def over_unique(
    values: pyarrow.Array,
    function: Callable[[str], object],
    kind: pyarrow.DataType | None = None,
) -> pyarrow.Array:
    """`function` of every value, called once for each that differs."""
    encoded = values.dictionary_encode()
    answers = [function(value) for value in encoded.dictionary.to_pylist()]
    return pyarrow.array(answers, kind or pyarrow.string()).take(encoded.indices)


def texts(values: pyarrow.Array) -> pyarrow.Array:
    """NFC, without control characters, white space trimmed and collapsed; empty is missing."""
    if _all_plain(values):
        return values
    dirty = pc.fill_null(pc.invert(pc.match_substring_regex(values, _CLEAN)), fill_value=False)
    if not pc.any(dirty).as_py():
        return values
    cleaned = pc.replace_substring_regex(values.filter(dirty), _UNPRINTABLE, "")
    cleaned = pc.utf8_normalize(cleaned, "NFC")
    cleaned = pc.utf8_trim(pc.replace_substring_regex(cleaned, _WHITE, " "), " ")
    return pc.replace_with_mask(values, dirty, _unless(pc.equal(cleaned, ""), cleaned))


def _all_plain(values: pyarrow.Array) -> bool:
    """Whether all is printable ASCII without odd spaces, told from all octets at once.

    It may be so where this says no, since octets beside the values are looked at as well.
    """
    octets = values.buffers()[2]
    if octets is None:
        return bool(values.null_count == len(values))
    raw = np.frombuffer(octets, np.uint8)
    if ((raw < ord(" ")) | (raw > ord("~"))).any() or b"  " in memoryview(octets).tobytes():
        return False
    lengths = pc.min(pc.binary_length(values)).as_py()
    edges = (pc.starts_with(values, " "), pc.ends_with(values, " "))
    return lengths != 0 and not any(pc.any(edge).as_py() for edge in edges)


def addresses(values: pyarrow.Array) -> pyarrow.Array:
    """Addresses in lower case with an ASCII domain; missing where it is not one."""
    lowered = pc.utf8_lower(values)
    parts = pc.extract_regex(lowered, _PLAIN_ADDRESS)
    local, domain = pc.struct_field(parts, 0), pc.struct_field(parts, 1)
    # email-validator takes 45 µs: of an address with a plain local part it sees the domain at most.
    short = pc.and_(
        pc.less_equal(pc.binary_length(lowered), 254), pc.less_equal(pc.binary_length(local), 64)
    )
    plain = pc.and_(pc.is_valid(parts), pc.fill_null(short, fill_value=False))
    joined = pc.binary_join_element_wise(local, _ascii_domains(domain), "@")
    return pc.if_else(plain, joined, over_unique(_unless(plain, values), _address))


def domains(values: pyarrow.Array) -> pyarrow.Array:
    """The host of a domain or web address: lower case, ASCII, without www."""
    hosts = pc.struct_field(pc.extract_regex(pc.utf8_lower(values), _HOST), 0)
    return _ascii_domains(hosts)


def address_domains(values: pyarrow.Array) -> pyarrow.Array:
    """The domains of normalised addresses."""
    return pc.struct_field(pc.extract_regex(values, r"@(?P<domain>[^@]+)$"), 0)


def linkedin_urls(values: pyarrow.Array) -> pyarrow.Array:
    """Profiles of people as https://www.linkedin.com/in/slug; a company's page is not one."""
    slugs = pc.struct_field(pc.extract_regex(pc.utf8_lower(values), _PROFILE), 0)
    escaped = pc.fill_null(pc.match_substring(slugs, "%"), fill_value=False)
    if pc.any(escaped).as_py():
        slugs = pc.if_else(escaped, over_unique(_unless(pc.invert(escaped), slugs), _slug), slugs)
    return pc.binary_join_element_wise("https://www.linkedin.com/in/", slugs, "")


def countries(values: pyarrow.Array) -> pyarrow.Array:
    """ISO 3166-1 alpha-2 codes of codes and names, as spreadsheets write them."""
    table = _country_table()
    return over_unique(values, lambda name: table.get(_country_key(name)))


def given_seniorities(values: pyarrow.Array) -> pyarrow.Array:
    """One of SENIORITIES, named in our words or as a title names it."""
    return over_unique(values, _given_seniority)


def told_seniorities(titles: pyarrow.Array) -> pyarrow.Array:
    """The seniority that a title tells."""
    return over_unique(titles, _told_seniority)


def technologies(values: pyarrow.Array) -> pyarrow.Array:
    """Lists split at ``;``, ``,`` and ``|``: lower case, each once, sorted, joined by ``;``."""
    encoded = values.dictionary_encode()
    return _sorted_sets(pc.split_pattern_regex(encoded.dictionary, "[;,|]")).take(encoded.indices)


def _sorted_sets(lists: pyarrow.Array) -> pyarrow.Array:
    """The names in each list: lower case, each once, sorted, joined by ``;``; missing if none.

    All lists at once: each name is numbered by its order, so that sorting is a matter of numbers.
    """
    named = pc.utf8_lower(pc.utf8_trim_whitespace(lists.flatten()))
    there = pc.not_equal(named, "")
    encoded = named.filter(there).dictionary_encode()
    order = pc.sort_indices(encoded.dictionary)
    ranks = np.empty(len(order), np.int64)
    ranks[order.to_numpy()] = np.arange(len(order))
    owners = pc.list_parent_indices(lists).filter(there).to_numpy().astype(np.int64)
    kinds = max(len(order), 1)
    places = np.unique(owners * kinds + ranks[encoded.indices.to_numpy()])
    offsets = np.searchsorted(places, np.arange(len(lists) + 1) * kinds)
    names = encoded.dictionary.take(order).take(pyarrow.array(places % kinds))
    joined = pc.binary_join(
        pyarrow.ListArray.from_arrays(pyarrow.array(offsets, pyarrow.int32()), names), ";"
    )
    return _unless(pc.equal(joined, ""), joined)


def zones(values: pyarrow.Array) -> pyarrow.Array:
    """IANA time zones that are known, in their own spelling."""
    table = _zone_table()
    return over_unique(values, lambda name: table.get(name.lower().replace(" ", "_")))


def _unless(mask: pyarrow.Array, values: pyarrow.Array) -> pyarrow.Array:
    """`values`, missing where `mask` holds."""
    return pc.if_else(mask, pyarrow.scalar(None, values.type), values)


def _ascii_domains(values: pyarrow.Array) -> pyarrow.Array:
    """Domains in ASCII as email-validator has them, which is not asked for the plainest."""
    plain = pc.match_substring_regex(values, _PLAIN_DOMAIN)
    special = pc.match_substring_regex(values, _special_use_pattern())
    known = pc.fill_null(pc.and_(plain, pc.invert(special)), fill_value=True)
    if pc.all(known).as_py():
        return values
    return pc.if_else(known, values, over_unique(_unless(known, values), _ascii_domain))


@functools.cache
def _special_use_pattern() -> str:
    names = "|".join(re.escape(name) for name in SPECIAL_USE_DOMAIN_NAMES)
    return rf"(?:^|\.)(?:{names})$"


def _ascii_domain(domain: str) -> str | None:
    address = _address(f"a@{domain}")
    return None if address is None else address.removeprefix("a@")


def _address(text: str) -> str | None:
    try:
        validate_email(text, check_deliverability=False, strict=True, test_environment=True)
    except EmailNotValidError:
        return None
    return normal_address(text)  # the same spelling as suppressions are kept by


def _slug(escaped: str) -> str | None:
    """The slug with its percent escapes read, if it is still one part of a path."""
    read = _PERCENT_ESCAPES.sub(
        lambda run: bytes.fromhex(run[0].replace("%", "")).decode(errors="replace"), escaped
    )
    slug = unicodedata.normalize("NFC", read).lower()
    return slug if re.fullmatch(r"[^/?#%\s\ufffd\x00-\x1f]+", slug) else None


def _country_key(name: str) -> str:
    """`name` without case, accents, punctuation and articles."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    words = re.sub(r"[^\w\s]", " ", bare.replace(".", "").replace("&", " and ")).casefold().split()
    return " ".join("saint" if word == "st" else word for word in words if word != "the")


@functools.cache
def _country_table() -> dict[str, str]:
    table = {}
    for country in pycountry.countries:
        fields = ("name", "official_name", "common_name", "alpha_3", "alpha_2")
        for name in filter(None, (getattr(country, field, None) for field in fields)):
            table[_country_key(name)] = country.alpha_2
            # "Bolivia, Plurinational State of" is also written the other way round.
            table[_country_key(" ".join(reversed(name.split(", "))))] = country.alpha_2
    for code, names in _COUNTRIES_OF_SPREADSHEETS.items():
        table |= {_country_key(name): code for name in names.split("|")}
    return table


def _given_seniority(text: str) -> str | None:
    ours = re.sub(r"[\s-]+", "_", text.lower())
    return ours if ours in SENIORITIES else _told_seniority(text)


def _told_seniority(title: str) -> str | None:
    bare = " ".join(re.sub(r"[^\w\s]|_", " ", title.lower().replace(".", "")).split())
    ranked = _FALSE_FRIENDS.sub(" ", re.sub(r"\bvice president\b", "vp", bare))
    return next((seniority for pattern, seniority in _RANKS if pattern.search(ranked)), None)


@functools.cache
def _zone_table() -> dict[str, str]:
    # These two exist on some machines only, or mean what the machine says.
    named = available_timezones() - {"localtime", "Factory"}
    return {name.lower(): name for name in sorted(named)}
