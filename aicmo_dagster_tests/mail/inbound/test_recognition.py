"""What messages are recognised as: by the rules one by one, by real mail, and by broken mail."""

import random
from datetime import date
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicmo_dagster.mail.inbound.answers import human_text
from aicmo_dagster.mail.inbound.reading import LARGEST, read
from aicmo_dagster.mail.inbound.recognition import Kind, recognise
from aicmo_dagster_tests.mail.inbound.letters import LEAD, OURS, complaint, letter, report

TODAY = date(2026, 3, 4)
SHARED = Path(__file__).parents[4] / "shared" / "data"
here = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data is not beside this checkout")

NOT_BOUNCES = {"groupwise_03.txt": "reply", "qmail_08.txt": "auto_reply"}
"""Messages of the collection that are no bounces: a person's answer, and an automatic one."""

HUMAN_PARTS = {
    "email_1_2.txt": "Hi,",
    "email_1_3.txt": "Oh thanks.",
    "email_1_4.txt": "Awesome! I haven't had another problem with it.",
    "email_1_5.txt": "One: Here's what I've got.",
    "email_1_6.txt": "I get proper rendering as well.",
    "email_1_7.txt": ":+1:",
    "email_2_1.txt": "Outlook with a reply",
    "email_2_2.txt": "Outlook with a reply directly above line",
    "email_2_3.txt": "Outlook with a reply above headers using unusual format",
    "email_BlackBerry.txt": "Here is another email",
    "email_bullets.txt": "test 2 this should list second",
    "email_gmail.txt": "This is a test for inbox replying to a github message.",
    "email_headers_no_delimiter.txt": "And another reply!",
    "email_iPhone.txt": "Here is another email",
    "email_multi_word_sent_from_my_mobile_device.txt": "Here is another email",
    "email_one_is_not_on.txt": "Thank, this is really helpful.",
    "email_partial_quote_header.txt": "On your remote host you can run:",
    "email_sent_from_my_not_signature.txt": "Here is another email",
    "email_sig_delimiter_in_middle_of_line.txt": "Hi there!",
    "greedy_on.txt": "On your remote host you can run:",
    "pathological.txt": "I think you're onto something. I will try to fix the problem as soon as I",
    "correct_sig.txt": "this is an email with a correct -- signature.",
    "email_1_1.txt": "Hi folks",
}
"""The first line that a person wrote anew in each reply."""

QUOTED = {
    "email_1_3.txt": "Hi folks",
    "email_1_7.txt": "Steps 0-2",
    "email_2_1.txt": "Bounced",
    "email_gmail.txt": "That way people",
    "email_headers_no_delimiter.txt": "A reply",
    "email_one_is_not_on.txt": "The good news",
    "pathological.txt": "reference sequence",
}


def kind_of(content: bytes) -> str:
    return recognise(content, TODAY).kind


@here
def test_of_the_real_bounces_at_most_one_in_fifty_is_not_recognised() -> None:
    files = sorted((SHARED / "bounces").glob("*.txt"))
    found = {path.name: recognise(path.read_bytes(), TODAY) for path in files}
    bounces = {name: said for name, said in found.items() if name not in NOT_BOUNCES}

    unknown = [name for name, said in bounces.items() if said.kind != "bounce"]

    assert len(bounces) == 115
    assert len(unknown) / len(bounces) <= 0.02
    assert {name: found[name].kind for name in NOT_BOUNCES} == NOT_BOUNCES


@here
@pytest.mark.parametrize(
    ("name", "failure"),
    [
        ("dsn_01", "soft"),  # over its quota
        ("dsn_03", "message"),  # too large
        ("dsn_05", "delayed"),
        ("dsn_11", "dead_address"),
        ("dsn_14", "dead_address"),
        ("dsn_16", "dead_address"),
        ("dsn_17", "delayed"),
        ("exim_01", "dead_address"),
        ("postfix_02", "dead_domain"),
        ("qmail_02", "soft"),  # its folder is full
        ("sendmail_01", "message"),  # too many hops
        ("simple_13", "dead_address"),  # in French
        ("simple_21", "delayed"),
        ("simple_39", "dead_address"),  # in Russian
        ("simple_42", "sender"),  # 5.7.1 under a status of 5.0.0
        ("yahoo_01", "soft"),  # no connection
    ],
)
def test_real_bounces_say_what_a_reader_finds_in_them(name: str, failure: str) -> None:
    said = recognise((SHARED / "bounces" / f"{name}.txt").read_bytes(), TODAY)

    assert {bounce.failure for bounce in said.bounces} == {failure}


