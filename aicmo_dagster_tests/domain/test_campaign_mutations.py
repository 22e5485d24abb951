"""Whatever a document is, it is read, or refused with its problems."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from aicmo_dagster.domain.campaigns import Campaign
from aicmo_dagster.errors import BadInput
from aicmo_dagster_tests.domain.documented import ANYTHING, changed, mutated, outcome

SETTINGS = settings(derandomize=True, deadline=None, max_examples=75)
SECTIONS = st.sampled_from([*Campaign.model_fields])


def is_read_or_refused(document: object) -> bool:
    """It is refused with problems, each at a path of one line; or what was read reads as itself."""
    found = outcome(document)
    if isinstance(found, BadInput):
        return bool(found.problems) and "\n" not in "".join(each.path for each in found.problems)
    return Campaign.model_validate_json(found.model_dump_json(by_alias=True)) == found


@SETTINGS
@given(mutated())
def test_a_mutation_of_the_example_is_read_or_refused(document: dict[str, Any]) -> None:
    assert is_read_or_refused(document)


@SETTINGS
@given(ANYTHING | st.dictionaries(SECTIONS, ANYTHING))
def test_any_document_is_read_or_refused(document: object) -> None:
    assert is_read_or_refused(document)


@SETTINGS
@given(st.text("0123456789*/-,L# monW", max_size=12) | st.text(max_size=8))
def test_any_cron_expression_is_read_or_refused(cron: str) -> None:
    assert is_read_or_refused(changed(("schedule", "harvest"), cron))
