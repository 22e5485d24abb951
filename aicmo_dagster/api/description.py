"""The OpenAPI description: what FastAPI tells of the endpoints, and what it leaves out.

Not here: what single endpoints say of themselves.
"""

from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from aicmo_dagster.api.problems import ProblemDocument

_REF = "#/components/schemas/{model}"


class Described(FastAPI):
    """An application whose description holds the documents of problems."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI 3.1 document, made once."""
        if self.openapi_schema is None:
            document = super().openapi()
            _, told = models_json_schema([(ProblemDocument, "serialization")], ref_template=_REF)
            document.setdefault("components", {}).setdefault("schemas", {}).update(told["$defs"])
        assert self.openapi_schema is not None
        return self.openapi_schema