@here
def test_the_human_part_of_real_replies_is_found() -> None:
    for name, first in HUMAN_PARTS.items():
        written = (SHARED / "replies" / name).read_text(encoding="utf-8")
        said = recognise(letter(written, In_Reply_To=OURS), TODAY)

        assert said.kind == "reply", name
        assert said.text.splitlines()[0].strip() == first, name
        assert QUOTED.get(name, "\0") not in said.text, name


def test_a_bounce_comes_before_an_automatic_reply() -> None:
    """RFC 3834 allows a bounce to call itself one."""
    assert kind_of(report(headers="Auto-Submitted: auto-replied\r\n")) == "bounce"


def test_a_bounce_names_its_status_its_address_and_our_message() -> None:
    said = recognise(report("5.2.2", diagnostic="552 mailbox full"), TODAY)

    (bounce,) = said.bounces
    assert (bounce.failure, bounce.status, bounce.address) == ("soft", "5.2.2", LEAD)
    assert said.traces.message_ids == (OURS,)


@pytest.mark.parametrize("action", ["delayed", "Delayed (will retry)"])
def test_a_delay_is_no_failure(action: str) -> None:
    (bounce,) = recognise(report("4.4.1", action=action), TODAY).bounces

    assert bounce.failure == "delayed"


def test_a_notice_of_success_is_no_bounce() -> None:
    assert recognise(report("2.0.0", action="delivered"), TODAY).bounces == ()


def test_a_complaint_is_recognised_though_its_recipient_is_blackened() -> None:
    said = recognise(complaint(), TODAY)

    assert (said.kind, said.feedback) == ("complaint", "abuse")
    assert said.traces.message_ids == (OURS,)
    assert kind_of(complaint(kind="not-spam")) != "complaint"


@pytest.mark.parametrize(
    "headers",
    [
        {"Auto_Submitted": "auto-replied"},
        {"Auto_Submitted": "auto-generated; x=y"},
        {"X_Autoreply": "yes"},
        {"X_Autorespond": "1"},
        {"Precedence": "auto_reply"},
        {"X_Apple_Action": "vacation"},
        {"Return_Path": "<>"},
        {"Subject": "Automatic reply: Hello"},
        {"Subject": "Réponse automatique : Hello"},
        {"Subject": "Automatische Antwort: Hallo"},
    ],
)
def test_an_automatic_reply_is_no_person_s(headers: dict[str, str]) -> None:
    assert kind_of(letter("We got your message.", **headers)) == "auto_reply"


@pytest.mark.parametrize(
    "headers",
    [
        {"Auto_Submitted": "no"},
        {"X_Auto_Response_Suppress": "All"},
        {"Precedence": "bulk"},
        {"Precedence": "list"},
        {"Return_Path": "<ann@company1.example>"},
    ],
)
def test_what_only_asks_not_to_be_answered_is_a_person_s(headers: dict[str, str]) -> None:
    assert kind_of(letter(**headers)) == "reply"


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("I am out of the office until 12 March 2026.", date(2026, 3, 12)),
        ("I am on leave from March 2nd to March 16th.", date(2026, 3, 16)),
        ("Ich bin bis zum 20.03.2026 nicht im Büro.", date(2026, 3, 20)),
        ("Ich bin im Urlaub und ab 7. April zurück.", date(2026, 4, 7)),
        ("Je suis en congé jusqu'au 1er avril 2026", date(2026, 4, 1)),
        ("Away until 2026-05-01", date(2026, 5, 1)),
        ("Jeg er tilbake 3. januar.", date(2027, 1, 3)),
        ("I am out of the office. Call me.", None),
        ("I am out of the office until 30 February 2026.", None),
        ("I was out of the office until 1 March 2025", None),
    ],
)
def test_an_absence_names_the_day_of_the_return(text: str, day: date | None) -> None:
    said = recognise(letter(text, Auto_Submitted="auto-replied"), TODAY)

    assert (said.kind, said.returns_on) == ("out_of_office", day)


@pytest.mark.parametrize(
    "text",
    [
        "unsubscribe",
        "STOP",
        "Please remove me from your list.",
        "Take me off this list!",
        "Stop emailing me",
        "I'd like to opt out, thanks",
        "Bitte keine weiteren E-Mails.",
        "Merci de me désabonner",
        "Vennligst meld meg av",
    ],
)
def test_an_objection_in_words_is_one(text: str) -> None:
    assert kind_of(letter(text)) == "objection"
    assert kind_of(letter(f"{text}\n\nOn Mon, Ida wrote:\n> Hello")) == "objection"


