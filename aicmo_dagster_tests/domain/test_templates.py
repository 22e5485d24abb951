import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicmo_dagster.domain.sandbox import LONGEST, PLAIN, RenderFailed
from aicmo_dagster.domain.schemas import field_kinds
from aicmo_dagster.domain.template_faults import TOKENS, template_problems
from aicmo_dagster.domain.templates import Program, row_columns, row_template


def problem(text: str) -> str:
    """The only problem of `text`."""
    (found,) = template_problems(text, "campaign.yaml", "steps[0].body")
    return str(found)


def test_a_row_template_fills_in_columns() -> None:
    value_of = row_template("{{ row['Prospect ID'] }}@leads.example")

    assert value_of({"Prospect ID": "a1", "Other": None}) == "a1@leads.example"
    assert value_of({"Prospect ID": "b2"}) == "b2@leads.example"


@pytest.mark.parametrize("row", [{}, {"First Name": None}])
def test_a_missing_column_takes_the_default_or_fails_by_name(row: dict[str, None]) -> None:
    assert row_template("{{ row['First Name'] | default('there') }}")(row) == "there"
    assert row_template("{% if row['First Name'] %}yes{% else %}no{% endif %}")(row) == "no"
    with pytest.raises(RenderFailed, match="First Name is missing") as failure:
        row_template("{{ row['First Name'] }}")(row)
    assert failure.value.token == "First Name"


def test_a_column_may_bear_the_name_of_a_method() -> None:
    assert (
        row_template("{{ row.items }} {{ row.title }}")({"items": "3", "title": "CEO"}) == "3 CEO"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ row", "unexpected end of template"),
        ("{{ rwo.x }}", "'rwo'"),
        ("{{ row.x | lowr }}", "unknown filter 'lowr'; expected 'lower'"),
        ("{% include 'passwd' %}", "the tag 'include'"),
    ],
)
def test_a_broken_row_template_is_refused_with_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(ValueError, match="found") as failure:
        row_template(text)
    assert said in str(failure.value)


@given(st.text(max_size=40))
@settings(max_examples=50, deadline=None)
def test_a_row_s_value_is_never_a_template(value: str) -> None:
    written = row_template("[{{ row.x }}]")({"x": "{{ row }}{% if %}" + value})

    assert written.startswith("[{{ row }}{% if %}")
    assert written.endswith("]")


def test_every_lead_field_is_a_token() -> None:
    assert set(field_kinds()) < TOKENS
    assert TOKENS - set(field_kinds()) == {"custom", "sender", "campaign", "unsubscribe_url"}


def test_a_template_of_known_names_has_no_problem() -> None:
    text = """
{% set greeting = "Hello" %}
{% for word in [first_name, last_name] | select %}{{ loop.index }}. {{ word | upper }} {% endfor %}
{{ greeting }} {{ custom['Their Column'] | default('') }} {{ sender.postal_address }}
{% if score is defined and score > 3 %}{{ campaign.name }}{% endif %}
"""
    assert template_problems(text, "campaign.yaml", "") == []


def test_a_syntax_error_is_told_with_its_line() -> None:
    assert "campaign.yaml: steps[0].body, line 3: found " in problem("Hello\n\n{% if company %}x")
    assert "steps[0].body: found" in problem("{% if company %}x")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ frist_name }}", "the unknown name 'frist_name'; expected 'first_name'"),
        ("{% if x %}{{ y }}{% endif %}{{ x }}", "the unknown name 'x'"),
        ("{{ sender.adress }}", "the unknown name 'sender.adress'; expected 'address'"),
        ("{% if false %}{{ city | uper }}{% endif %}", "the unknown filter 'uper'"),
        ("{% if city is emty %}{% endif %}", "the unknown test 'emty'"),
        ("{{ city | safe }}", "the unknown filter 'safe'"),
        ("{{ [1, 2] | random }}", "the unknown filter 'random'"),
        ("{% autoescape false %}{{ city }}{% endautoescape %}", "the tag 'autoescape'"),
        ("{% macro m() %}{% endmacro %}", "the tag 'macro'"),
        ("{% import 'x' as y %}", "the tag 'import'"),
        ("{% set unsubscribe_url = 'https://x.example' %}", "a new value for 'unsubscribe_url'"),
        ("{% for a in [] recursive %}{{ loop(a) }}{% endfor %}", "a loop within loops"),
        ("{% for a in [] %}" * 3 + "{% endfor %}" * 3, "a loop within loops"),
    ],
)
def test_what_a_template_may_not_do_is_named(text: str, said: str) -> None:
    found = template_problems(text, "campaign.yaml", "body")

    assert said in str(found[0])


