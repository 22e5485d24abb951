import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aicmo_dagster.errors import BadInput, Problem
from aicmo_dagster.sources.campaign_files import CampaignFile, read_campaign_file
from aicmo_dagster_tests.domain.documented import EXAMPLE, mutated
from aicmo_dagster_tests.domain.documented import outcome as campaign_outcome
from aicmo_dagster_tests.samples import campaign_document

SHARED = Path(__file__).parents[3] / "shared" / "data"
PROPERTY = settings(
    derandomize=True,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # each example overwrites the file
)
TEMPLATES = ("intro.md.j2", "nudge_short.md.j2", "nudge_story.md.j2")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the templates of the contract's example."""
    for name in TEMPLATES:
        (tmp_path / name).write_text(f"Hello {{{{ first_name | default('you') }}}}, {name}")
    return tmp_path


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "campaign.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def with_message(**parts: Any) -> str:
    """A document in order but for what its one message says."""
    steps = {"steps": [{"id": "intro", "subject": "Hello", "body": "Hi", **parts}]}
    return json.dumps(campaign_document(sequences={"everyone": steps}))


def problems(path: Path) -> list[Problem]:
    with pytest.raises(BadInput) as refused:
        read_campaign_file(path)
    return list(refused.value.problems)


def outcome(path: Path) -> CampaignFile | BadInput:
    try:
        return read_campaign_file(path)
    except BadInput as error:
        return error


def test_the_example_of_the_contract_is_read_with_its_templates(folder: Path) -> None:
    read = read_campaign_file(written(folder, EXAMPLE))

    assert read.campaign.campaign == "nordic-revops"
    assert sorted(read.templates) == sorted(TEMPLATES)
    assert read.templates["intro.md.j2"].endswith("intro.md.j2")
    assert read.folder == folder


def test_the_x_education_campaign_is_valid() -> None:
    path = SHARED / "x_education" / "campaign.yaml"
    if not path.exists():
        pytest.skip("the shared data are not here")
    read = read_campaign_file(path)

    assert read.campaign.campaign == "x-education"
    assert read.templates == {}


def test_paths_are_relative_to_the_document_and_not_to_the_working_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(folder, EXAMPLE)
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")

    assert read_campaign_file(Path("..", "campaign.yaml")).folder == folder


def test_a_byte_order_mark_is_no_part_of_a_document_or_template(folder: Path) -> None:
    (folder / "intro.md.j2").write_text("Hi", encoding="utf-8-sig")
    read = read_campaign_file(written(folder, EXAMPLE.encode("utf-8-sig")))

    assert read.templates["intro.md.j2"] == "Hi"


def test_a_body_that_is_text_is_no_file(folder: Path) -> None:
    body = "Read this:\nintro.md.j2"

    assert read_campaign_file(written(folder, with_message(body=body))).templates == {}


def test_a_template_that_does_not_exist_is_named_with_its_place(tmp_path: Path) -> None:
    told = problems(written(tmp_path, EXAMPLE))

    assert [(p.path, p.found) for p in told] == [
        ("sequences.executives.steps[0].body", "no file 'intro.md.j2'"),
        ("sequences.executives.steps[1].variants[0].body", "no file 'nudge_short.md.j2'"),
        ("sequences.executives.steps[1].variants[1].body", "no file 'nudge_story.md.j2'"),
        ("sequences.practitioners.steps[0].body", "no file 'intro.md.j2'"),
    ]


UNREADABLE = {
    "a folder": ("folder.j2", "directory"),
    "not UTF-8": ("latin.j2", "not UTF-8"),
    "a name that is too long": ("x" * 300 + ".j2", "too long"),
    "a file as a folder": ("latin.j2/more.j2", "Not a directory"),
}


