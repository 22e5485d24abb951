import sqlalchemy as sa

from aicmo_dagster.mail.dns import Dns
from aicmo_dagster.stages.deciding.qualify import qualify_leads
from aicmo_dagster.stages.deciding.route import route_leads
from aicmo_dagster.stages.deciding.score import score_leads
from aicmo_dagster.stages.harvesting.harvest import harvest
from aicmo_dagster.stages.nurturing.mailboxes import learn_providers
from aicmo_dagster.stages.nurturing.planning import plan_due
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.tables import mailbox_providers
from aicmo_dagster_tests.mail.name_server import name_server
from aicmo_dagster_tests.samples import NOON, SECRET, campaign_document
from aicmo_dagster_tests.workspaces import apply

RECORDS = {
    ("company1.example", "MX"): ["10 aspmx.l.google.com."],
}


def prepare(workspace: Workspace, leads: int, **caps: int) -> None:
    nurture = campaign_document()["nurture"] | {"caps": caps}
    apply(workspace, "spring", leads, nurture=nurture)
    for stage in (harvest, score_leads, qualify_leads, route_leads):
        stage(workspace, "spring", NOON)
    with workspace.database.write() as connection:
        plan_due(connection, workspace.campaign("spring"), SECRET, NOON)


def known(workspace: Workspace) -> dict[str, str]:
    columns = mailbox_providers.c
    with workspace.database.read() as connection:
        return dict(connection.execute(sa.select(columns.domain, columns.provider)).all())


def test_providers_of_due_sends_are_learnt_once(workspace: Workspace) -> None:
    prepare(workspace, 1, per_provider_per_hour=5)
    with name_server(RECORDS) as port:
        lookup = Dns(["127.0.0.1"], port=port)
        assert learn_providers(workspace, "spring", lookup, NOON) == 1
        assert learn_providers(workspace, "spring", lookup, NOON) == 0
    assert known(workspace) == {"company1.example": "google"}


def test_without_an_answer_nothing_is_learnt_and_nothing_fails(workspace: Workspace) -> None:
    prepare(workspace, 1, per_provider_per_hour=5)
    silent = Dns(["127.0.0.1"], port=9, seconds=0.1)
    assert learn_providers(workspace, "spring", silent, NOON) == 0
    assert known(workspace) == {}


def test_nobody_is_asked_without_a_limit_by_provider(workspace: Workspace) -> None:
    prepare(workspace, 1, per_domain_per_hour=5)
    with name_server(RECORDS) as port:
        assert learn_providers(workspace, "spring", Dns(["127.0.0.1"], port=port), NOON) == 0
