import pytest

from aicmo_dagster.mail.inbound.status import failure_of


@pytest.mark.parametrize("code", ["5.1.1", "5.1.3", "5.1.6", "5.2.1", "5.7.13", "5.7.17"])
def test_an_address_is_dead_at_the_first_of_these_codes(code: str) -> None:
    assert failure_of(code, "") == "dead_address"


@pytest.mark.parametrize("code", ["5.1.2", "5.1.10", "5.4.4", "5.7.18"])
def test_a_domain_is_dead_at_these(code: str) -> None:
    assert failure_of(code, "") == "dead_domain"


@pytest.mark.parametrize("code", ["4.2.2", "4.4.7", "4.7.1", "5.2.2", "5.2.3", "5.4.7"])
def test_what_may_pass_is_soft(code: str) -> None:
    assert failure_of(code, "user unknown") == "soft"


@pytest.mark.parametrize(
    "code", ["5.7.1", "5.7.8", "5.7.20", "5.7.26", "5.7.27", "5.7.515", "5.1.7", "5.1.8"]
)
def test_what_is_about_us_costs_no_lead_its_address(code: str) -> None:
    """Whatever words stand beside it."""
    assert failure_of(code, "user unknown, mailbox does not exist") == "sender"


@pytest.mark.parametrize("code", ["5.3.4", "5.5.2", "5.6.1", "5.4.6"])
def test_what_is_about_the_message_costs_no_lead_its_address(code: str) -> None:
    assert failure_of(code, "") == "message"


@pytest.mark.parametrize(
    ("status", "words", "expected"),
    [
        ("5.1.0", "Address rejected", "soft"),
        ("5.1.0", "550 no such user here", "dead_address"),
        ("5.4.1", "Recipient address rejected: Access denied", "dead_address"),
        ("5.4.1", "no answer from host", "soft"),
        ("5.0.0", "550 5.1.1 User unknown", "dead_address"),
        ("5.0.0", "550-5.7.1 Our system has detected unsolicited mail", "sender"),
        ("5.0.0", "(recipient reached disk quota)", "soft"),
        ("", "The mailbox is full", "soft"),
        ("", "Sorry, no mailbox here by that name", "dead_address"),
        ("", "unknown user account", "dead_address"),
        ("", "Host not found", "dead_domain"),
        ("", "blocked by our spam policy", "sender"),
        ("", "message too large", "message"),
        ("", "it did not work out", "soft"),
    ],
)
def test_words_tell_where_the_code_does_not(status: str, words: str, expected: str) -> None:
    assert failure_of(status, words) == expected


def test_a_version_or_an_address_is_no_code() -> None:
    assert failure_of("", "Exim 5.1.1.2 at 15.1.1.7") == "soft"