@pytest.mark.parametrize(("name", "why"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_template_that_cannot_be_read_says_why(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "folder.j2").mkdir()
    (tmp_path / "latin.j2").write_bytes("blåbær".encode("latin-1"))
    (told,) = problems(written(tmp_path, with_message(body=name)))

    assert told.path == "sequences.everyone.steps[0].body"
    assert why in told.found


FAULTS: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "an unknown token in a body": (
        {"body": "Hi {{ frist_name }}"},
        "body",
        "'frist_name'",
        "'first_name'",
    ),
    "an unknown token in a subject": (
        {"subject": "Hi {{ frist_name }}"},
        "subject",
        "'frist_name'",
        "'first_name'",
    ),
    "a token that is not closed": ({"body": "Hi {{ first_name"}, "body", "", "Jinja"),
    "an unknown token in a variant": (
        {"variants": [{"id": "a", "subject": "{{ nmae }}"}]},
        "variants[0].subject",
        "'nmae'",
        "",
    ),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_faulty_message_is_refused_with_its_place(
    tmp_path: Path, fault: tuple[dict[str, Any], str, str, str]
) -> None:
    parts, place, found, expected = fault
    (told,) = problems(written(tmp_path, with_message(**parts)))

    assert told.path == f"sequences.everyone.steps[0].{place}"
    assert found in told.found
    assert expected in told.expected


def test_a_fault_in_a_template_file_names_its_line(folder: Path) -> None:
    (folder / "intro.md.j2").write_text("Hello\n\n{{ frist_name }}")
    told = problems(written(folder, EXAMPLE))

    assert [p.path for p in told] == [
        "sequences.executives.steps[0].body, line 3",
        "sequences.practitioners.steps[0].body, line 3",
    ]


def test_the_problems_of_document_and_templates_are_told_together(tmp_path: Path) -> None:
    text = EXAMPLE.replace("threshold: 60", "treshold: 60").replace("waterfall", "watrefall")
    text = text.replace("sequence: practitioners", "sequence: nobody")
    text = text.replace("{{ company }}", "{{ compnay }}").replace("0 6 * * 1-5", "0 0 30 2 *")

    assert sorted(p.path for p in problems(written(tmp_path, text))) == [
        "enrich.waterfall",
        "enrich.watrefall",
        "routing.sequences[1].sequence",
        "schedule.harvest",
        "scoring.treshold",
        "sequences.executives.steps[0].body",
        "sequences.executives.steps[0].subject",
        "sequences.executives.steps[1].variants[0].body",
        "sequences.executives.steps[1].variants[1].body",
        "sequences.practitioners.steps[0].body",
    ]


def test_a_document_that_is_not_there_is_refused(tmp_path: Path) -> None:
    (told,) = problems(tmp_path / "nowhere.yaml")

    assert told.found == "no such file or directory"
    assert told.where == str(tmp_path / "nowhere.yaml")


BROKEN: dict[str, tuple[bytes, str, str]] = {
    "empty": (b"", "", "an empty document"),
    "a list": (b"- a", "", "a list"),
    "an open bracket": (b"a: 1\nb: [", "line 2", ""),
    "a key given twice": (b"owner: a\nname: b\nowner: c", "line 3", ""),
    "not UTF-8": ("navn: blåbær".encode("latin-1"), "", "bytes that are not UTF-8"),
    "UTF-16": ("campaign: a".encode("utf-16"), "", "bytes that are not UTF-8"),
    "binary": (b"\x00\x01\x02", "", ""),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_broken_document_is_refused_and_named(
    tmp_path: Path, broken: tuple[bytes, str, str]
) -> None:
    content, path, found = broken
    (told,) = problems(written(tmp_path, content))

    assert told.where == str(tmp_path / "campaign.yaml")
    assert told.path == path
    assert found in told.found


def test_a_folder_is_no_document(tmp_path: Path) -> None:
    assert problems(tmp_path)[0].found == "is a directory"


@PROPERTY
@given(document=mutated())
def test_a_mutation_of_the_example_is_read_or_refused(
    folder: Path, document: dict[str, Any]
) -> None:
    """Read from a file, it is what it is when it is read from what the file holds."""
    try:
        text = json.dumps(document, default=str, skipkeys=True, allow_nan=False)
    except ValueError:  # it holds itself, or a number that JSON has none of
        return
    found, held = outcome(written(folder, text)), campaign_outcome(json.loads(text))
    if isinstance(held, BadInput):
        assert isinstance(found, BadInput)
        assert places_of(held) <= places_of(found)
    elif isinstance(found, CampaignFile):
        assert found.campaign == held


@PROPERTY
@given(
    place=st.integers(0, len(EXAMPLE) - 1),
    length=st.integers(0, 40),
    text=st.text("{}[]:,-#&*!|>'\"%@ \n\tab0", max_size=6) | st.binary(max_size=3),
)
def test_a_mistyped_document_is_read_as_it_stands_or_refused_at_its_place(
    folder: Path, place: int, length: int, text: str | bytes
) -> None:
    """What is read is read again alike from its own words; a refusal names file and place."""
    typed = text.encode() if isinstance(text, str) else text
    encoded = EXAMPLE.encode()
    found = outcome(written(folder, encoded[:place] + typed + encoded[place + length :]))
    if isinstance(found, CampaignFile):
        again = outcome(written(folder, found.campaign.model_dump_json(by_alias=True)))
        assert isinstance(again, CampaignFile)
        assert (again.campaign, again.templates) == (found.campaign, found.templates)
    else:
        for problem in found.problems:
            assert Path(problem.where).name in {"campaign.yaml", *TEMPLATES}
            assert problem.path or problem.found
            assert problem.expected


def places_of(refused: BadInput) -> set[str]:
    return {problem.path for problem in refused.problems}


def test_a_truncated_document_is_read_or_refused_wherever_it_ends(folder: Path) -> None:
    for end in range(0, len(EXAMPLE), 97):
        found = outcome(written(folder, EXAMPLE[:end]))
        assert isinstance(found, BadInput)


def test_filters_that_apollo_would_be_silent_about_are_told_at_their_place(folder: Path) -> None:
    search = {"person_title": ["CEO"], "person_seniorities": ["boss"], "q_keywords": "ferries"}
    apollo = {"type": "apollo", "search": search, "max_leads": 10}
    sources = [*campaign_document()["sources"], apollo]
    path = written(folder, json.dumps(campaign_document(sources=sources)))

    named, valued = problems(path)

    assert str(named) == (
        f"{path}: sources[1].search.person_title: found 'person_title'; expected 'person_titles'"
    )
    assert (valued.path, valued.found) == ("sources[1].search.person_seniorities", "['boss']")
    assert "c_suite" in valued.expected


def test_a_source_whose_protocol_needs_a_package_names_it(folder: Path) -> None:
    """Nobody should learn of it from a harvest at night."""
    sources = [
        {"type": "csv", "path": "memory://bucket/*.csv", "columns": {"email": "Email"}},
        {"type": "csv", "path": "oci://bucket/*.csv", "columns": {"email": "Email"}},
    ]
    document = json.dumps(campaign_document(sources=sources))

    with pytest.raises(BadInput) as caught:
        read_campaign_file(written(folder, document))

    (problem,) = caught.value.problems
    assert problem.path == "sources[1].path"
    assert "Install ocifs" in problem.found


@pytest.mark.parametrize("before", ["", "zip://*.csv::"])
def test_a_url_that_holds_a_password_is_refused(folder: Path, before: str) -> None:
    url = f"{before}ftp://me:secret@host/a.csv"
    sources = [{"type": "csv", "path": url, "columns": {"email": "E"}}]
    with pytest.raises(BadInput, match=r"sources\[0\].path.*without user or password"):
        read_campaign_file(written(folder, json.dumps(campaign_document(sources=sources))))
