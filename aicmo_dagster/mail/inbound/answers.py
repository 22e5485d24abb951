"""What people and their machines answer: automatic replies, absences, objections, human words.

Automatic by RFC 3834 and what is commonly used beside it. Not here: bounces and complaints, which
come first (`recognition`).
"""

import re
from datetime import date, timedelta

from mailparser_reply import EmailReplyParser

from aicmo_dagster.mail.inbound.reading import Reading

_LANGUAGES = ["en", "de", "fr", "es", "it", "nl", "da", "sv", "no", "pl"]
_MOST_CHARACTERS = 20_000
_MOST_WORDS = 40
"""How far into a reply an objection is looked for: below stand signatures and other people."""

_AUTOMATIC_HEADERS = ("X-Autoreply", "X-Autorespond", "X-Autoresponder", "X-AutoReply-From")
_AUTOMATIC_SUBJECT = re.compile(
    r"^\W*(auto(matic|mated|matisk|matische|matisches?)?[- :]?(re(ply|sponse)|antwort|svar|"
    r"answer)|automatische antwort|out of (the )?office|ooo\b|on (vacation|holiday|leave)|"
    r"away from (the )?office|abwesen|r[eé]ponse automatique|absence|respuesta autom[aá]tica|"
    r"fuera de la oficina|risposta automatica|assente|automatisch antwoord|afwezig|frav[aæ]r|"
    r"frånvar|autosvar|autoreply|resposta autom[aá]tica|automatyczna odpowied)",
    re.IGNORECASE,
)
_ABSENT = re.compile(
    r"out of (the )?office|(on|am on) (annual |parental |sick )?(leave|vacation|holiday)|"
    r"away (from|until)|abwesen|nicht im (b[uü]ro|hause)|urlaub|absent|en cong[eé]s?|vacaciones|"
    r"fuera de la oficina|ferie|frav[aæ]r|frånvar|semester|permisjon|afwezig|vakantie|ooo\b|"
    r"return(ing)? (on|to)|be back|zur[uü]ck|de retour|tilbake|tillbaka|terug",
    re.IGNORECASE,
)
_OBJECTION = re.compile(
    r"\bunsubscribe\b|\bremove (me|us|my|this|our)\b|\btake (me|us|my \w+) off\b|\bopt(ing)?[- ]?"
    r"(me )?out\b|\bstop (e-?mail|contact|writ|send|messag|spam)|\b(do not|don'?t|never) "
    r"(e-?mail|contact|write|message)\b|\bno more (e-?mails?|messages?)\b|\bdelete my "
    r"(address|e-?mail|data|details)|\babmelden\b|\baustragen\b|\bkeine weiteren (e-?mails|mails|"
    r"nachrichten)|d[eé](sabonn|sinscri)|\bne plus recevoir|\bdar(me|se) de baja|\bdisiscriv|"
    r"\bcancellami|\bavregistrer|\bmeld meg av\b|\bavmeld|\bafmelden\b|\buitschrijven|"
    r"\bta bort mig|\bavprenumerera|\bfjern meg\b|\bafmeld mig",
    re.IGNORECASE,
)
_NOT_MEANT = re.compile(
    r"\b(do not|don'?t|never|not) (unsubscribe|remove|take me off|opt)|"
    r"\b(to|you can|may) unsubscribe|\bunsubscribe (here|link|from our)",
    re.IGNORECASE,
)
_STOP_ALONE = re.compile(r"^\W*(stop|unsubscribe|remove|abmelden|stopp)\W*$", re.IGNORECASE)

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "jan january januar janvier enero gennaio januari",
            "feb february februar février fevrier febrero febbraio februari",
            "mar march märz maerz mars marzo maart marts",
            "apr april avril abril aprile",
            "may mai mayo maggio mei maj",
            "jun june juni juin junio giugno",
            "jul july juli juillet julio luglio",
            "aug august août aout agosto augustus augusti",
            "sep sept september septembre septiembre settembre",
            "oct october oktober octobre octubre ottobre okt",
            "nov november novembre noviembre",
            "dec december dezember décembre diciembre dicembre des desember",
        ),
        start=1,
    )
    for name in names.split()
}
_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))
_DATES = (
    re.compile(r"\b(?P<year>20\d\d)-(?P<month>\d\d?)-(?P<day>\d\d?)\b"),
    re.compile(r"\b(?P<day>\d\d?)\. ?(?P<month>\d\d?)\.(?: ?(?P<year>20\d\d))?"),
    re.compile(
        rf"\b(?P<day>\d\d?)(?:st|nd|rd|th|\.|er)?(?: of| de)? (?P<month>{_MONTH})\b\.?,?"
        r"(?:(?: de)? (?P<year>20\d\d))?",
        re.IGNORECASE,
    ),
    re.compile(
        rf"\b(?P<month>{_MONTH})\.? (?P<day>\d\d?)(?:st|nd|rd|th)?\b,?(?: (?P<year>20\d\d))?",
        re.IGNORECASE,
    ),
)
_LONGEST_ABSENCE = timedelta(days=400)
_PAST = timedelta(days=45)
"""A day without a year that is longer ago than this is next year's."""


