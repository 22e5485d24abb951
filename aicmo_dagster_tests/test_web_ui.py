"""Everything as `aicmo dev` serves it: Dagster's web UI in a real browser, the API over HTTP."""

import json
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import psutil
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from aicmo_dagster.api.runs import PARTITION_TAG
from aicmo_dagster.api.service import BASE
from aicmo_dagster.cli.demo import SAMPLE
from aicmo_dagster.defs.run_queries import MAX_RETRIES
from aicmo_dagster.domain.schemas import STAGES
from aicmo_dagster_tests.cli.commands import aicmo_at, at_home
from aicmo_dagster_tests.outcomes import SOURCE, outcomes_csv
from aicmo_dagster_tests.samples import campaign_document

pytestmark = pytest.mark.long

AICMO = [sys.executable, "-c", "from aicmo_dagster.cli.main import main; main()"]
CHROMIUM = shutil.which("chromium")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
KEY = "nordic-revops"
PATIENCE = 60_000
"""Milliseconds that the slowest of small machines may take for a page."""


@dataclass(frozen=True)
class Served:
    """Where the web UI and the API are."""

    ui: str
    api: str


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def served(home: Path) -> Iterator[Served]:
    """All of it, with the sample campaign applied; everything stops at the end."""
    aicmo_at(home, "campaign", "apply", SAMPLE)
    port, api_port = _free_port(), _free_port()
    with (home / "dev.log").open("wb") as log:
        with at_home(home):
            dev = subprocess.Popen(
                [*AICMO, "dev", "--port", port, "--api-port", api_port],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        found = Served(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{api_port}")
        for address in (f"{found.ui}/server_info", f"{found.api}/health/live"):
            _wait_until_served(dev, address, home / "dev.log")
        children = psutil.Process(dev.pid).children(recursive=True)
        yield found
        dev.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        dev.send_signal(signal.SIGTERM)
        assert dev.wait(timeout=40) == 0
    _, alive = psutil.wait_procs(children, timeout=20)
    assert alive == []


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)


@pytest.fixture(scope="module")
def visitor(browser: Browser) -> BrowserContext:
    """One for the module, so that the web UI's scripts are fetched and compiled once."""
    return browser.new_context(viewport={"width": 3400, "height": 900})


@pytest.fixture
def page(visitor: BrowserContext) -> Iterator[Page]:
    opened = visitor.new_page()
    opened.set_default_timeout(PATIENCE)
    yield opened
    opened.close()


def test_a_partition_is_materialised_from_the_graph(
    served: Served, page: Page, tmp_path: Path
) -> None:
    page.goto(f"{served.ui}/locations/aicmo_dagster/jobs/full_pipeline_job")
    page.get_by_role("button", name="Materialize all").click()
    page.get_by_role("button", name="All", exact=True).click()
    page.get_by_role("button", name="Launch 1 run").click()
    expect(page.get_by_text("Launch runs to materialize")).to_be_hidden(timeout=PATIENCE)
    page.goto(f"{served.ui}/runs")
    expect(page.get_by_text("Success", exact=True)).to_be_visible(timeout=PATIENCE)
    page.goto(f"{served.ui}/assets/nurture_sends?view=events")
    expect(page.get_by_text("the sender's cap is reached")).to_be_visible(timeout=PATIENCE)
    page.goto(f"{served.ui}/asset-groups")
    places = [_place_in_graph(page, stage) for stage in STAGES]
    screenshot = tmp_path / "graph.png"
    page.screenshot(path=screenshot)
    assert [x for x, _ in places] == sorted(x for x, _ in places)
    assert len({round(y) for _, y in places}) == 1
    assert screenshot.read_bytes().startswith(b"\x89PNG")


def test_the_card_of_a_model_and_the_scores_are_shown_with_their_pictures(
    served: Served, page: Page, home: Path, tmp_path: Path
) -> None:
    _apply_outcomes(home)
    for command in (
        ("campaign", "apply", home / "learned.yaml"),
        ("run", "learned", "--to", "raw_leads"),
        ("model", "train", "learned"),
        ("run", "learned", "--from", "scored_leads", "--to", "scored_leads"),
    ):
        _command(home, *command)
    for asset, titles in (
        ("score_model", ["Expected and observed share won", "Mean absolute contribution"]),
        ("scored_leads", ["Leads by score", "Leads by band"]),
    ):
        page.goto(f"{served.ui}/assets/{asset}?view=partitions&partition=learned")
        for position, title in enumerate(titles):
            page.get_by_text("[Show Markdown]").nth(position).click()
            picture = page.locator(f'img[alt^="{title}"]')
            expect(picture).to_be_visible(timeout=PATIENCE)
            assert picture.evaluate("image => image.naturalWidth") > 100
            page.screenshot(path=tmp_path / f"{asset}-{position}.png")
            page.get_by_role("button", name="Close", exact=True).last.click()


def test_a_run_is_started_watched_and_cancelled_over_the_api(served: Served, home: Path) -> None:
    made = aicmo_at(home, "token", "create", "--role", "operator", "--json")
    headers = {"Authorization": f"Bearer {json.loads(made)['token']}"}
    with httpx.Client(base_url=served.api + BASE, headers=headers, trust_env=False) as api:
        execute = f"/campaigns/{KEY}/execute"
        keyed = {"Idempotency-Key": "browser"}
        started = _started(api, f"{execute}/full-pipeline", keyed)
        refused = api.post(f"{execute}/score", timeout=PATIENCE / 1000)
        assert (refused.status_code, refused.json()["run_id"]) == (409, started["run_id"])
        run = _ended(api, started["run_id"])
        assert (run["state"], run["progress"]) == ("finished", 1)
        assert [each["stage"] for each in run["stages"]] == list(STAGES)
        again = api.post(f"{execute}/full-pipeline", headers=keyed, timeout=PATIENCE / 1000)
        assert (again.status_code, again.json()["run_id"]) == (202, started["run_id"])
        stages = api.get(f"/campaigns/{KEY}/status").json()["stages"]
        assert {each["succeeded_in"] for each in stages} == {started["run_id"]}
        assert all(each["fresh"] for each in stages)
        queued = _started(api, f"{execute}/harvest", {})
        _cancel(api, queued["run_id"])
        assert _ended(api, queued["run_id"])["state"] == "canceled"
        assert api.get("/health").json()["checks"]["scheduler"]["state"] == "pass"
        assert api.get("/health").json()["checks"]["dagster"]["state"] == "pass"


def test_an_edited_cron_runs_and_a_fault_that_passes_is_shown_with_its_retry(
    served: Served, page: Page, home: Path
) -> None:
    """The cron is a minute's; the fault is a table that is away for a while."""
    made = _command(home, "token", "create", "--role", "operator", "--json")
    headers = {"Authorization": f"Bearer {json.loads(made)['token']}"}
    with httpx.Client(base_url=served.api + BASE, headers=headers, trust_env=False) as api:
        with _table_away(home, "rejects"):
            edited = api.post(f"/campaigns/{KEY}/schedule", json={"harvest": "* * * * *"})
            assert edited.status_code == 200, edited.text
            # Runs of the API may go, and those that follow a change, of any campaign.
            ours = {PARTITION_TAG: KEY, MAX_RETRIES: 0}
            sought = ["job:lead_pipeline_job", *(f"tag:{tag}={ours[tag]}" for tag in ours)]
            by_cron = urlencode({f"q[{n}]": each for n, each in enumerate(sought)})
            page.goto(f"{served.ui}/runs?{by_cron}")
            page.get_by_text("Started", exact=True).first.wait_for(timeout=2 * PATIENCE)
            assert api.post(f"/campaigns/{KEY}/schedule", json={"harvest": None}).is_success
            page.locator('a[href^="/runs/"]').first.click()
            for told in ("may pass by itself", f"{KEY}: OperationalError in", "STEP_UP_FOR_RETRY"):
                expect(page.get_by_text(told).first).to_be_visible(timeout=PATIENCE)
        for told in ("STEP_RESTARTED", "RUN_SUCCESS"):
            expect(page.get_by_text(told).first).to_be_visible(timeout=PATIENCE)


def _command(home: Path, *arguments: object) -> str:
    """What a command printed; in a thread, since the browser keeps an event loop in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(aicmo_at, home, *arguments).result()


@contextmanager
def _table_away(home: Path, table: str) -> Iterator[None]:
    """Nobody finds the table meanwhile."""
    with closing(sqlite3.connect(home / "aicmo.db", isolation_level=None)) as connection:
        connection.execute(f"ALTER TABLE {table} RENAME TO away")
        try:
            yield
        finally:
            connection.execute(f"ALTER TABLE away RENAME TO {table}")


def _started(api: httpx.Client, path: str, headers: dict[str, str]) -> Any:
    """A run that the API has started, once nothing else of the campaign goes."""
    for _ in range(300):
        answer = api.post(path, headers=headers, timeout=PATIENCE / 1000)
        if answer.status_code == 202:
            return answer.json()
        assert answer.status_code == 409, answer.text
        time.sleep(0.2)
    pytest.fail(answer.text)


def _cancel(api: httpx.Client, run_id: str) -> None:
    """The run ends early; while it is just being started, Dagster cannot be told so."""
    for _ in range(100):
        answer = api.post(f"/runs/{run_id}/cancel")
        if answer.status_code == 202:
            return
        assert answer.status_code == 409, answer.text
        time.sleep(0.1)
    pytest.fail(answer.text)


def _ended(api: httpx.Client, run_id: str) -> Any:
    for _ in range(300):
        run = api.get(f"/runs/{run_id}", timeout=PATIENCE / 1000).json()
        if run["ended_at"] and run["state"] in ("finished", "failed", "canceled"):
            return run
        time.sleep(0.2)
    pytest.fail(str(run))


def _apply_outcomes(home: Path) -> None:
    """A document over leads with outcomes lies in `home`."""
    document = campaign_document("learned", sources=[SOURCE], scoring={"threshold": 50})
    (home / "learned.yaml").write_text(json.dumps(document), encoding="utf-8")
    (home / "leads.csv").write_text(outcomes_csv(900), encoding="utf-8")


def _place_in_graph(page: Page, stage: str) -> tuple[float, float]:
    """Where the name of the asset stands in its node."""
    name = page.locator(f'[data-tooltip="{stage}"]').last
    expect(name).to_be_visible(timeout=PATIENCE)
    box = name.bounding_box()
    assert box is not None
    return box["x"], box["y"]


def _free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def _wait_until_served(dev: subprocess.Popen[bytes], address: str, log: Path) -> None:
    while dev.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    pytest.fail(log.read_text(encoding="utf-8"))
