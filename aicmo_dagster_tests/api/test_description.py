"""The REST API against its own description, by requests that schemathesis makes up."""

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import CHECKS, load_all_checks

from aicmo_dagster.api.service import BASE
from aicmo_dagster_tests.api.rest import Rest, running_rest
from aicmo_dagster_tests.conftest import NewDatabase
from aicmo_dagster_tests.samples import lead_id

REAL = {"key": "spring", "lead": lead_id(2)}
load_all_checks()
# A description cannot say all that a document, a cursor or an address has to be.
EVERY_CHECK = [each for each in CHECKS.get_all() if each.__name__ != "positive_data_acceptance"]


@pytest.fixture(scope="module")
def unlimited(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Rest]:
    new: NewDatabase = request.getfixturevalue(f"new_{getattr(request, 'param', 'sqlite')}")
    home = tmp_path_factory.mktemp("rest")
    with running_rest(home, new(), api_rate="100000/minute") as started:
        yield started


@pytest.mark.parametrize(
    ("unlimited", "who", "examples"),
    [
        ("sqlite", "admin", 2),
        ("sqlite", "viewer", 1),
        ("sqlite", None, 1),
        ("postgresql", "admin", 1),
    ],
    indirect=["unlimited"],
)
def test_no_made_up_request_breaks_the_description(
    unlimited: Rest, who: str | None, examples: int
) -> None:
    schema = schemathesis.openapi.from_url(f"{unlimited.client.base_url}/openapi.json")
    operations = [each.ok() for each in schema.include(path_regex=f"^{BASE}/").get_all_operations()]
    assert len(operations) > 15
    headers = {"Authorization": f"Bearer {unlimited.tokens[who]}"} if who else {}
    for operation in operations:

        @settings(
            max_examples=examples,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(operation.as_strategy())
        def ask(case: schemathesis.Case) -> None:
            case.headers.pop("Authorization", None)
            # Else nearly every request would end at a campaign that there is not.
            parts = case.path_parameters
            parts.update({name: REAL[name] for name in parts.keys() & REAL.keys()})
            case.call_and_validate(checks=EVERY_CHECK, headers=headers)

        ask()


def test_the_description_is_of_openapi_3_1_and_every_endpoint_says_what_it_does(
    unlimited: Rest,
) -> None:
    document = unlimited.client.get("/openapi.json").json()

    assert document["openapi"].startswith("3.1")
    for path, operations in document["paths"].items():
        for operation in operations.values() if path.startswith(BASE) else ():
            assert operation["description"]
            assert operation["security"] == [{"bearer": []}]
            problem = operation["responses"]["401"]["content"]
            assert list(problem) == ["application/problem+json"]
