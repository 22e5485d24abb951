import pytest

from aicmo_dagster.mail.replies import judged, without_recipient


@pytest.mark.parametrize(
    ("code", "words", "state", "fault"),
    [
        (250, "2.1.5 ok", "accepted", None),
        (550, "5.1.1 unknown", "rejected", "address"),
        (550, "5.1.3 bad syntax", "rejected", "address"),
        (550, "5.1.6 moved", "rejected", "address"),
        (550, "5.2.1 disabled", "rejected", "address"),
        (550, "5.7.13 Account disabled", "rejected", "address"),
        (550, "5.7.17 owner changed", "rejected", "address"),
        (550, "5.1.0 no such user", "rejected", "address"),
        (550, "5.1.0 rejected", "rejected", "lead"),
        (550, "5.4.1 Recipient address rejected: Access denied", "rejected", "address"),
        (550, "5.4.1 no answer from host", "rejected", "lead"),
        (550, "5.1.2 no such domain", "rejected", "domain"),
        (556, "5.1.10 null MX", "rejected", "domain"),
        (550, "5.4.4 unable to route", "rejected", "domain"),
        (550, "5.7.18 domain owner changed", "rejected", "domain"),
        (452, "4.2.2 full", "deferred", "lead"),
        (552, "5.2.2 full", "deferred", "lead"),
        (552, "5.2.3 too long for the mailbox", "deferred", "lead"),
        (554, "5.4.7 expired", "deferred", "lead"),
        (450, "4.7.1 Greylisted, see you later", "deferred", "lead"),
        (421, "4.7.28 unusual rate of mail", "deferred", "sender"),
        (550, "5.1.8 bad sender domain", "deferred", "sender"),
        (550, "5.7.1 Blocked by policy", "deferred", "sender"),
        (550, "5.7.26 unauthenticated", "deferred", "sender"),
        (550, "5.7.515 access denied", "deferred", "sender"),
        (552, "5.3.4 too big", "deferred", "message"),
        (554, "5.6.0 malformed", "deferred", "message"),
        (554, "5.5.2 syntax", "deferred", "message"),
        (554, "5.4.6 loop", "deferred", "message"),
        (550, "see 5.7.1 of the manual", "rejected", "lead"),
        (550, "No such user here", "rejected", "address"),
        (550, "User unknown", "rejected", "address"),
        (554, "message refused as spam", "deferred", "sender"),
        (550, "rejected due to local policy", "deferred", "sender"),
        (554, "transaction failed", "rejected", "lead"),
        (503, "bad sequence", "deferred", "sender"),
        (535, "who are you", "deferred", "sender"),
        (-1, "", "unknown", None),
        (354, "go on", "unknown", None),
    ],
)
def test_a_reply_says_what_to_do_and_whose_fault_it_is(
    code: int, words: str, state: str, fault: str | None
) -> None:
    assert judged(code, words) == (state, fault)


def test_a_reply_is_one_line_of_bounded_length() -> None:
    reply = without_recipient(550, "no\r\n\x00such user jo " * 200, "jo@lead.example")

    assert reply.startswith("550 no such user [recipient] no such")
    assert len(reply) <= 500
