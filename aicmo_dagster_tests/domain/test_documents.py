import json
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from aicmo_dagster.domain.conditions import Condition
from aicmo_dagster.domain.documents import (
    DEEPEST,
    MOST_VALUES,
    Section,
    parse_yaml,
    path_text,
    validate,
)
from aicmo_dagster.errors import BadInput, Problem

SETTINGS = settings(derandomize=True, deadline=None, max_examples=150)


def refusal(text: str) -> Problem:
    """The one problem that `text` has as YAML."""
    with pytest.raises(BadInput) as refused:
        parse_yaml(text, "spring.yaml")
    (problem,) = refused.value.problems
    return problem


PLAIN = {
    "a country code that YAML 1.1 takes for false": ("NO", "NO"),
    "a switch of YAML 1.1": ("yes", "yes"),
    "true": ("true", True),
    "a date": ("2026-03-04", "2026-03-04"),
    "a time of day": ("09:30", "09:30"),
    "a version": ("1.10", 1.1),
    "a number with groups": ("5_000_000", 5_000_000),
    "a number that looks octal": ("010", 10),
    "nothing": ("~", None),
}


@pytest.mark.parametrize(("written", "read"), PLAIN.values(), ids=PLAIN)
def test_a_value_is_read_by_the_core_rules(written: str, read: object) -> None:
    assert parse_yaml(f"key: {written}", "x") == {"key": read}


def test_json_is_read_as_well() -> None:
    assert parse_yaml('{"campaign": "a", "goals": {"replies": 4}}', "x") == {
        "campaign": "a",
        "goals": {"replies": 4},
    }


BROKEN = {
    "an open bracket": ("a: 1\nb: [1, 2", 2),
    "a mapping within a line": ("a: 1\nb: c: d", 2),
    "a tab for indentation": ("a:\n\t- b", 2),
    "an open quotation": ("a: 1\nb: 'c\n", 3),
    "a key given twice": ("a: 1\nb: 2\na: 3", 3),
    "a key given twice further in": ("a:\n  b: 1\n  b: 2", 3),
    "an unknown alias": ("a: 1\nb: *c", 2),
    "an unknown tag": ("a: 1\nb: !secret c", 2),
    "a Python object": ("a: 1\nb: !!python/object:os.system c", 2),
    "a second document": ("a: 1\n---\nb: 2", 2),
    "a number without digits": ("a: 1\nb: 0x_", 2),
    "a float without digits": ("a: 1\nb: ._", 2),
    "a tag that its value does not fit": ("a: 1\nb: !!int c", 2),
    "a truth that is none": ("a: 1\nb: !!bool c", 2),
    "a number of too many digits": ("a: 1\nb: " + "9" * 5000, 2),
    "the rules of YAML 1.1": ("# x\n%YAML 1.1\n---\ncountry: NO", 2),
}


@pytest.mark.parametrize(("text", "line"), BROKEN.values(), ids=BROKEN)
def test_broken_yaml_is_refused_and_names_the_line(text: str, line: int) -> None:
    assert refusal(text).path == f"line {line}"


def test_a_key_given_twice_is_named() -> None:
    assert '"owner"' in refusal("owner: a\nowner: b").found


UNREADABLE = {
    "a NUL": "a: \x00",
    "nesting without end": "a: " + "[" * 500,
    "closed nesting": "a: " + "[" * 500 + "]" * 500,
}


@pytest.mark.parametrize("text", UNREADABLE.values(), ids=UNREADABLE)
def test_what_yaml_cannot_hold_is_refused(text: str) -> None:
    assert refusal(text).where == "spring.yaml"


NO_MAPPINGS = {
    "": "an empty document",
    "# only a comment": "an empty document",
    "- a\n- b": "a list",
    "campaign": "a single value",
    "5": "a single value",
    "null": "an empty document",
}


@pytest.mark.parametrize(("text", "found"), NO_MAPPINGS.items())
def test_a_document_is_a_mapping(text: str, found: str) -> None:
    assert refusal(text).found == found


@SETTINGS
@given(st.text(st.sampled_from(" \n\t:-?!&*[]{}#|>'\"%@`,~<=.0_ax"), max_size=40))
def test_any_text_is_a_mapping_that_json_holds_or_refused_with_one_reason(text: str) -> None:
    found = parsed(text)
    if isinstance(found, BadInput):
        (problem,) = found.problems
        assert problem.where == "x"
        assert "\n" not in str(problem)
    else:
        written = json.dumps(found, allow_nan=False)
        assert parsed(written) == json.loads(written)


def parsed(text: str) -> dict[str, Any] | BadInput:
    try:
        return parse_yaml(text, "x")
    except BadInput as error:
        return error


class Nested(Section):
    names: list[str] = Field(default=[])
    size: int | float | None = None


class Csv(Section):
    type: Literal["csv"]
    path: str


class Api(Section):
    type: Literal["api"]
    url: str


class Whole(Section):
    title: str = "a"
    nested: Nested = Nested()
    by_name: dict[str, Nested] = Field(default={})
    sources: list[Annotated[Csv | Api, Field(discriminator="type")]] = Field(default=[])
    conditions: list[Condition] = Field(default=[])
    anything: dict[str, Any] = Field(default={})


def problems(document: dict[Any, Any]) -> list[tuple[str, str, str]]:
    """(path, found, expected) of every problem of `document` as a `Whole`."""
    with pytest.raises(BadInput) as refused:
        validate(Whole, document, "x")
    return [(p.path, p.found, p.expected) for p in refused.value.problems]


IS_ONE = {"field": "city", "op": "==", "value": "Oslo"}

