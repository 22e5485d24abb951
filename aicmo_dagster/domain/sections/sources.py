"""The sections `sources` and `enrich`: where leads come from, and who completes them.

Not here: reading them (`aicmo_dagster.sources`).
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from aicmo_dagster.domain.documents import Section
from aicmo_dagster.domain.field_types import OurField, SourcePath, TheirColumn, is_url


class Outcome(Section):
    """How the source says that a lead was won: a column with a value, or one with an instant."""

    column: str | None = None
    won: str | None = None
    at: str | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.at is None) == (self.column is None) or (self.column is None) != (
            self.won is None
        ):
            raise ValueError("either 'column' with 'won', or 'at'")
        return self


class CsvSource(Section):
    """Leads from CSV files, at a path or at the URL of an object store."""

    type: Literal["csv"]
    path: SourcePath
    columns: dict[OurField, TheirColumn] = Field(min_length=1)
    missing: list[str] = Field(default=[""])
    outcome: Outcome | None = None
    arrived: str | None = None

    @property
    def is_remote(self) -> bool:
        """Whether `path` is a URL, which every machine reads alike."""
        return is_url(self.path)


class ApolloSource(Section):
    """Leads from Apollo's people search."""

    type: Literal["apollo"]
    search: dict[str, Any] = Field(min_length=1)
    max_leads: PositiveInt


Source = Annotated[CsvSource | ApolloSource, Field(discriminator="type")]


class Enrich(Section):
    """Which providers complete a lead, in which order, for how many credits.

    With `companies`, Apollo is also asked about the companies of leads that lack their fields.
    """

    waterfall: list[Literal["apollo", "dropcontact"]] = Field(min_length=1)
    max_credits: PositiveInt
    fresh_days: PositiveInt = 90
    companies: bool = False
