import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from aicmo_dagster.domain.links import read_click_token, read_open_token
from aicmo_dagster.domain.markdown import Rendered, compile_message
from aicmo_dagster.domain.sections.nurture import Track
from aicmo_dagster.domain.tracking import Link, Tracker, fixed_links

KEY, LEAD = b"a key", "0123456789abcdef0123"
PUBLIC = "https://t.acme.example"
TOKENS = {
    "sender": {"name": "Ida", "postal_address": "Kai 7"},
    "unsubscribe_url": f"{PUBLIC}/u/abc.def",
    "company": "A & B",
}


def track(message: Rendered, **asked: bool) -> tuple[Rendered, Mapping[str, Link]]:
    made = Tracker(KEY, PUBLIC, "s", Track(**asked)).tracked(message, LEAD, "intro")
    return made.message, made.targets


def written(body: str, **asked: bool) -> tuple[Rendered, Mapping[str, Link]]:
    return track(compile_message("Hello", body).render(TOKENS), **asked)


def follow(text: str, targets: Mapping[str, Link]) -> list[str]:
    """Where each tracked link of `text` leads."""
    tokens = re.findall(rf"{PUBLIC}/t/c/([\w.-]+[\w-])", text)
    places = [read_click_token(KEY, token) for token in tokens]
    return [targets[str(place.link)].url for place in places if place]


def test_every_link_of_a_real_message_goes_by_way_of_us_but_the_one_to_unsubscribe() -> None:
    body = (
        "See [our *offer*](https://acme.example/?a=1&b=2), <https://b.example>, [x](mailto:a@b.c)"
    )
    message, targets = written(body)

    for part in (message.html, message.text):
        assert follow(part, targets) == ["https://acme.example/?a=1&b=2", "https://b.example"]
        assert "acme.example/?a" not in part
        assert f"{PUBLIC}/u/abc.def" in part
        assert "a@b.c" in part
    assert message.html.count("<img ") == 1
    assert message.html.index("<img ") < message.html.index("</body>")
    assert "/t/o/" not in message.text


def test_a_url_in_the_text_is_replaced_only_where_it_stands_whole() -> None:
    body = "[a](https://b.example), https://b.example/other and (<https://b.example>)."
    message, targets = written(body)

    assert follow(message.text, targets) == ["https://b.example"] * 2
    assert "https://b.example/other and" in message.text
    assert re.search(r"\(https://t\.acme\.example/t/c/[\w.-]+[\w-]\)\.", message.text)


def test_the_same_send_always_carries_the_same_tokens() -> None:
    body = "[a](https://b.example) [c](https://c.example/?q={{ company }})"

    assert written(body) == written(body)


def test_a_url_made_for_one_lead_is_that_leads_and_a_fixed_one_is_everybodys() -> None:
    body = "[a](https://b.example/?x=1&y=2) [c](https://c.example/?q={{ company }})"
    template = compile_message("Hello", body)
    fixed = fixed_links(template.source)
    made = Tracker(KEY, PUBLIC, "s", Track()).tracked(template.render(TOKENS), LEAD, "intro", fixed)

    owners = {link.url: link.lead_id for link in made.targets.values()}
    assert fixed.urls == {"https://b.example/?x=1&amp;y=2": "https://b.example/?x=1&y=2"}
    assert not fixed.are_all
    assert owners == {
        "https://b.example/?x=1&y=2": None,
        "https://c.example/?q=A%20%26%20B": LEAD,
    }


@pytest.mark.parametrize(
    "body",
    [
        "[a](https://b.example/?x=1&y=2) https://b.example/?x=1 [m](mailto:a@b.example)",
        "[a](https://b.example) {% if company %}[d](https://d.example){% endif %} (https://b.example).",
        f"[a]({PUBLIC}/u/x.y) [b](https://b.example) [a again](https://b.example)",
        "{% filter upper %}[a](https://b.example){% endfilter %}",
        "[a](https://b.example) [c]({{ custom.page }}) {{ unsubscribe_url }}",
        '`href="https://b.example"` [b](https://b.example)',
        "No links",
    ],
)
def test_links_known_beforehand_are_replaced_as_if_they_were_looked_for(body: str) -> None:
    template = compile_message("Hello", body)
    fixed = fixed_links(template.source)
    message = template.render(TOKENS | {"custom": {"page": "https://w.example"}})
    tracker = Tracker(KEY, PUBLIC, "s", Track())

    known = tracker.tracked(message, LEAD, "intro", fixed)
    looked_for = tracker.tracked(message, LEAD, "intro", replace(fixed, are_all=False))
    assert known == looked_for
    assert fixed.are_all == ("filter" not in body and "custom" not in body)


@pytest.mark.parametrize(
    ("asked", "links", "pixels"),
    [
        ({"opens": False}, 1, 0),
        ({"clicks": False}, 0, 1),
        ({"opens": False, "clicks": False}, 0, 0),
    ],
)
def test_what_is_not_asked_for_leaves_the_message_alone(
    asked: dict[str, Any], links: int, pixels: int
) -> None:
    plain = compile_message("Hello", "See [a](https://b.example).").render(TOKENS)
    message, targets = track(plain, **asked)

    assert len(targets) == links
    assert message.html.count("/t/c/") == message.text.count("/t/c/") == links
    assert message.html.count("/t/o/") == pixels
    assert (message == plain) == (links + pixels == 0)


@pytest.mark.parametrize("html", ["", "<p>no links</p>", "</body></body>", "<a name='x'>y</a>"])
def test_html_of_any_shape_gets_one_pixel_and_keeps_the_rest(html: str) -> None:
    message, targets = track(Rendered("", "", html))

    assert re.sub(r"<img [^>]*>", "", message.html) == html
    (token,) = re.findall(rf'src="{PUBLIC}/t/o/([^"]+)"', message.html)
    assert read_open_token(KEY, token) is not None
    assert targets == {}


def test_a_page_of_the_same_host_that_is_not_ours_is_tracked() -> None:
    message, targets = written(f"[a]({PUBLIC}/offer) [b]({PUBLIC}/u/x.y)")

    assert [link.url for link in targets.values()] == [f"{PUBLIC}/offer"]
    assert f'href="{PUBLIC}/u/x.y"' in message.html