MISTAKES: dict[str, tuple[dict[Any, Any], str, str, str]] = {
    "a misspelt key": (
        {"titel": "a"},
        "titel",
        "unknown key 'titel'",
        "'title' (allowed here: title, nested, by_name, sources, conditions, anything)",
    ),
    "a key like no other": (
        {"nested": {"qqq": 1}},
        "nested.qqq",
        "unknown key 'qqq'",
        "one of: names, size",
    ),
    "a misspelt key in a mapping of sections": (
        {"by_name": {"a": {"siez": 1}}},
        "by_name.a.siez",
        "unknown key 'siez'",
        "'size' (allowed here: names, size)",
    ),
    "a misspelt key in one kind of section": (
        {"sources": [{"type": "api", "url": "u", "urll": "u"}]},
        "sources[0].urll",
        "unknown key 'urll'",
        "'url' (allowed here: type, url)",
    ),
    "a key that a sibling has": (
        {"sources": [{"type": "csv", "path": "p", "url": "u"}]},
        "sources[0].url",
        "unknown key 'url'",
        "one of: type, path",
    ),
    "a misspelt key in a condition": (
        {"conditions": [IS_ONE | {"mising": "reject"}]},
        "conditions[0].mising",
        "unknown key 'mising'",
        "'missing' (allowed here: name, field, op, value, missing)",
    ),
    "a key beside one that names the kind of condition": (
        {"conditions": [{"all": [IS_ONE], "any": [IS_ONE]}]},
        "conditions[0].any",
        "unknown key 'any'",
        "one of: name, all",
    ),
    "a mistake within nested conditions of one kind": (
        {"conditions": [{"all": [{"all": [{"not": IS_ONE | {"op": "~"}}]}]}]},
        "conditions[0].all[0].all[0].not.op",
        '"~"',
        "'==', '!=', '<', '<=', '>', '>=', 'between', 'in', 'not_in', 'contains', 'matches' or "
        "'is_missing'",
    ),
    "a required key of a condition": (
        {"conditions": [IS_ONE, {"op": "is_missing"}]},
        "conditions[1].field",
        "nothing",
        "a value: this key is required",
    ),
    "a wrong type": ({"title": 5}, "title", "5", "a valid string"),
    "a truth for a number": ({"nested": {"size": True}}, "nested.size", "true", ""),
    "a wrong type in a list": ({"nested": {"names": ["a", 5]}}, "nested.names[1]", "5", ""),
    "a scalar for a section": ({"nested": "a"}, "nested", '"a"', "a mapping"),
    "no kind of section": (
        {"sources": [{"type": "xml"}]},
        "sources[0]",
        '{"type": "xml"}',
        "",
    ),
    "a number as a key": ({"by_name": {1: {}}}, "by_name.1", "the key 1", "text; quote it"),
    "a list as a key": ({("a", "b"): 1}, "('a', 'b')", "the key ('a', 'b')", "text; quote it"),
    "infinity": (
        {"anything": {"a": [float("inf")]}},
        "anything.a[0]",
        "a number without bounds",
        "a number between -1e+18 and 1e+18",
    ),
    "no number": ({"nested": {"size": float("nan")}}, "nested.size", "a number without bounds", ""),
    "a whole number beyond 64 bits": (
        {"nested": {"size": 10**30}},
        "nested.size",
        "a number without bounds",
        "",
    ),
    "bytes": ({"title": b"a"}, "title", "a value of type bytes", ""),
    "a set": ({"nested": {"names": {"a"}}}, "nested.names", "a value of type set", ""),
    "half a character": ({"title": "a\ud800"}, "title", "a character that is no text", ""),
    "a NUL": ({"title": "a\x00"}, "title", "a character that is no text", ""),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_with_its_path_and_what_is_allowed(
    mistake: tuple[dict[Any, Any], str, str, str],
) -> None:
    document, path, found, expected = mistake
    ((at, said, wanted),) = problems(document)

    assert (at, said) == (path, found)
    assert wanted == expected or not expected


def test_the_name_that_python_has_for_a_key_is_no_key() -> None:
    told = problems({"conditions": [{"not_": IS_ONE}]})

    assert ("conditions[0].not_", "unknown key 'not_'") in [told_of[:2] for told_of in told]


def test_all_mistakes_are_told_at_once() -> None:
    document = {
        "titel": 1,
        "title": 2,
        "nested": {"names": 3},
        "anything": {"a": {1, 2}},
        "sources": [{"type": "csv"}],
    }

    assert {path for path, _, _ in problems(document)} == {
        "titel",
        "title",
        "nested.names",
        "anything.a",
        "sources[0].path",
    }


def test_a_value_that_fits_no_member_of_a_union_is_one_problem() -> None:
    ((path, _, expected),) = problems({"nested": {"size": "a"}})

    assert path == "nested.size"
    assert " or " in expected


def test_a_long_value_is_not_repeated_in_full() -> None:
    ((_, found, _),) = problems({"nested": "a" * 10_000})

    assert len(found) <= 80


def test_a_document_that_holds_itself_is_refused() -> None:
    document: dict[str, Any] = {"anything": {}}
    document["anything"]["again"] = document

    assert problems(document)[0][2] == f"at most {DEEPEST} levels and {MOST_VALUES} values"


def test_aliases_of_aliases_are_refused_before_they_fill_the_memory() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    document = parse_yaml("\n".join(lines), "x")

    assert "more than can be read" in problems({"anything": document})[0]


@pytest.mark.parametrize(
    ("location", "text"),
    [
        ((), ""),
        (("a",), "a"),
        (("a", 0, "b"), "a[0].b"),
        (("a", "x\ny"), 'a."x\\ny"'),
    ],
)
def test_a_path_is_written_in_one_line(location: tuple[int | str, ...], text: str) -> None:
    assert path_text(location) == text