@pytest.mark.parametrize(
    "expression",
    [
        "''.__class__.__mro__",
        "city.__class__",
        "city['__class__']",
        "city.format(1)",
        "city.ljust(100000000)",
        "'%1000000000d' % 1",
        "'x' * 1000000000",
        "(9 ** 64) ** 64",
        "2 ** 65",
        "range(100000)",
        "custom.clear()",
        "[].append(1)",
        "city.nothing",
        "none",
        "1 / 0",
    ],
)
def test_the_sandbox_stops_what_would_escape_it_or_run_on(expression: str) -> None:
    program = Program.of(f"{{{{ {expression} }}}}", PLAIN)

    with pytest.raises(RenderFailed):
        program.render({"city": "Oslo", "custom": {"a": "b"}})


def test_a_message_without_end_is_stopped() -> None:
    turns = "{% for a in range(1000) %}{% for b in range(1000) %}"
    program = Program.of(f"{turns}{'x' * 100}{{% endfor %}}{{% endfor %}}", PLAIN)

    with pytest.raises(RenderFailed, match=str(LONGEST)):
        program.render({})


@pytest.mark.parametrize(
    "template",
    [
        "{{ custom[city] }}",
        "{{ city | round }}",
        "{{ city.secret_person }}{{ city[first_name] }}",
        "{{ first_name | float + city }}",
    ],
)
def test_an_error_never_quotes_a_value(template: str) -> None:
    program = Program.of(template, PLAIN)

    with pytest.raises(RenderFailed) as failure:
        program.render({"city": "Ingrid Bergman", "first_name": "Ingrid Bergman", "custom": {}})
    assert "Ingrid" not in str(failure.value)
    assert failure.value.__suppress_context__


def test_whole_numbers_have_no_fraction_and_other_numbers_keep_theirs() -> None:
    program = Program.of("{{ annual_revenue }} {{ score }}", PLAIN)

    assert program.render({"annual_revenue": 5_000_000.0, "score": 61.5}) == "5000000 61.5"


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("{{ row['Id'] }}@x.example", {"Id"}),
        ("{{ row.Id }}-{{ row['A b'] | lower }}", {"Id", "A b"}),
        ("{{ row['Id'] | default('none') }}", set()),
        ("{% if row['Id'] is defined %}yes{% endif %}", set()),
    ],
)
def test_a_row_template_tells_which_columns_it_cannot_do_without(
    text: str, columns: set[str]
) -> None:
    assert row_columns(text) == columns


DOUBLINGS = "".join("{% set a = a ~ a %}" for _ in range(64))
SUMS = "".join("{% set a = a + a %}" for _ in range(64))


@pytest.mark.parametrize(
    "text",
    [
        "{{ row.x" + " | replace('x', 'xxxxxxxxxx')" * 40 + " }}",
        "{{ row.x" + " | replace('', row.long)" * 9 + " }}",
        "{{ row.long | urlencode" + " | urlencode" * 60 + " | length }}",
        "{{ (row.long | list) | join(row.long) | length }}",
        "{{ row.long | map('upper') | join(row.long) | length }}",
        "{{ row.long | wordwrap(1, true, row.long) | length }}",
        "{% set a = row.long %}" + DOUBLINGS + "{{ a | length }}",
        "{% set a = row.long %}" + SUMS + "{{ a | length }}",
        "{{ row.long.replace('%', row.long) | length }}",
        "{{ row.long.join(row.long) | length }}",
    ],
)
def test_no_chain_of_filters_fills_the_memory(text: str) -> None:
    value_of = row_template(text)
    tracemalloc.start()
    try:
        with pytest.raises(RenderFailed):
            value_of({"x": "x", "long": "%" * 20_000})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40 * LONGEST


def test_texts_may_still_be_joined_and_replaced() -> None:
    text = "{{ row.x ~ row.x | replace('a', 'bb') }} {{ row.x + '!' }} {{ row.x | join('/') }}"
    assert row_template(text)({"x": "aa"}) == "aabbbb aa! a/a"
