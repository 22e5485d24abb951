from html.parser import HTMLParser
from typing import Any

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aicmo_dagster.domain.markdown import Rendered, compile_message
from aicmo_dagster.domain.sandbox import RenderFailed
from aicmo_dagster.domain.template_faults import template_problems
from aicmo_dagster.errors import BadInput

URL = "https://aicmo.example/u/token?a=1&b=2"
COMMON = {
    "sender": {
        "name": "Ida Berg",
        "address": "ida@acme.example",
        "postal_address": "Kai 7\n5003 Bergen\n",
    },
    "campaign": {"key": "nordic", "name": "Nordic"},
    "unsubscribe_url": URL,
    "custom": {},
}
FOOTER = f"---\n\nIda Berg, Kai 7, 5003 Bergen\n\nUnsubscribe ({URL})\n"


def rendered(body: str, subject: str = "Hello", **tokens: Any) -> Rendered:
    return compile_message(subject, body).render({**COMMON, **tokens})


def text(body: str, **tokens: Any) -> str:
    """The text part above its footer."""
    return rendered(body, **tokens).text.partition("\n---\n")[0].strip("\n")


def html(body: str, **tokens: Any) -> str:
    """The HTML part above its footer, without empty lines."""
    part = rendered(body, **tokens).html.partition("<body>\n")[2].partition("<hr />\n<p>Ida")[0]
    return "\n".join(filter(str.strip, part.split("\n")))


class WellFormed(HTMLParser):
    """Fails on an end tag without its beginning; knows what is still open."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        return

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_markdown_becomes_html_and_text_once_the_values_are_in() -> None:
    body = "Hi **{{ first_name }}**,\n\n- one\n- *two*\n\n1. first\n2. second\n\n> quoted\n"

    assert html(body, first_name="Jo") == (
        "<p>Hi <strong>Jo</strong>,</p>\n<ul>\n<li>one</li>\n<li><em>two</em></li>\n</ul>\n"
        "<ol>\n<li>first</li>\n<li>second</li>\n</ol>\n"
        "<blockquote>\n<p>quoted</p>\n</blockquote>"
    )
    assert text(body, first_name="Jo") == (
        "Hi Jo,\n\n  * one\n  * two\n 1. first\n 2. second\n\nquoted"
    )


HOSTILE = "<script>*a*</script> **b** [c](javascript:d) {{ city }} {% raw %} & \" ' `e`"


@example(HOSTILE)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
@settings(max_examples=50, deadline=None)
def test_a_value_is_neither_markdown_nor_html_nor_a_template(value: str) -> None:
    message = TAGS_EVERYWHERE.render({**COMMON, "company": value})
    page = Page(message.html)

    assert page.tags == PLAIN_PAGE.tags
    assert WellFormed(message.html).open == []


TAGS_EVERYWHERE = compile_message(
    "{{ company }}",
    "# {{ company }}\n\n{{ company }} *{{ company }}* `{{ company }}`\n\n- {{ company }}\n\n"
    "```\n{{ company }}\n```\n\n![{{ company }}](https://a.example/b.png '{{ company }}')\n",
)


class Page(HTMLParser):
    """The tags of a page with the names of their attributes."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, list[str]]] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, [name for name, _ in attrs]))


PLAIN_PAGE = Page(TAGS_EVERYWHERE.render({**COMMON, "company": "Acme"}).html)


@pytest.mark.parametrize(
    ("body", "asks"),
    [
        ("{{ first_name }} {{ sender.name }} {{ sender.name | upper }} {{ campaign.key }}", False),
        ("{% if sender.name == 'Ida <&> Berg' %}yes{% endif %}{{ sender.name[:5] }}", False),
        ("[a](https://a.example/{{ sender.name }}) <{{ sender.address }}>", False),
        ("{% for name in [custom, sender] %}{{ name.name }}{% endfor %} {{ sender.name }}", True),
    ],
)
def test_what_is_known_beforehand_is_written_as_if_it_were_given(body: str, asks: bool) -> None:
    known = {"sender": {**COMMON["sender"], "name": "Ida <&> Berg"}, "campaign": COMMON["campaign"]}
    tokens = {**COMMON, **known, "first_name": HOSTILE, "custom": {"name": "<b>"}}
    filled_in = compile_message("{{ campaign.name }}", body, known)

    assert filled_in.render(tokens) == compile_message("{{ campaign.name }}", body).render(tokens)
    assert ("sender" in filled_in.needed) == asks