def is_automatic(reading: Reading) -> bool:
    """Whether no person wrote this (RFC 3834, section 5).

    `X-Auto-Response-Suppress` and `Precedence: bulk` alone say nothing: people's mail has them.
    """
    submitted = reading.header("Auto-Submitted").partition(";")[0].strip().lower()
    if submitted:
        return submitted != "no"
    if any(reading.header(name) for name in _AUTOMATIC_HEADERS):
        return True
    if reading.header("Precedence").lower() in ("auto_reply", "auto-reply"):
        return True
    if reading.header("X-Apple-Action").lower() == "vacation":
        return True
    if reading.header("Return-Path") == "<>":
        return True
    return bool(_AUTOMATIC_SUBJECT.search(reading.header("Subject")))


def is_absence(reading: Reading) -> bool:
    """Whether an automatic answer says that someone is away."""
    return bool(_ABSENT.search(f"{reading.header('Subject')}\n{human_text(reading)}"))


def returns_on(reading: Reading, today: date) -> date | None:
    """The last day to come that an absence names, which is when the person is back."""
    text = f"{reading.header('Subject')}\n{human_text(reading)}"
    named = (_day(found, today) for pattern in _DATES for found in pattern.finditer(text))
    coming = [day for day in named if day and today < day <= today + _LONGEST_ABSENCE]
    return max(coming, default=None)


def human_text(reading: Reading) -> str:
    """What was written anew, without quoted messages; headers and signatures may remain."""
    text = reading.text[:_MOST_CHARACTERS]
    if not text.strip():
        return ""
    try:
        found = EmailReplyParser(languages=_LANGUAGES).parse_reply(text=text)
    except (RecursionError, ValueError, IndexError, AttributeError, TypeError):
        found = None
    return (found or "").strip()


def objects(reading: Reading) -> bool:
    """Whether a person asks in words to be left alone."""
    if _STOP_ALONE.match(reading.header("Subject").partition(" ")[0]) and not reading.header(
        "In-Reply-To"
    ):
        return True
    words = human_text(reading).split()[:_MOST_WORDS]
    text = " ".join(word for word in words if "://" not in word)
    if _STOP_ALONE.match(text):
        return True
    return bool(_OBJECTION.search(text)) and not _NOT_MEANT.search(text)


def _day(found: re.Match[str], today: date) -> date | None:
    """The day that a match names."""
    month = found["month"].lower()
    number = _MONTHS.get(month) or int(month)
    try:
        if found["year"]:
            return date(int(found["year"]), number, int(found["day"]))
        this_year = date(today.year, number, int(found["day"]))
        long_past = this_year < today - _PAST
        return this_year.replace(year=today.year + 1) if long_past else this_year
    except ValueError:
        return None
