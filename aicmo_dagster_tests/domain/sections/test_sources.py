import pytest

from aicmo_dagster_tests.domain.documented import CSV, Mistake, assert_refused

REFUSED: dict[str, Mistake] = {
    "a misspelt key of a source": ((*CSV, "pth"), "a", "sources[0].pth", "'path'"),
    "a misspelt field of ours": (
        (*CSV, "columns", "emial"),
        "E-Mail",
        "sources[0].columns.emial",
        "'email'",
    ),
    "a field that intake furnishes": (
        (*CSV, "columns", "lead_id"),
        "Id",
        "sources[0].columns.lead_id",
        "",
    ),
    "a column template over another name": (
        (*CSV, "columns", "email"),
        "{{ rwo['x'] }}",
        "sources[0].columns.email",
        "'row'",
    ),
    "a column template that is none": (
        (*CSV, "columns", "email"),
        "{{ row[ }}",
        "sources[0].columns.email",
        "Jinja",
    ),
    "an outcome told in two ways": (
        (*CSV, "outcome"),
        {"column": "a", "won": "1", "at": "b"},
        "sources[0].outcome",
        "either 'column' with 'won', or 'at'",
    ),
    "an outcome told by half": (
        (*CSV, "outcome"),
        {"column": "a"},
        "sources[0].outcome",
        "either 'column' with 'won', or 'at'",
    ),
    "companies maybe": (("enrich", "companies"), "maybe", "enrich.companies", "bool"),
    "an unknown provider": (("enrich", "waterfall"), ["hunter"], "enrich.waterfall[0]", "'apollo'"),
    "an unknown source": (("sources", 0, "type"), "xlsx", "sources[0]", "'csv', 'apollo'"),
}


@pytest.mark.parametrize("mistake", REFUSED.values(), ids=REFUSED)
def test_a_mistake_is_refused_with_its_path_and_what_is_allowed(mistake: Mistake) -> None:
    assert_refused(mistake)