def test_a_value_is_escaped_in_html_alone() -> None:
    message = rendered("{{ company }}", "{{ company }}", company=HOSTILE)

    assert message.subject == HOSTILE
    assert message.text.startswith(HOSTILE)
    assert "&lt;script&gt;*a*&lt;/script&gt; **b** [c](javascript:d) {{ city }}" in message.html


def test_a_subject_is_one_line_without_control_characters() -> None:
    subject = rendered(
        "x", "A {{ company }}", company=" b\r\nBcc: x@y.example\x00\u2028 c "
    ).subject

    assert subject == "A b Bcc: x@y.example c"


@pytest.mark.parametrize("nothing", [None, pd.NA, pd.NaT, float("nan")])
def test_a_missing_value_takes_the_default_and_is_false(nothing: object) -> None:
    body = "Hi {{ first_name | default('there') }}{% if first_name %}!{% endif %}"

    assert text(body, first_name=nothing) == "Hi there"
    assert text("{{ custom.Plan | default('none') }}", custom={"Plan": nothing}) == "none"


def test_a_missing_value_without_default_fails_by_its_name() -> None:
    with pytest.raises(RenderFailed) as failure:
        rendered("Hi {{ first_name }}", first_name=None)
    assert failure.value.token == "first_name"

    with pytest.raises(RenderFailed) as failure:
        rendered("Hi {{ custom['Their Plan'] }}", custom={"Their Plan": None})
    assert failure.value.token == "custom.Their Plan"


def test_tags_work_within_links() -> None:
    body = "[see]({{ unsubscribe_url }}) ![i]({{ custom.picture }})"
    picture = "https://a.example/b.png"

    escaped = URL.replace("&", "&amp;")
    assert f'<a href="{escaped}">see</a>' in html(body, custom={"picture": picture})
    assert f'<img src="{picture}" alt="i" />' in html(body, custom={"picture": picture})
    assert text(body, custom={"picture": picture}) == f"see ({URL}) [i]"


def test_a_value_within_a_link_stays_in_its_part() -> None:
    link = "[see](https://a.example/?c={{ company }}&d=1)"

    assert "?c=A%26B%20%3CCo%3E%23&amp;d=1" in html(link, company="A&B <Co>#")
    assert text(link, company="A&B") == "see (https://a.example/?c=A%26B&d=1)"
    encoded = "[see](https://a.example/?c={{ company | urlencode }})"
    assert text(encoded, company="A&B %") == "see (https://a.example/?c=A%26B%20%25)"


@pytest.mark.parametrize(
    "target", ["javascript:alert(1)", " JavaScript:x", "java\tscript:x", "data:text/html,alert"]
)
def test_a_value_cannot_make_a_link_run_code(target: str) -> None:
    with pytest.raises(RenderFailed, match="link") as failure:
        rendered("[see]({{ custom.link }})", custom={"link": target})
    assert "alert" not in str(failure.value)


def test_a_block_alone_on_its_lines_leaves_nothing_when_it_is_off() -> None:
    body = "Hello\n\n{% if company %}\nWe like {{ company }}.\n{% else %}\nHm.\n{% endif %}\nBye\n"

    assert html(body, company="A") == "<p>Hello</p>\n<p>We like A.</p>\n<p>Bye</p>"
    assert html(body) == "<p>Hello</p>\n<p>Hm.</p>\n<p>Bye</p>"
    assert text(body, company="A") == "Hello\n\nWe like A.\n\nBye"
    assert text(body) == "Hello\n\nHm.\n\nBye"


def test_a_paragraph_that_is_all_within_one_block_disappears_with_it() -> None:
    body = "Hello\n\n{% if company %}We like {{ company }}.{% endif %}\n\nBye\n"

    assert html(body) == "<p>Hello</p>\n<p>Bye</p>"
    assert text(body) == "Hello\n\nBye"


def test_blocks_between_the_items_of_a_list_keep_it_one_list() -> None:
    body = "- one\n{% if city %}\n- {{ city }}\n{% endif %}\n- three\n"

    assert html(body) == "<ul>\n<li>one</li>\n<li>three</li>\n</ul>"
    assert text(body, city="Oslo") == "  * one\n  * Oslo\n  * three"


def test_a_loop_around_an_item_makes_one_list() -> None:
    body = "So:\n\n{% for n in range(3) %}\n1. {{ n }}\n{% endfor %}\n\nBye"

    assert html(body).count("<ol>") == 1
    assert html(body).count("<li>") == 3


