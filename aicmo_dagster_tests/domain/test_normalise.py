from collections.abc import Callable

import pyarrow
import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import given, settings
from hypothesis import strategies as st

from aicmo_dagster.domain import normalise

Reader = Callable[[pyarrow.Array], pyarrow.Array]


def _one(reader: Reader, value: str | None) -> object:
    return reader(pyarrow.array([value], pyarrow.string())).to_pylist()[0]


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("plain", "plain"),
        ("  two \t  words\r\n", "two words"),
        ("a\u00a0\u2003b", "a b"),
        ("nul\x00 \x07bell", "nul bell"),
        ("a \x00 b", "a b"),
        ("e\u0301", "\u00e9"),
        ("e\x00\u0301", "\u00e9"),
        ("\ufeffAda\u200b", "Ada"),
        (
            "\u0645\u06cc\u200c\u0631\u0648",
            "\u0645\u06cc\u200c\u0631\u0648",
        ),  # a joiner that belongs to the spelling
        (" \u200b\x00 ", None),
        ("", None),
        (None, None),
    ],
)
def test_text_has_one_spelling(given_text: str | None, expected: str | None):
    assert _one(normalise.texts, given_text) == expected


@given(st.text(max_size=20))
def test_clean_text_stays_as_it_is(text: str):
    once = _one(normalise.texts, text)
    assert once is None or _one(normalise.texts, str(once)) == once


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("Ada.Lovelace@ACME.Example", "ada.lovelace@acme.example"),
        ("ok+tag@x.test", "ok+tag@x.test"),
        ("jürgen@müller.de", "jürgen@xn--mller-kva.de"),
        ("A@BÜCHER.example", "a@xn--bcher-kva.example"),
        ("o'neill@x.example", "o'neill@x.example"),
        (f"{'a' * 64}@x.example", f"{'a' * 64}@x.example"),
        (f"{'a' * 65}@x.example", None),
        ("a..b@x.example", None),
        ("a.@x.example", None),
        ("a@-x.example", None),
        ("a@localhost", None),
        ("a@intra.local", None),
        ("@x.example", None),
        ("a@@x.example", None),
        ("Ada <a@x.example>", None),
        ("n/a", None),
        (None, None),
    ],
)
def test_addresses_are_those_that_can_be_written_to(address: str | None, expected: str | None):
    assert _one(normalise.addresses, address) == expected


LABELS = st.text(st.sampled_from("abz09-"), min_size=0, max_size=24)
DOMAINS = st.lists(
    LABELS | st.sampled_from(["example", "local", "arpa", "xn--bcher-kva", "ü"]),
    min_size=1,
    max_size=6,
).map(".".join)
LOCALS = st.text(st.sampled_from("abz09+-_.'é\""), max_size=66)


@settings(max_examples=300)
@given(st.builds("{}@{}".format, LOCALS, DOMAINS))
def test_the_short_cut_for_plain_addresses_judges_as_the_library_does(address: str):
    try:
        found = validate_email(
            address, check_deliverability=False, strict=True, test_environment=True
        )
        expected = f"{found.local_part}@{found.ascii_domain}".lower()
    except EmailNotValidError:
        expected = None
    assert _one(normalise.addresses, address) == expected


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("acme.example", "acme.example"),
        ("https://www.Acme.example/about?x#y", "acme.example"),
        ("http://user:pass@acme.example:8080", "acme.example"),
        ("www.acme.example:8080", "acme.example"),
        ("//acme.example.", "acme.example"),
        ("ada@acme.example", "acme.example"),
        ("Müller.de", "xn--mller-kva.de"),
        ("not a domain", None),
        ("localhost", None),
        ("-", None),
    ],
)
def test_a_domain_is_told_from_whatever_names_it(given_text: str, expected: str | None):
    assert _one(normalise.domains, given_text) == expected


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("https://www.linkedin.com/in/Ada-L/", "https://www.linkedin.com/in/ada-l"),
        ("linkedin.com/in/ada-l?trk=x#y", "https://www.linkedin.com/in/ada-l"),
        ("http://no.linkedin.com/in/j%C3%BCrgen/details", "https://www.linkedin.com/in/jürgen"),
        ("https://linkedin.com/in/jürgen", "https://www.linkedin.com/in/jürgen"),
        ("https://www.linkedin.com/in/a%2Fb", None),
        ("https://www.linkedin.com/in/%FF", None),
        ("https://www.linkedin.com/company/acme", None),
        ("https://evil.example/linkedin.com/in/ada", None),
        ("ada", None),
    ],
)
def test_a_profile_has_one_address(given_text: str, expected: str | None):
    assert _one(normalise.linkedin_urls, given_text) == expected


