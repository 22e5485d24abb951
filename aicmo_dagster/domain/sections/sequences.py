"""The section `sequences`: messages in order, their waits, variants and tests.

Not here: what their templates may say (`templates`), or when a message is due (`nurture`).
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from aicmo_dagster.domain.documents import Section
from aicmo_dagster.domain.field_types import Days, Identifier, OneLine, Weight


class Wait(Section):
    """Local calendar days, or elapsed hours, after the step before."""

    days: Days | None = None
    hours: Annotated[int, Field(ge=0, le=24 * 3650)] | None = None
    if_opened: Days | None = None
    if_clicked: Days | None = None

    @model_validator(mode="after")
    def _one_unit(self) -> Self:
        if (self.days is None) == (self.hours is None):
            raise ValueError("either 'days' or 'hours'")
        return self


class Experiment(Section):
    """How a step's variants are compared, and over how many delivered leads in all."""

    metric: Literal["reply", "click"] = "reply"
    leads: Annotated[int, Field(ge=100, le=10_000_000)]
    within_days: Annotated[Days, Field(ge=1)] = 7
    mode: Literal["planned_looks", "always_valid"] = "planned_looks"


class Variant(Section):
    """One version of a step's message in an A/B test."""

    id: Identifier
    subject: OneLine | None = None
    body: str | None = None
    weight: Weight = 1


class Step(Section):
    """One message of a sequence. Without a subject it continues the thread of the step before."""

    id: Identifier
    subject: OneLine | None = None
    body: str | None = None
    wait: Wait | None = None
    variants: list[Variant] = Field(default=[])
    test: Experiment | None = None

    @model_validator(mode="after")
    def _variants_to_test(self) -> Self:
        if self.test is not None and len(self.variants) < 2:
            raise ValueError("two 'variants' or more, which is what a 'test' compares")
        return self

    def texts(self) -> list[tuple[str | None, str | None, str | None]]:
        """(variant, subject, body) of each version of the message, the step's own standing in."""
        if not self.variants:
            return [(None, self.subject, self.body)]
        return [(v.id, v.subject or self.subject, v.body or self.body) for v in self.variants]


class Sequence(Section):
    """Messages in order."""

    steps: list[Step] = Field(min_length=1)
