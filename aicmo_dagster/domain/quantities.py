"""Numbers and instants as spreadsheets write them: headcounts, ranges, money, dates.

A value that cannot be read, is negative or makes no sense is missing, and its lead is kept: an
optional field is no reason to lose a person. Not here: text (`normalise`).
"""

import math
import re
import unicodedata
from datetime import UTC, datetime

import pyarrow
import pyarrow.compute as pc

from aicmo_dagster.domain.normalise import over_unique

INSTANT = pyarrow.timestamp("us", tz="UTC")

_PLAIN = r"^[0-9]{1,15}(?:\.[0-9]{1,2})?$"  # three decimals may be thousands
_LARGEST = 1e15
_LONGEST = 80  # characters; longer text states no number, and would only keep the pattern busy
_SCALES = {
    "": 1.0,
    "k": 1e3,
    "thousand": 1e3,
    "m": 1e6,
    "mm": 1e6,
    "mn": 1e6,
    "mio": 1e6,
    "mil": 1e6,
    "million": 1e6,
    "millions": 1e6,
    "b": 1e9,
    "bn": 1e9,
    "billion": 1e9,
    "billions": 1e9,
    "mrd": 1e9,
    "t": 1e12,
    "tn": 1e12,
    "trillion": 1e12,
}
_FIGURE = r"\d[\d.,' ]*(?:e[+-]?\d+)?"
_SCALE = "|".join(sorted(filter(None, _SCALES), key=len, reverse=True))
_NUMBER = rf"(?P<figure{{0}}>{_FIGURE}) ?(?P<scale{{0}}>{_SCALE})?\.?"
_QUANTITY = re.compile(
    r"(?:~|≈|about |approx(?:imately)? |around |circa |ca |c |over |more than |under |less than "
    r"|at least |at most |up to |[<>]=? ?|from )*"
    + _NUMBER.format(1)
    + rf"(?: ?(?:-|to|\.\.+) ?{_NUMBER.format(2)})?"
    + r" ?(?:\+|or more|and more|plus|and above|or less)?"
)
_NOISE = re.compile(
    r"\b(?:employees|employee|people|staff|persons|fte|ftes|visits|usd|eur|gbp|nok|sek|dkk|chf|inr"
    r"|jpy|cad|aud|pa|per year|a year)\b|[$€£¥₹]|\bca\.|\bapprox\."
)
_PLAIN_INSTANT = r"^(?:19\d\d|20\d\d|21\d\d)-\d\d-\d\d(?:[T ]\d\d:\d\d:\d\d)?$"
_ISO_DATE = re.compile(r"(\d{4})-\d\d-\d\d(?:[T ].*)?")


def wholes(values: pyarrow.Array) -> pyarrow.Array:
    """Whole numbers, 0 or more: the middle of a range, the bound of an open one."""
    return pc.floor(pc.add(reals(values), 0.5)).cast(pyarrow.int64())


def reals(values: pyarrow.Array) -> pyarrow.Array:
    """Numbers, 0 or more: ``$5M``, ``5,000,000``, ``1.2bn``; the middle of a range."""
    # Figures of which there is nothing to tell are most of all values, and all different.
    plain = pc.fill_null(pc.match_substring_regex(values, _PLAIN), fill_value=False)
    nothing = pyarrow.scalar(None, pyarrow.string())
    numbers = pc.if_else(plain, values, nothing).cast(pyarrow.float64())
    others = over_unique(pc.if_else(plain, nothing, values), _real, pyarrow.float64())
    return pc.coalesce(numbers, others)


def years(values: pyarrow.Array) -> pyarrow.Array:
    """Years from 1000 to 2200, also of an ISO date."""
    dates = over_unique(values, lambda text: _ISO_DATE.sub(r"\1", text))
    numbers = wholes(dates)
    plausible = pc.and_(pc.greater_equal(numbers, 1000), pc.less_equal(numbers, 2200))
    return pc.if_else(plausible, numbers, pyarrow.scalar(None, pyarrow.int64()))


def instants(values: pyarrow.Array) -> pyarrow.Array:
    """UTC instants of ISO 8601 dates and times; one without an offset is UTC."""
    try:
        # What Arrow reads itself is most of all values, and all different.
        plain = pc.fill_null(pc.match_substring_regex(values, _PLAIN_INSTANT), fill_value=False)
        nothing = pyarrow.scalar(None, pyarrow.string())
        read = pc.if_else(plain, values, nothing).cast(pyarrow.timestamp("us")).cast(INSTANT)
    except pyarrow.ArrowInvalid:  # a thirteenth month, somewhere
        return over_unique(values, _instant, INSTANT)
    others = over_unique(pc.if_else(plain, nothing, values), _instant, INSTANT)
    return pc.coalesce(read, others)


def _real(text: str) -> float | None:
    """The number that `text` states, if it states one and that is not negative."""
    match = None if len(text) > _LONGEST else _QUANTITY.fullmatch(_simplified(text))
    if match is None:
        return None
    low = _figure(match["figure1"], match["scale1"])
    high = low if match["figure2"] is None else _figure(match["figure2"], match["scale2"])
    if low is None or high is None:
        return None
    scaled = low * _SCALES[match["scale2"] or ""]
    if not match["scale1"] and scaled <= high:  # "$1-5M" states the scale once, for both
        low = scaled
    return (low + high) / 2 if low <= high < _LARGEST else None


def _simplified(text: str) -> str:
    """`text` in lower case, without currencies, units and the many signs of one meaning."""
    plain = unicodedata.normalize("NFKC", text).lower().translate(_SIGNS)
    return " ".join(_NOISE.sub(" ", plain).split())


_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"
_APOSTROPHES = "\u2019`\u00b4"
_SIGNS = str.maketrans(dict.fromkeys(_DASHES, "-") | dict.fromkeys(_APOSTROPHES, "'"))


def _figure(figure: str, scale: str | None) -> float | None:
    """The number, whichever of comma and point marks its decimals and which its thousands."""
    digits = re.sub(r"(?<=\d)[' ](?=\d{3}(?!\d))", "", figure.strip())
    marks = re.findall(r"[.,]", digits)
    if len(set(marks)) == 2:
        digits = digits.replace(marks[0], "")
    elif len(marks) > 1 or (marks and _groups_thousands(digits, marks[0], scale)):
        digits = digits.replace(marks[0], "") if re.match(_GROUPED, digits) else ""
    try:
        number = float(digits.replace(",", "."))
    except ValueError:
        return None
    return number * _SCALES[scale or ""] if math.isfinite(number) else None


_GROUPED = r"\d{1,3}(?:[.,]\d{2,3})*[.,]\d{3}$"  # by twos too, as in India: 12,34,567


def _groups_thousands(digits: str, mark: str, scale: str | None) -> bool:
    """Whether the only mark groups thousands: in ``1.000`` and ``5,000k``, not in ``1.250M``."""
    if not re.fullmatch(r"[1-9]\d{0,2}[.,]\d{3}", digits):
        return False
    return mark == "," or not scale


def _instant(text: str) -> datetime | None:
    try:
        read = datetime.fromisoformat(text)
        moment = read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    # Outside this span it is a slip of the pen, and some databases and frames cannot hold it.
    return moment if 1900 <= moment.year <= 2200 else None
