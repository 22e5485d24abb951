"""The dashboard in a real browser: its figures against the database, live, narrow and wide."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from aicmo_dagster.api.charts import charts
from aicmo_dagster.stages.operating.figures import campaign_figures
from aicmo_dagster.store.events import add_event
from aicmo_dagster.store.experiments import StoredExperiment
from aicmo_dagster.store.tables import experiments
from aicmo_dagster_tests.api.rest import Rest
from aicmo_dagster_tests.figured import figured_campaign
from aicmo_dagster_tests.samples import lead_id

CHROMIUM = shutil.which("chromium")
WIDTHS = {"narrow": (375, "light"), "wide": (1440, "dark")}
PATIENCE = 30_000

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


@dataclass
class Seen:
    """What a browser complained of and asked for."""

    complaints: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)

    def watch(self, context: BrowserContext) -> None:
        context.on("console", lambda message: self.complaints.append(message.text))
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        context.on("request", lambda request: self.addresses.append(request.url))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--no-first-run"]
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=flags)


@pytest.fixture(scope="module")
def figured(rest: Rest) -> Rest:
    """The service with a campaign of today that has all there is to see."""
    today = datetime.now(UTC).replace(hour=12, minute=0)
    with rest.workspace.database.write() as connection:
        figured_campaign(connection, "figured", today)
        look = {"number": 1, "arms": [], "comparisons": []}
        for variant, successes in (("short", 10), ("story", 14)):
            arm = {"variant": variant, "delivered": 200, "successes": successes, "lost": 1}
            look["arms"].append(arm)  # type: ignore[attr-defined]
        told = {"variant": "story", "difference": 0.02, "low": -0.01, "high": 0.05}
        look["comparisons"].append(told)  # type: ignore[attr-defined]
        stored = StoredExperiment(
            "everyone", "intro", "f", "running", None, frozenset(), (look,), today, None
        )
        values = vars(stored) | {"stopped": "[]", "looks": json.dumps([look])}
        connection.execute(experiments.insert().values(campaign="figured", **values))
    return rest


@pytest.mark.parametrize("name", list(WIDTHS))
def test_the_page_shows_what_is_in_the_database_and_follows_it(
    figured: Rest, browser: Browser, tmp_path: Path, name: str
) -> None:
    width, scheme = WIDTHS[name]
    seen = Seen()
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme=scheme,  # type: ignore[arg-type]
    )
    seen.watch(context)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    _sign_in(page, figured, "/dashboard/figured")

    _assert_drawn(page, figured)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    _assert_accessible(page)
    page.get_by_text("Funnel: table").click()
    page.screenshot(path=tmp_path / f"{name}.png", full_page=True)
    replied = page.locator('[data-figure="replied"] b')
    before = int(replied.inner_text())
    _reply(figured, number=7 + before)
    expect(page.locator('[data-figure="replied"] b')).to_have_text(
        str(before + 1), timeout=PATIENCE
    )
    expect(page.locator("#funnel-table")).to_be_visible()
    _assert_drawn(page, figured)

    own = str(figured.client.base_url).rstrip("/")
    assert seen.complaints == []
    assert [address for address in seen.addresses if not address.startswith(own)] == []
    context.close()


def test_all_campaigns_and_the_login_are_accessible_too(figured: Rest, browser: Browser) -> None:
    seen = Seen()
    context = browser.new_context(viewport={"width": 375, "height": 800})
    seen.watch(context)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    own = str(figured.client.base_url).rstrip("/")
    page.goto(f"{own}/login")
    _assert_accessible(page)
    _sign_in(page, figured, "/dashboard")
    _assert_accessible(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    page.locator("#list").get_by_role("link", name="figured").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Spring")
    page.get_by_role("button", name="Sign out").click()
    page.goto(f"{own}/dashboard/figured")
    expect(page.get_by_label("Token")).to_be_visible()
    assert seen.complaints == []
    context.close()


def _sign_in(page: Page, rest: Rest, path: str) -> None:
    page.goto(f"{str(rest.client.base_url).rstrip('/')}{path}")
    page.get_by_label("Token").fill(rest.tokens["viewer"])
    page.keyboard.press("Enter")
    page.wait_for_selector("html[data-drawn]")


def _assert_drawn(page: Page, rest: Rest) -> None:
    """Each chart draws, and its table tells, what the database holds."""
    told = charts(campaign_figures(rest.workspace, "figured", datetime.now(UTC)))
    assert len(told) == 10
    for chart in told:
        traces = page.evaluate(_TRACES, chart.id)
        expected: list[dict[str, Any]] = [
            {"name": each.name, "values": each.values, "labels": chart.labels}
            for each in chart.series
        ]
        assert traces == expected, chart.id
        rows = page.evaluate(_ROWS, f"#{chart.id}-table tr")
        shown = [[label, *(_shown(value) for value in values)] for label, values in chart.rows()]
        assert rows == shown
    threshold = page.evaluate(_READ_OFF, ["scores", "60"])
    assert threshold == {"mark": 11.5, "tick": 11.5}


_TRACES = """id => document.getElementById(id).data.map(trace => {
  const flat = trace.orientation === "h" || trace.mode === "markers";
  const [values, labels] = flat ? [trace.x, trace.y] : [trace.y, trace.x];
  return {name: trace.name, values: [...values], labels: [...labels]};
})"""
_READ_OFF = """([id, text]) => {
  const {shapes, xaxis} = document.getElementById(id).layout;
  return {mark: shapes[0].x0, tick: xaxis.tickvals[xaxis.ticktext.indexOf(text)]};
}"""
_ROWS = """place => [...document.querySelectorAll(place)].map(
  row => [...row.cells].map(cell => cell.textContent))"""


def _shown(value: float | None) -> str:
    return "\N{EN DASH}" if value is None else f"{value:,}"


def _assert_accessible(page: Page) -> None:
    # What a chart is drawn of is no part of the page to who does not see it: it is one image.
    found = Axe().run(page, {"exclude": [".plot svg"]}).response["violations"]
    serious = [each for each in found if each["impact"] in ("serious", "critical")]
    assert [(each["id"], [n["html"] for n in each["nodes"]][:3]) for each in serious] == []


def _reply(rest: Rest, number: int) -> None:
    now = datetime.now(UTC)
    with rest.workspace.database.write() as connection:
        add_event(connection, "figured", lead_id(number), "reply", f"more:{number}", now)
