"""The public endpoints against their own description, by requests that schemathesis makes up."""

from typing import Any

import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from aicmo_dagster.api.service import BASE
from aicmo_dagster_tests.api.conftest import Served

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


def test_no_made_up_request_breaks_the_description(served: Served) -> None:
    address = str(served.client.base_url).rstrip("/")
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
    public = schema.exclude(path_regex=f"^{BASE}/")
    operations = [found.ok() for found in public.get_all_operations()]
    assert len(operations) == 7
    for operation in operations:
        _ask(operation)


def _ask(operation: Any) -> None:
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy())
    def ask(case: schemathesis.Case) -> None:
        case.call_and_validate(checks=CHECKS)

    ask()
