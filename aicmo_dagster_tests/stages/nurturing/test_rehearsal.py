"""The rehearsal in front of planning, over a real store and a real name server."""

from aicmo_dagster.mail.dns import Dns
from aicmo_dagster.stages.harvesting.harvest import harvest
from aicmo_dagster.stages.nurturing.rehearsal import TRY_AGAIN, rehearsed, sender_faults
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster_tests.mail.name_server import name_server
from aicmo_dagster_tests.samples import NOON
from aicmo_dagster_tests.stages.deciding.routing import DAY, route, send, states
from aicmo_dagster_tests.workspaces import apply

GOOD = {"id": "intro", "subject": "Hello", "body": "Hi"}
BAD = {"id": "intro", "subject": "Hello", "body": "Hi {{ title }}"}


def test_nobody_begins_with_a_version_whose_rehearsal_failed(workspace: Workspace) -> None:
    route(workspace, 3, BAD)
    report = send(workspace)
    assert states(workspace) == {}
    assert report.notes[0] == "nobody begins with version 1: its rehearsal failed"
    assert "title" in report.notes[1]
    assert "(3 leads)" in report.notes[1]


def test_a_mended_version_takes_over_the_leads_that_could_not_begin(workspace: Workspace) -> None:
    route(workspace, 3, BAD)
    send(workspace)
    route(workspace, 3, GOOD)
    report = send(workspace, 0.1)
    assert states(workspace) == {"accepted": 3}
    assert report.notes == ()


def test_leads_in_flight_go_on_while_a_new_version_is_barred(workspace: Workspace) -> None:
    nudge = {"id": "nudge", "wait": {"days": 1}, "body": "Again"}
    route(workspace, 2, GOOD, nudge)
    send(workspace)
    route(workspace, 4, BAD, nudge)
    send(workspace, 1)
    assert states(workspace) == {"accepted": 4}


def test_a_failed_rehearsal_is_held_again_when_the_leads_are_better(workspace: Workspace) -> None:
    route(workspace, 2, BAD)
    send(workspace)
    path = workspace.settings.home / "spring" / "leads.csv"
    apply(
        workspace,
        "spring",
        None,
        sequences={"everyone": {"steps": [BAD]}},
        sources=[
            {
                "type": "csv",
                "path": path.name,
                "columns": {"email": "Email", "title": "First", "company": "Account"},
            }
        ],
    )
    harvest(workspace, "spring", NOON)
    send(workspace, 0.01)
    send(workspace, TRY_AGAIN / DAY * 2.1)
    assert states(workspace) == {"accepted": 2}


def test_a_rehearsal_that_passed_is_not_held_again(workspace: Workspace) -> None:
    route(workspace, 1, GOOD)
    stored = workspace.campaign("spring")
    first = rehearsed(workspace, stored, None, NOON)
    assert (first.passed, first.leads) == (True, 1)
    assert rehearsed(workspace, stored, None, NOON + DAY).rehearsed_at == NOON


def test_a_rehearsal_over_nobody_is_held_again(workspace: Workspace) -> None:
    apply(workspace, "spring", 1)
    stored = workspace.campaign("spring")
    assert rehearsed(workspace, stored, None, NOON).leads == 0
    harvest(workspace, "spring", NOON)
    assert rehearsed(workspace, stored, None, NOON).leads == 1


RECORDS = {
    ("acme.com", "TXT"): ['"v=spf1 -all"'],
    ("_dmarc.acme.com", "TXT"): ['"v=DMARC1; p=reject"'],
    ("key1._domainkey.news.acme.com", "TXT"): ['"v=DKIM1; p=MIIB"'],
    ("news.acme.com", "TXT"): ['"v=spf1 -all"'],
}


def test_the_sender_s_domain_is_asked_about_over_the_wire() -> None:
    with name_server(RECORDS) as port:
        lookup = Dns(["127.0.0.1"], port=port)
        assert sender_faults("news.acme.com", lookup, selector="key1") == []
        (missing,) = sender_faults("acme.com", lookup, selector="key1")
        assert "DKIM" in missing.reason
        assert len(sender_faults("nothing.org", lookup)) == 2
        assert sender_faults("acme.example", lookup) == []


def test_without_a_name_server_nothing_is_said_of_the_domain() -> None:
    assert sender_faults("acme.com", Dns(["127.0.0.1"], port=9, seconds=0.1)) == []
    assert sender_faults("acme.com", None) == []