def test_either_branch_may_hold_a_list_of_its_own() -> None:
    body = "{% if city %}\ntext\n\n- a\n{% else %}\n- b\n{% endif %}\n"

    assert html(body, city="x") == "<p>text</p>\n<ul>\n<li>a</li>\n</ul>"
    assert html(body) == "<ul>\n<li>b</li>\n</ul>"


BLOCKS = st.recursive(
    st.sampled_from(["text", "- item", "- item\n- item", "1. n", "> quote", "# head", "*b* `c`"]),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("\n\n".join),
        st.lists(inner, min_size=1, max_size=3).map("\n".join),
        inner.map(lambda body: f"{{% if city %}}\n{body}\n{{% endif %}}"),
        inner.map(lambda body: f"{{% for i in range(2) %}}\n{body}\n{{% endfor %}}"),
        st.tuples(inner, inner).map(
            lambda pair: f"{{% if title %}}\n{pair[0]}\n{{% else %}}\n{pair[1]}\n{{% endif %}}"
        ),
    ),
    max_leaves=8,
)


@given(BLOCKS, st.booleans(), st.booleans())
@settings(max_examples=100, deadline=None)
def test_the_html_is_well_formed_in_every_branch(body: str, city: bool, title: bool) -> None:
    problems = template_problems(body, "campaign.yaml", "body")
    if problems:
        assert all("a loop within" in str(p) for p in problems)
        return
    message = compile_message("Hello", body)
    tokens = {**COMMON, "city": city or None, "title": title or None}
    assert WellFormed(message.render(tokens).html).open == []


@pytest.mark.parametrize(
    "body",
    [
        "# Head {% if city %}\n\ntext {% endif %}",
        "**bold {% if city %}** text{% endif %}",
        "{% if city %}\n\n> quoted {% endif %}",
        "[x](https://a.example/{% if city %}) {% endif %}",
    ],
)
def test_a_block_torn_between_paragraphs_is_a_problem(body: str) -> None:
    (found,) = template_problems(body, "campaign.yaml", "body")

    assert "the tag 'if' and its end far apart" in str(found)
    with pytest.raises(BadInput):
        compile_message("Hello", body)


def test_braces_that_are_no_tags_stay_braces() -> None:
    body = "\\{\\{ city }} &#123;% if %} {% raw %}{{ *x* }}{% endraw %} { a } {# gone #}"

    assert text(body) == "{{ city }} {% if %} {{ *x* }} { a }"
    assert html(body).count("&#123;") == 4


def test_indented_text_is_no_code_but_fenced_text_is() -> None:
    assert html("{% if true %}\n    indented\n{% endif %}") == "<p>indented</p>"
    assert text("```\na\n   b\n```") == "a\n   b"


def test_html_of_the_author_is_text() -> None:
    assert "<b>" not in html("<b>x</b> <script>")
    assert text("<b>x</b>") == "<b>x</b>"


def test_private_characters_of_the_author_do_not_pose_as_tags() -> None:
    assert text("a\U000f0000b{{ city }}\U00100001c", city="X") == "abXc"


def test_every_message_ends_with_address_and_unsubscribe_link() -> None:
    message = rendered("Hello")

    assert message.text == f"Hello\n\n{FOOTER}"
    assert "<p>Ida Berg, Kai 7, 5003 Bergen</p>" in message.html
    assert f'<a href="{URL.replace("&", "&amp;")}">Unsubscribe</a>' in message.html


@pytest.mark.parametrize(
    ("body", "links"),
    [
        ("[Stop]({{ unsubscribe_url }})", 1),
        ("{% if city %}\n[Stop]({{ unsubscribe_url }})\n{% endif %}", 2),
        ("{{ unsubscribe_url if city else '' }}", 2),
        ("```\nan open fence", 1),
    ],
)
def test_the_link_is_always_there_and_once_if_the_author_always_gives_it(
    body: str, links: int
) -> None:
    message = rendered(body, city="Oslo")

    assert message.text.count(URL) == links
    assert message.html.count(URL.replace("&", "&amp;")) == links
    assert "Kai 7, 5003 Bergen" in message.text


def test_a_broken_message_is_refused_with_all_its_problems() -> None:
    with pytest.raises(BadInput) as failure:
        compile_message("{{ compny }}", "Hi\n{{ frist_name }}")

    assert [problem.path for problem in failure.value.problems] == ["subject", "body, line 2"]
