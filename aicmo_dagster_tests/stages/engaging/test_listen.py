"""Inbound mail and its consequences, from a Maildir on a disk."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from aicmo_dagster.domain.tokens import address_key, message_id, unsubscribe_token
from aicmo_dagster.errors import AicmoError
from aicmo_dagster.stages.deciding.qualify import qualify_leads
from aicmo_dagster.stages.deciding.route import route_leads
from aicmo_dagster.stages.deciding.score import score_leads
from aicmo_dagster.stages.engaging.listen import listen
from aicmo_dagster.stages.engaging.record import unsubscribe
from aicmo_dagster.stages.harvesting.harvest import harvest
from aicmo_dagster.stages.nurturing.nurture import nurture
from aicmo_dagster.stages.report import Report
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.events import events_of_kind, events_of_lead
from aicmo_dagster.store.frames import read_frame
from aicmo_dagster.store.ledger import sends_of_lead
from aicmo_dagster.store.suppressions import suppressed
from aicmo_dagster.store.tables import FRAME_TABLES, agenda, enrolments, nurture_sends
from aicmo_dagster_tests.mail.inbound.letters import OURS, complaint, letter, report
from aicmo_dagster_tests.samples import NOON, SECRET, campaign_document
from aicmo_dagster_tests.workspaces import apply

DAY = timedelta(days=1)
STEPS = [
    {"id": "intro", "subject": "Hello", "body": "Good day."},
    {"id": "nudge", "wait": {"days": 2}, "body": "Did you see it?"},
]
ADDRESS = "lead1@company1.example"


def prepare(workspace: Workspace, _: pytest.FixtureRequest) -> None:
    """Two leads of the campaign `spring` got their first message."""
    for folder in ("new", "cur", "tmp"):
        (workspace.settings.home / "Maildir" / folder).mkdir(parents=True)
    apply(workspace, "spring", 2, sequences={"everyone": {"steps": STEPS}})
    for stage in (harvest, score_leads, qualify_leads, route_leads):
        stage(workspace, "spring", NOON)
    nurture(workspace, "spring", lambda: NOON)


@pytest.fixture
def workspace(prepared_workspace: Workspace) -> Workspace:
    """One that listens to a Maildir of its own."""
    settings = prepared_workspace.settings
    listening = replace(settings, inbound_url=f"maildir:{settings.home / 'Maildir'}")
    return replace(prepared_workspace, settings=listening)


def lead(workspace: Workspace, address: str = ADDRESS) -> str:
    with workspace.database.read() as connection:
        leads = read_frame(connection, "raw_leads", "spring", ["lead_id", "email"])
    return str(leads.loc[leads["email"] == address, "lead_id"].iloc[0])


def sent_id(workspace: Workspace, address: str = ADDRESS) -> str:
    return message_id(SECRET, "spring", lead(workspace, address), "intro", "acme.example")


def put(workspace: Workspace, content: bytes, name: str = "1.a.host", folder: str = "new") -> Path:
    path = workspace.settings.home / "Maildir" / folder / name
    path.write_bytes(content)
    return path


def heard(workspace: Workspace, *contents: bytes, days: float = 1) -> Report:
    for number, content in enumerate(contents):
        put(workspace, content, f"{int(days * 86_400) + number}.{number}.host")
    return listen(workspace, NOON + days * DAY)


def kinds(workspace: Workspace) -> list[str]:
    with workspace.database.read() as connection:
        return [each["kind"] for each in events_of_lead(connection, "spring", lead(workspace))]


def detail(workspace: Workspace) -> dict[str, Any]:
    with workspace.database.read() as connection:
        return events_of_lead(connection, "spring", lead(workspace))[-1]["detail"]


def is_suppressed(workspace: Workspace, address: str = ADDRESS) -> bool:
    with workspace.database.read() as connection:
        return bool(suppressed(connection, [address_key(SECRET, address)]))


def nobody_is_suppressed(workspace: Workspace) -> bool:
    return not any(is_suppressed(workspace, f"lead{n}@company{n}.example") for n in (1, 2))


def test_a_hard_bounce_suppresses_the_address_for_ever(workspace: Workspace) -> None:
    heard(workspace, report(about=sent_id(workspace)))

    assert kinds(workspace) == ["bounce"]
    assert is_suppressed(workspace)
    assert not is_suppressed(workspace, "lead2@company2.example")


MOVED = "ann@elsewhere.example"


def move(workspace: Workspace) -> str:
    """The lead has another address since it was written to; tells its id."""
    lead_id, leads = lead(workspace), FRAME_TABLES["raw_leads"]
    with workspace.database.write() as connection:
        connection.execute(sa.update(leads).where(leads.c.lead_id == lead_id).values(email=MOVED))
    return lead_id


def test_a_bounce_suppresses_the_address_written_to_and_not_the_one_the_lead_has_now(
    workspace: Workspace,
) -> None:
    about = sent_id(workspace)
    lead_id = move(workspace)
    heard(workspace, report(about=about))
    nurture(workspace, "spring", lambda: NOON + 3 * DAY)

    assert is_suppressed(workspace)
    assert not is_suppressed(workspace, MOVED)
    with workspace.database.read() as connection:
        told = [each["kind"] for each in events_of_lead(connection, "spring", lead_id)]
        states = [each["state"] for each in sends_of_lead(connection, "spring", lead_id)]
    assert told == ["former_bounce"]
    assert states == ["accepted", "accepted"]


def test_complaining_and_unsubscribing_suppress_the_address_written_to(
    workspace: Workspace,
) -> None:
    about, other = sent_id(workspace), lead(workspace, "lead2@company2.example")
    lead_id = move(workspace)
    heard(workspace, complaint(about))
    leads = FRAME_TABLES["raw_leads"]
    with workspace.database.write() as connection:
        connection.execute(
            sa.update(leads).where(leads.c.lead_id == other).values(email="b@elsewhere.example")
        )
        unsubscribe(connection, SECRET, "spring", other, scope="everything", now=NOON)
    nurture(workspace, "spring", lambda: NOON + 3 * DAY)

    assert is_suppressed(workspace)
    assert is_suppressed(workspace, "lead2@company2.example")
    assert not is_suppressed(workspace, MOVED)
    with workspace.database.read() as connection:
        for each in (lead_id, other):
            states = [row["state"] for row in sends_of_lead(connection, "spring", each)]
            assert states == ["accepted", "cancelled"]


def test_a_bounce_that_quotes_nothing_of_ours_suppresses_nobody(workspace: Workspace) -> None:
    """Anyone can write that an address does not exist."""
    forged = message_id(b"another key", "spring", lead(workspace), "intro", "acme.example")
    outcome = heard(workspace, report(), report(about=forged), complaint(), complaint(forged))

    assert kinds(workspace) == []
    assert nobody_is_suppressed(workspace)
    assert outcome.figures == {"bounce": 2, "complaint": 2}


def test_a_bounce_that_quotes_nothing_is_proven_by_the_tag_of_whom_it_goes_to(
    workspace: Workspace,
) -> None:
    tag = sent_id(workspace)[1:33]
    bounce = report().replace(b"To: ida@acme", f"To: ida+{tag}@acme".encode())
    heard(workspace, bounce)

    assert kinds(workspace) == ["bounce"]
    assert is_suppressed(workspace)


@pytest.mark.parametrize(
    ("status", "kind"), [("5.7.1", "blocked"), ("5.3.4", "refused"), ("4.2.2", "soft_bounce")]
)
def test_what_is_not_the_address_s_fault_is_only_recorded(
    workspace: Workspace, status: str, kind: str
) -> None:
    heard(workspace, report(status, about=sent_id(workspace)))

    assert kinds(workspace) == [kind]
    assert nobody_is_suppressed(workspace)


def test_a_delay_is_only_recorded(workspace: Workspace) -> None:
    heard(workspace, report("4.4.1", action="delayed", about=sent_id(workspace)))

    assert kinds(workspace) == ["delayed"]


def soft(workspace: Workspace, number: int) -> bytes:
    return report("4.2.2", about=sent_id(workspace), headers=f"X-Number: {number}\r\n")


def test_an_address_that_fails_softly_three_times_over_a_week_is_given_up(
    workspace: Workspace,
) -> None:
    for number, days in enumerate((1, 5, 8)):
        assert nobody_is_suppressed(workspace)
        heard(workspace, soft(workspace, number), days=days)

    assert kinds(workspace) == ["soft_bounce"] * 3 + ["bounce"]
    assert is_suppressed(workspace)


def test_three_soft_failures_within_a_week_are_not_enough(workspace: Workspace) -> None:
    for number, days in enumerate((1, 2, 7.9)):
        heard(workspace, soft(workspace, number), days=days)

    assert nobody_is_suppressed(workspace)


def test_a_complaint_suppresses_at_once(workspace: Workspace) -> None:
    heard(workspace, complaint(sent_id(workspace)))

    assert kinds(workspace) == ["complaint"]
    assert is_suppressed(workspace)


def test_a_reply_stops_the_sequence(workspace: Workspace) -> None:
    heard(workspace, letter(In_Reply_To=sent_id(workspace), From="other@elsewhere.example"))
    nurture(workspace, "spring", lambda: NOON + 3 * DAY)

    assert kinds(workspace) == ["reply"]
    assert detail(workspace) == {"matched_by": "reference", "text": "Sounds good, call me."}
    with workspace.database.read() as connection:
        states = [each["state"] for each in sends_of_lead(connection, "spring", lead(workspace))]
    assert states == ["accepted", "cancelled"]
    assert nobody_is_suppressed(workspace)


def test_a_reply_is_matched_by_the_tag_of_the_address_it_goes_to(workspace: Workspace) -> None:
    tag = sent_id(workspace)[1:33]
    heard(workspace, letter(To=f"ida+{tag}@acme.example", From="x@elsewhere.example"))

    assert kinds(workspace) == ["reply"]


def test_a_reply_is_matched_by_a_token_in_what_it_quotes(workspace: Workspace) -> None:
    token = unsubscribe_token(SECRET, "spring", lead(workspace))
    text = f"Yes.\n\nOn Mon, Ida wrote:\n> http://127.0.0.1:8000/u/{token}"
    heard(workspace, letter(text, From="x@elsewhere.example"))

    assert kinds(workspace) == ["reply"]


def test_a_reply_is_matched_by_address_last(workspace: Workspace) -> None:
    heard(workspace, letter())

    assert kinds(workspace) == ["reply"]
    assert detail(workspace)["matched_by"] == "address"


def test_an_objection_in_words_that_quotes_us_unsubscribes(workspace: Workspace) -> None:
    heard(workspace, letter("Please remove me.", In_Reply_To=sent_id(workspace)))

    assert kinds(workspace) == ["reply", "unsubscribe"]
    assert is_suppressed(workspace)


def test_an_objection_by_mail_with_a_token_in_its_subject_unsubscribes(
    workspace: Workspace,
) -> None:
    token = unsubscribe_token(SECRET, "spring", lead(workspace))
    heard(workspace, letter("", Subject=f"unsubscribe {token}", From="x@elsewhere.example"))

    assert is_suppressed(workspace)


def test_an_objection_without_proof_stops_the_sequence_and_suppresses_nobody(
    workspace: Workspace,
) -> None:
    heard(workspace, letter("Please remove me."), letter("unsubscribe", From="a@b.example"))

    assert kinds(workspace) == ["reply"]
    assert detail(workspace)["asks_to_stop"] is True
    assert nobody_is_suppressed(workspace)


def test_an_absence_puts_the_next_step_off_until_the_return(workspace: Workspace) -> None:
    nurture(workspace, "spring", lambda: NOON + timedelta(hours=1))
    away = letter(
        "I am out of the office until 20 March 2026",
        Auto_Submitted="auto-replied",
        In_Reply_To=sent_id(workspace),
    )
    heard(workspace, away)
    nurture(workspace, "spring", lambda: NOON + 5 * DAY)

    assert kinds(workspace) == ["out_of_office"]
    assert detail(workspace) == {"returns_on": "2026-03-20"}
    with workspace.database.read() as connection:
        sends = {
            each["step"]: each for each in sends_of_lead(connection, "spring", lead(workspace))
        }
    assert sends["nudge"]["state"] == "planned"
    assert sends["nudge"]["due_at"].date().isoformat() == "2026-03-20"


def test_an_absence_holds_back_a_step_that_is_not_planned_yet(workspace: Workspace) -> None:
    away = letter(
        "I am out of the office until 20 March 2026",
        Auto_Submitted="auto-replied",
        In_Reply_To=sent_id(workspace),
    )
    with workspace.database.write() as connection:  # as before planning has followed the first
        sends = nurture_sends.c
        connection.execute(sa.delete(nurture_sends).where(sends.step == "nudge"))
    heard(workspace, away)
    look_at(workspace, NOON + 2 * DAY)
    nurture(workspace, "spring", lambda: NOON + 3 * DAY)

    states = {}
    for address in (ADDRESS, "lead2@company2.example"):
        with workspace.database.read() as connection:
            for row in sends_of_lead(connection, "spring", lead(workspace, address)):
                states[address, row["step"]] = (row["state"], row["due_at"].date().isoformat())
    assert states[ADDRESS, "nudge"] == ("planned", "2026-03-20")
    assert states["lead2@company2.example", "nudge"][0] == "accepted"


def look_at(workspace: Workspace, at: datetime) -> None:
    """Planning looks at all leads at this instant."""
    with workspace.database.write() as connection:
        connection.execute(sa.update(agenda).values(look_at=at))


@pytest.mark.parametrize(("days", "states"), [(10, "planned"), (0, "accepted")])
def test_colleagues_of_who_replied_are_left_alone_as_long_as_the_document_says(
    workspace: Workspace, days: int, states: str
) -> None:
    routing = campaign_document()["routing"] | {"overlap": {"colleague_replied_days": days}}
    apply(workspace, "spring", 2, sequences={"everyone": {"steps": STEPS}}, routing=routing)
    leads = FRAME_TABLES["raw_leads"]
    with workspace.database.write() as connection:
        connection.execute(sa.update(leads).values(domain="company1.example"))
    heard(workspace, letter(In_Reply_To=sent_id(workspace)))
    nurture(workspace, "spring", lambda: NOON + 9 * DAY)
    with workspace.database.read() as connection:
        told = sends_of_lead(connection, "spring", lead(workspace, "lead2@company2.example"))
    assert [row["state"] for row in told] == ["accepted", states]
    nurture(workspace, "spring", lambda: NOON + 11.1 * DAY)
    with workspace.database.read() as connection:
        told = sends_of_lead(connection, "spring", lead(workspace, "lead2@company2.example"))
    assert [row["state"] for row in told] == ["accepted", "accepted"]


def test_everything_from_this_sender_is_every_campaign_and_else_only_the_one(
    workspace: Workspace,
) -> None:
    apply(workspace, "autumn", 2, sequences={"everyone": {"steps": STEPS}})
    ids = {n: lead(workspace, f"lead{n}@company{n}.example") for n in (1, 2)}
    with workspace.database.write() as connection:
        unsubscribe(connection, SECRET, "spring", ids[1], scope="everything", now=NOON)
        unsubscribe(connection, SECRET, "spring", ids[2], scope="campaign", now=NOON)
        connection.execute(sa.update(enrolments).values(ended_at=NOON))
    for stage in (harvest, score_leads, qualify_leads, route_leads):
        stage(workspace, "autumn", NOON + DAY)
    nurture(workspace, "autumn", lambda: NOON + DAY)
    nurture(workspace, "spring", lambda: NOON + 3 * DAY)

    with workspace.database.read() as connection:
        sent = [row.email for row in connection.execute(_sent_by("autumn"))]
        last = [
            [row["state"] for row in sends_of_lead(connection, "spring", each)]
            for each in ids.values()
        ]
    assert sent == ["lead2@company2.example"]
    assert last == [["accepted", "cancelled"]] * 2


def _sent_by(key: str) -> sa.Select[Any]:
    leads, sends = FRAME_TABLES["raw_leads"], nurture_sends
    same = (leads.c.campaign == sends.c.campaign) & (leads.c.lead_id == sends.c.lead_id)
    query = sa.select(leads.c.email).join_from(leads, sends, same)
    return query.where(sends.c.campaign == key, sends.c.state == "accepted")


def test_an_automatic_reply_stops_nothing(workspace: Workspace) -> None:
    heard(workspace, letter("We got it.", X_Autoreply="yes", In_Reply_To=sent_id(workspace)))
    nurture(workspace, "spring", lambda: NOON + 3 * DAY)

    assert kinds(workspace) == ["auto_reply"]
    with workspace.database.read() as connection:
        states = [each["state"] for each in sends_of_lead(connection, "spring", lead(workspace))]
    assert states == ["accepted", "accepted"]


def test_a_copy_of_our_own_answer_is_no_reply(workspace: Workspace) -> None:
    heard(workspace, letter(From="Ida <ida@acme.example>", In_Reply_To=sent_id(workspace)))

    assert kinds(workspace) == []


def test_mail_of_strangers_leaves_nothing_behind(workspace: Workspace) -> None:
    outcome = heard(
        workspace, letter(From="x@elsewhere.example"), letter(In_Reply_To=OURS, From="")
    )

    assert outcome.rows_in == 2
    with workspace.database.read() as connection:
        assert events_of_kind(connection, "spring", ["reply"]).empty


def test_a_message_is_handled_once_however_often_it_is_given(workspace: Workspace) -> None:
    content = soft(workspace, 1)
    heard(workspace, content)
    put(workspace, content, "86401.moved.host:2,S", "cur")
    outcome = heard(workspace, content, days=2)

    assert kinds(workspace) == ["soft_bounce"]
    assert outcome.figures == {"repeated": 2}
    assert listen(workspace, NOON + 3 * DAY).rows_in == 0


def test_reading_goes_on_where_it_ended(workspace: Workspace) -> None:
    for number in range(5):
        put(workspace, letter(f"letter {number}"), f"{100 + number}.x.host")

    assert listen(workspace, NOON, limit=3).rows_in == 3
    assert listen(workspace, NOON, limit=3).rows_in == 2
    put(workspace, letter("a late delivery"), "99.late.host")
    assert listen(workspace, NOON).rows_in == 1


def test_broken_mail_holds_up_nothing(workspace: Workspace) -> None:
    heard(workspace, b"", b"\x00\xff" * 1000, letter(In_Reply_To=sent_id(workspace)))

    assert kinds(workspace) == ["reply"]


@pytest.mark.parametrize(
    "sender", ["=?utf-8?B?YQBiQGNvLmV4YW1wbGU=?=", "=?utf-7?Q?a+2AA-b@co.example?="]
)
def test_characters_that_no_database_holds_hold_up_nothing(
    workspace: Workspace, sender: str
) -> None:
    """NUL, and half a surrogate pair, which UTF-7 can carry."""
    said = letter("Half of it +2AA- and nothing", In_Reply_To=sent_id(workspace))
    utf_7 = said.replace(b'charset="utf-8"', b'charset="utf-7"')
    heard(workspace, f"From: {sender}\r\n\r\nHello".encode(), utf_7)

    assert utf_7 != said
    assert kinds(workspace) == ["reply"]
    assert detail(workspace)["text"] == "Half of it \ufffd and nothing"


def test_without_a_mailbox_it_says_what_to_set(workspace: Workspace) -> None:
    unset = Workspace(replace(workspace.settings, inbound_url=None), workspace.database)
    with pytest.raises(AicmoError, match="AICMO_INBOUND_URL"):
        listen(unset, NOON)
    missing = Workspace(
        replace(workspace.settings, inbound_url="maildir:/nowhere"), workspace.database
    )
    with pytest.raises(AicmoError, match="not a Maildir"):
        listen(missing, NOON)