@pytest.mark.parametrize(
    "text",
    [
        "Sounds good, let us talk about how to stop churn.",
        "Please don't remove me, I am interested",
        "Yes!\n\nOn Mon, 2 Mar 2026 at 10:00, Ida Berg <ida@acme.example> wrote:\n> Unsubscribe",
        "Let us meet. " + "We have much to say about this. " * 20 + "To unsubscribe, click here.",
    ],
)
def test_the_same_words_elsewhere_are_no_objection(text: str) -> None:
    assert kind_of(letter(text)) == "reply"


def test_an_objection_by_subject_is_one_as_mail_programs_send_it() -> None:
    assert kind_of(letter("", Subject="unsubscribe")) == "objection"
    assert kind_of(letter("Yes, gladly", Subject="Re: unsubscribe rates", In_Reply_To=OURS)) == (
        "reply"
    )


def test_a_person_s_answer_about_deliveries_is_no_bounce() -> None:
    text = "The user was not found in our system, so the delivery failed. Can you help?"

    assert kind_of(letter(text, Subject="Re: Delivery failed", In_Reply_To=OURS)) == "reply"


def test_what_of_ours_is_quoted_is_found_wherever_it_stands() -> None:
    tag = OURS[1:33]
    for content in (
        letter(In_Reply_To=OURS),
        letter(References=f"<a@b> {OURS}"),
        letter(To=f"ida+{tag}@acme.example"),
        letter(f"> Message-ID: {OURS}"),
        report(),
    ):
        assert recognise(content, TODAY).traces.message_ids == (OURS,)
    assert recognise(letter(), TODAY).traces.message_ids == ()


def test_html_alone_is_read_as_text() -> None:
    html = b"From: a@b.example\r\nContent-Type: text/html\r\n\r\n<p>Remove <b>me</b></p>"

    assert human_text(read(html)) == "Remove me"


BROKEN = {
    "nothing": b"",
    "no headers": b"\r\n\r\nhello",
    "a boundary that never comes": b'Content-Type: multipart/mixed; boundary="x"\r\n\r\ntext',
    "an empty boundary": b'Content-Type: multipart/mixed; boundary=""\r\n\r\n--\r\n',
    "an unknown charset": b"Content-Type: text/plain; charset=x-none\r\n\r\n\xff\xfe",
    "a charset that is no name": b'Content-Type: text/plain; charset="\x00"\r\n\r\nx',
    "broken base64": b"Content-Transfer-Encoding: base64\r\n\r\n=A=B===",
    "an unknown encoding": b"Content-Transfer-Encoding: uuencode\r\n\r\nbegin 666\r\nx",
    "a broken encoded word": b"Subject: =?utf-8?b?!!!?= =?x?q?=zz?=\r\n\r\n",
    "bytes in headers": b"From: \xff\xfe <\xff@\xfe>\r\nSubject: \xff\r\n\r\n",
    "NUL": b"From: a\x00@b\r\n\r\n\x00",
    "a deep nest": b"".join(
        b"Content-Type: multipart/mixed; boundary=%d\r\n\r\n--%d\r\n" % (n, n) for n in range(3000)
    ),
    "many parts": b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + b"--x\r\n\r\na\r\n" * 5000,
    "a very long line": b"Subject: " + b"a" * 3_000_000 + b"\r\n\r\n",
    "a status that is none": report("five"),
    "many references": b"References: " + b"<a@b> " * 50_000 + b"\r\n\r\n",
    "dates that are none": letter("until 99.99.2026 and 31 February", X_Autoreply="1"),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_broken_mail_is_recognised_as_something(content: bytes) -> None:
    assert kind_of(content) in ("reply", "auto_reply", "bounce", "out_of_office")


def test_of_a_huge_message_only_the_beginning_is_read() -> None:
    content = letter("Remove me") + b"x" * (LARGEST + 1000)

    assert kind_of(content) == "objection"


KINDS = get_args(Kind)
WHOLE = [letter(In_Reply_To=OURS), report(), complaint(), letter("x", X_Autoreply="yes")]


@settings(max_examples=75, deadline=None)
@given(st.sampled_from(WHOLE), st.data())
def test_cut_and_altered_mail_never_breaks_anything(whole: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(whole)))
    at = data.draw(st.integers(0, len(whole)))
    put = data.draw(st.binary(max_size=20))

    assert kind_of(whole[:cut]) in KINDS
    assert kind_of(whole[:at] + put + whole[at + len(put) :]) in KINDS


@here
def test_cut_and_altered_real_mail_never_breaks_anything() -> None:
    chance = random.Random(7)
    for path in sorted((SHARED / "bounces").glob("*.txt")):
        whole = path.read_bytes()
        assert kind_of(whole[: chance.randrange(len(whole))]) in KINDS
        altered = bytearray(whole)
        for _ in range(30):
            altered[chance.randrange(len(altered))] = chance.randrange(256)
        assert kind_of(bytes(altered)) in KINDS
