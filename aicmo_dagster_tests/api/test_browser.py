"""The unsubscribe page in a real browser: as on a phone, and without JavaScript."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from aicmo_dagster_tests.api.conftest import Served

CHROMIUM = shutil.which("chromium")
PHONE = {"width": 360, "height": 640}

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--no-first-run"]
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=flags)


def test_a_person_unsubscribes_by_the_page(served: Served, browser: Browser) -> None:
    context = browser.new_context(viewport=PHONE, java_script_enabled=False)  # type: ignore[arg-type]
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(f"{str(served.client.base_url).rstrip('/')}{served.page()}")
    button = page.get_by_role("button")
    expect(button).to_have_count(1)
    box = button.bounding_box()
    assert box is not None
    assert box["height"] >= 44  # what a thumb hits
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= PHONE["width"]
    assert button.evaluate("e => getComputedStyle(e).backgroundColor") == "rgb(179, 38, 30)"
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]

    button.click()

    expect(page.get_by_role("heading")).to_have_text("You are unsubscribed")
    assert [event["kind"] for event in served.events(2)][-1] == "unsubscribe"
    assert complaints == []
    assert context.cookies() == []
    context.close()