@pytest.mark.parametrize(
    ("names", "code"),
    [
        ("NO|no|NOR|Norway|Kingdom of Norway|Norge", "NO"),
        ("UK|U.K.|GB|GBR|United Kingdom|Great Britain|England", "GB"),
        ("US|USA|U.S.A.|United States|United States of America|the United States", "US"),
        ("Viet Nam|Vietnam|VN", "VN"),
        ("Korea, South|South Korea|Korea, Republic of|Republic of Korea", "KR"),
        ("Côte d'Ivoire|Cote d\u2019Ivoire|Ivory Coast", "CI"),
        ("Türkiye|Turkey", "TR"),
        ("Bolivia|Bolivia, Plurinational State of", "BO"),
        ("The Netherlands|Holland", "NL"),
        ("Bosnia & Herzegovina|Bosnia and Herzegovina", "BA"),
        ("Russia|Russian Federation", "RU"),
        ("St. Lucia|Saint Lucia", "LC"),
        ("unknown|Asia/Pacific Region|XX|-", None),
    ],
)
def test_countries_are_known_by_what_spreadsheets_call_them(names: str, code: str | None):
    given_names = names.split("|")
    found = normalise.countries(pyarrow.array(given_names)).to_pylist()
    assert dict(zip(given_names, found, strict=True)) == dict.fromkeys(given_names, code)


@pytest.mark.parametrize(
    ("titles", "seniority"),
    [
        ("CEO|C.E.O.|Chief Revenue Officer|President|Managing Director|CISO", "c_suite"),
        ("Vice President, Sales|Vice-President|SVP Marketing|VP", "vp"),
        ("Founder & CEO|Co-Founder|cofounder", "founder"),
        ("Owner|Business Owner|Co-Owner", "owner"),
        ("Partner|Managing Partner", "partner"),
        ("Head of Growth|Global Head", "head"),
        ("Director of IT|Director, Office of the CTO|Account Director", "director"),
        ("Marketing Manager|Partner Manager|Team Lead|International Sales Manager", "manager"),
        ("Senior Engineer|Sr. Developer|Principal Engineer|Lead Developer", "senior"),
        ("Junior Developer|Assistant to the CEO|Executive Assistant|Sales Associate", "entry"),
        ("Intern|Marketing Manager Intern|Trainee", "intern"),
        ("Engineer|Product Owner|HR Business Partner|Chief of Staff|PA to the President", None),
    ],
)
def test_a_title_tells_the_seniority(titles: str, seniority: str | None):
    given_titles = titles.split("|")
    told = normalise.told_seniorities(pyarrow.array(given_titles)).to_pylist()
    assert dict(zip(given_titles, told, strict=True)) == dict.fromkeys(given_titles, seniority)


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [("c_suite", "c_suite"), ("C-Suite", "c_suite"), ("C-level", "c_suite"), ("individual", None)],
)
def test_a_given_seniority_becomes_ours(given_text: str, expected: str | None):
    assert _one(normalise.given_seniorities, given_text) == expected


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [("HubSpot; AWS,react|aws", "aws;hubspot;react"), (" ; ", None), (None, None)],
)
def test_technologies_are_a_sorted_set(given_text: str | None, expected: str | None):
    assert _one(normalise.technologies, given_text) == expected


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("Europe/Oslo", "Europe/Oslo"),
        ("america/new york", "America/New_York"),
        ("UTC", "UTC"),
        ("localtime", None),
        ("Mars/Olympus", None),
    ],
)
def test_zones_are_those_of_iana(given_text: str, expected: str | None):
    assert _one(normalise.zones, given_text) == expected
