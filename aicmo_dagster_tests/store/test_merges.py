"""When two leads turn out to be one person, what was kept under one id follows to the other."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pandas as pd
import pytest
import sqlalchemy as sa

from aicmo_dagster.domain.schemas import typed
from aicmo_dagster.store import agenda, ledger
from aicmo_dagster.store.database import Database, open_database
from aicmo_dagster.store.enrolments import enrol, enrolled, with_other_mail
from aicmo_dagster.store.events import CLICK, add_event
from aicmo_dagster.store.frames import read_frame, replace_frame
from aicmo_dagster.store.harvests import put_aliases
from aicmo_dagster.store.interruptions import hold_back
from aicmo_dagster.store.merges import MANY_A_LEAD, ONE_A_LEAD, follow_aliases
from aicmo_dagster.store.outcomes import Outcome, begin_attempts, record_outcomes
from aicmo_dagster.store.overrides import add_override, overrides_of_lead
from aicmo_dagster.store.recipients import recipient
from aicmo_dagster.store.tables import metadata, nurture_sends
from aicmo_dagster.store.verdicts import read_verdicts, replace_verdicts, unjudged
from aicmo_dagster_tests.samples import NOON, lead_id, routed_leads
from aicmo_dagster_tests.store.rows import texts

DAY = timedelta(days=1)
LEAD, OTHER = lead_id(1), lead_id(2)

NOT_FOLLOWED = {
    "raw_leads": "made anew by the harvest that merges",
    "scored_leads": "made anew from it",
    "qualified_leads": "made anew from it",
    "lead_aliases": "says who follows",
    "links": "are in messages that left, and are asked for by the id they left with",
    "inbound_messages": "say whose address a message came from",
    "webhook_deliveries": "say what was told",
}
"""Tables of leads whose rows stay under the other id, and why."""


def plan(
    connection: sa.Connection, *, step: str = "intro", sequence: str = "everyone", **states: str
) -> None:
    """One send of the step for each lead, in its state; sent in the order of the calls."""
    leads = {"lead": LEAD, "other": OTHER}
    frame = pd.DataFrame(
        {
            "lead_id": [leads[name] for name in states],
            "sequence": sequence,
            "step": step,
            "campaign_version": 1,
            "message_id": [f"<{_spelled(name, step)}@acme.example>" for name in states],
            "recipient_domain": "company.example",
            "state": list(states.values()),
            "due_at": pd.Timestamp(NOON),
        }
    )
    sends = typed("nurture_sends", {name: frame[name] for name in frame})
    ledger.plan_sends(connection, "spring", sends, sender="ida@acme.example")


def _spelled(name: str, step: str) -> str:
    return name if step == "intro" else f"{name} {step}"


def merge(connection: sa.Connection) -> int:
    put_aliases(connection, "spring", texts(alias=[OTHER], lead_id=[LEAD]))
    return follow_aliases(connection, "spring")


def sends(connection: sa.Connection) -> dict[str, str]:
    columns = nurture_sends.c
    rows = connection.execute(sa.select(columns.message_id, columns.lead_id, columns.state))
    return {row.message_id.strip("<>").split("@")[0]: f"{row.lead_id} {row.state}" for row in rows}


def test_what_was_sent_to_the_other_counts_as_sent_to_the_lead(database: Database) -> None:
    with database.write() as connection:
        plan(connection, other="accepted")
        assert merge(connection) == 1
        assert sends(connection) == {"other": f"{LEAD} accepted"}


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (("planned", "accepted"), {"other": f"{LEAD} accepted"}),
        (("planned", "claimed"), {"other": f"{LEAD} claimed"}),
        (("accepted", "planned"), {"lead": f"{LEAD} accepted", "other": f"{OTHER} cancelled"}),
        (("planned", "planned"), {"lead": f"{LEAD} planned", "other": f"{OTHER} cancelled"}),
        (("unknown", "accepted"), {"lead": f"{LEAD} unknown", "other": f"{OTHER} accepted"}),
    ],
)
def test_of_two_sends_of_one_step_at_most_one_is_still_to_come(
    database: Database, states: tuple[str, str], expected: dict[str, str]
) -> None:
    with database.write() as connection:
        plan(connection, lead=states[0], other=states[1])
        merge(connection)
        assert sends(connection) == expected


def route(connection: sa.Connection, lead: str = "everyone", other: str = "everyone") -> None:
    """Both leads are in a sequence, on the agenda and enrolled."""
    frame = routed_leads(2).assign(sequence=[lead, other])
    replace_frame(connection, "routed_leads", "spring", typed("routed_leads", dict(frame)))
    agenda.enter(connection, "spring", NOON)
    people = pd.DataFrame({"lead_id": [LEAD, OTHER], "person": ["a", "b"], "last_step": "nudge"})
    enrol(connection, "spring", people, NOON)


def test_a_sequence_that_the_other_has_begun_goes_on_as_the_leads(database: Database) -> None:
    with database.write() as connection:
        route(connection)
        plan(connection, lead="planned", other="accepted")
        plan(connection, step="nudge", other="planned")
        merge(connection)
        agenda.follow(connection, "spring", NOON)

        assert sends(connection) == {"other": f"{LEAD} accepted", "other nudge": f"{LEAD} planned"}
        assert agenda.agenda_counts(connection, "spring") == {"active": 1}
        assert list(enrolled(connection, "spring")["active"]) == [True]


def test_of_two_sequences_the_one_that_was_begun_goes_on_alone(database: Database) -> None:
    with database.write() as connection:
        route(connection, "everyone", "few")
        plan(connection, lead="planned")
        plan(connection, step="first", sequence="few", other="accepted")
        plan(connection, step="second", sequence="few", other="planned")
        merge(connection)

        left = {"other first": f"{LEAD} accepted", "other second": f"{LEAD} planned"}
        assert sends(connection) == left
        assert list(read_frame(connection, "routed_leads", "spring")["sequence"]) == ["few"]
        assert with_other_mail(connection, "spring") == 0


def test_of_two_sequences_that_were_begun_the_leads_goes_on_alone(database: Database) -> None:
    with database.write() as connection:
        route(connection, "everyone", "few")
        plan(connection, lead="accepted")
        plan(connection, step="nudge", lead="planned")
        plan(connection, step="first", sequence="few", other="accepted")
        plan(connection, step="second", sequence="few", other="planned")
        merge(connection)

        assert sends(connection) == {
            "lead": f"{LEAD} accepted",
            "lead nudge": f"{LEAD} planned",
            "other first": f"{OTHER} accepted",
            "other second": f"{OTHER} cancelled",
        }
        assert with_other_mail(connection, "spring") == 0
        assert list(enrolled(connection, "spring")["active"]) == [True]


def test_the_lead_goes_on_after_what_the_other_got(database: Database) -> None:
    with database.write() as connection:
        route(connection)
        plan(connection, lead="accepted", other="accepted")
        agenda.follow(connection, "spring", NOON)
        plan(connection, step="nudge", lead="planned", other="accepted")
        agenda.follow(connection, "spring", NOON + DAY)
        agenda.look_again(connection, "spring", [LEAD], NOON + 9 * DAY)
        merge(connection)

        assert sends(connection)["other nudge"] == f"{LEAD} accepted"
        assert list(agenda.leads_to_look_at(connection, "spring", NOON)["step"]) == ["nudge"]


@pytest.mark.parametrize("begun", ["lead", "other"])
@pytest.mark.parametrize("away", [LEAD, OTHER])
def test_whoever_is_away_stays_so(database: Database, begun: str, away: str) -> None:
    with database.write() as connection:
        route(connection)
        plan(connection, **{begun: "accepted"})
        plan(connection, step="nudge", **{begun: "planned"})
        hold_back(connection, "spring", [away], NOON + 9 * DAY, "away")
        merge(connection)
        waits = nurture_sends.c
        query = sa.select(waits.due_at).where(waits.state == "planned")
        assert connection.scalars(query).all() == [NOON + 9 * DAY]


@pytest.mark.parametrize("state", ["accepted", "deferred"])
def test_what_came_of_an_attempt_is_known_though_its_lead_was_merged_meanwhile(
    database: Database, state: str
) -> None:
    with database.write() as connection:
        plan(connection, other="planned")
        name = {"at_lead": OTHER, "at_step": "intro"}
        held = {**name, "state": "claimed", "worker": "w", "claimed_at": NOON}
        ledger.advance(connection, "spring", [held])
        send = ledger.Send(
            *(OTHER, "everyone", "intro", None, 1, "<other@acme.example>", "a@b.example"),
            *("b.example", 0),
        )
        times = {"dated": NOON, "now": NOON}
        begin_attempts(connection, "spring", [send], worker="w", transport="t", **times)
        merge(connection)
        given = [Outcome(send, state, "250 ok")]
        record_outcomes(connection, "spring", given, worker="w", now=NOON)
        assert sends(connection) == {"other": f"{LEAD} {state}"}


def test_a_message_that_leaves_while_leads_are_merged_is_not_forgotten(
    new_postgresql: Callable[[], str],
) -> None:
    """On SQLite no two write at once."""
    database = open_database(new_postgresql())
    with database.write() as connection:
        plan(connection, lead="planned", other="accepted")
    with ThreadPoolExecutor(1) as pool:
        with database.write() as connection:
            leaving = {"at_lead": LEAD, "at_step": "intro", "state": "attempting", "worker": "w"}
            ledger.advance(connection, "spring", [leaving])
            merged = pool.submit(_merged, database)
            waiting = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
            while not merged.done() and not connection.scalar(waiting):
                pass
        merged.result()
    with database.read() as connection:
        left = {"lead": f"{LEAD} attempting", "other": f"{OTHER} accepted"}
        assert sends(connection) == left
    database.close()


def _merged(database: Database) -> None:
    with database.write() as connection:
        merge(connection)


def test_each_message_stays_with_the_address_it_went_to(database: Database) -> None:
    with database.write() as connection:
        plan(connection, lead="accepted", other="accepted")
        for name in (LEAD, OTHER):
            its = sa.update(nurture_sends).where(nurture_sends.c.lead_id == name)
            connection.execute(its.values(address_key=f"key of {name}"))
        merge(connection)

        assert recipient(connection, "spring", OTHER, "intro").sent_to == (f"key of {OTHER}",)
        assert recipient(connection, "spring", LEAD, "intro").sent_to == (f"key of {LEAD}",)
        both = (f"key of {LEAD}", f"key of {OTHER}")
        assert recipient(connection, "spring", OTHER).sent_to == tuple(sorted(both))


@pytest.mark.parametrize("routed", [[LEAD, OTHER], [OTHER], [LEAD]])
def test_the_person_is_in_one_sequence(database: Database, routed: list[str]) -> None:
    with database.write() as connection:
        frame = routed_leads(len(routed)).assign(lead_id=routed)
        replace_frame(connection, "routed_leads", "spring", typed("routed_leads", dict(frame)))
        merge(connection)
        left = read_frame(connection, "routed_leads", "spring")
    assert list(left["lead_id"]) == [LEAD]


def test_overrides_follow_and_a_second_time_nothing_moves(database: Database) -> None:
    with database.write() as connection:
        add_override(connection, "spring", OTHER, "reject", "a rival", "me", NOON)
        assert merge(connection) == 1
        assert len(overrides_of_lead(connection, "spring", LEAD)) == 1
        assert merge(connection) == 0


def judge_all(connection: sa.Connection) -> None:
    events = unjudged(connection, "spring", 1, everyone=True)
    kept = events[["id", "lead_id", "kind", "step", "happened_at"]]
    replace_verdicts(connection, "spring", kept.assign(verdict="human", rule="none applies"), 1)


def test_verdicts_follow_their_events(database: Database) -> None:
    with database.write() as connection:
        add_event(connection, "spring", OTHER, CLICK, "a click", NOON, step="intro")
        judge_all(connection)
        assert merge(connection) == 2
        assert list(read_verdicts(connection, "spring")["lead_id"]) == [LEAD]


def test_an_event_judged_under_the_other_id_is_judged_again_under_the_leads(
    database: Database,
) -> None:
    with database.write() as connection:
        add_event(connection, "spring", OTHER, CLICK, "a click", NOON, step="intro")
        judge_all(connection)
        connection.execute(sa.update(metadata.tables["events"]).values(lead_id=LEAD))
        judge_all(connection)
        assert list(read_verdicts(connection, "spring")["lead_id"]) == [LEAD]


def test_whatever_is_kept_of_a_lead_follows_or_is_known_not_to() -> None:
    of_leads = {table.name for table in metadata.sorted_tables if "lead_id" in table.c}
    assert of_leads == {table.name for table in (*ONE_A_LEAD, *MANY_A_LEAD)} | set(NOT_FOLLOWED)


def test_nobody_else_is_touched(database: Database) -> None:
    with database.write() as connection:
        plan(connection, lead="planned", other="planned")
        assert follow_aliases(connection, "spring") == 0
        assert merge_in(connection, "autumn") == 0
        assert set(sends(connection).values()) == {f"{LEAD} planned", f"{OTHER} planned"}


def merge_in(connection: sa.Connection, campaign: str) -> int:
    put_aliases(connection, campaign, texts(alias=[OTHER], lead_id=[LEAD]))
    return follow_aliases(connection, campaign)
