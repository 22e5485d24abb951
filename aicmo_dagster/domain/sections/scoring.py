"""The section `scoring`: whom the campaign is for, and how that is counted.

Not here: point rules (`scoring.points`), or scoring itself.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from aicmo_dagster.domain.documents import Section
from aicmo_dagster.domain.field_types import Bounds, CountryCode, Days, Key, ModelName, Phrase
from aicmo_dagster.domain.schemas import SENIORITIES
from aicmo_dagster.domain.scoring.points import ASKED, Points


class Fit(Section):
    """Whom the campaign is for; what is not stated does not count."""

    titles: list[Phrase] = Field(default=[])
    seniorities: list[Literal[SENIORITIES]] = Field(default=[])  # type: ignore[valid-type]
    industries: list[Phrase] = Field(default=[])
    employees: Bounds | None = None
    countries: list[CountryCode] = Field(default=[])


class Budget(Section):
    """What tells that a company can pay."""

    annual_revenue: Bounds | None = None
    technologies: list[Phrase] = Field(default=[])


class Scoring(Section):
    """How leads are scored, and from which score on they may qualify.

    `won_by` says what counts as won when a model is trained: the source's `outcome`, a `handoff`
    that sales acknowledged, a person's `reply`. `learn_from` names campaigns with the same columns,
    whose leads are learned from too.
    """

    model: ModelName = "auto"
    threshold: float = Field(default=0, ge=0, le=100)
    fit: Fit = Fit()
    budget: Budget = Budget()
    points: Points | None = None
    horizon_days: Annotated[Days, Field(ge=1)] = 90
    known_at_capture: list[str] = Field(default=[])
    ignore: list[str] = Field(default=[])
    won_by: list[Literal["outcome", "handoff", "reply"]] = Field(default=["outcome"], min_length=1)
    learn_from: list[Key] = Field(default=[])

    @model_validator(mode="after")
    def _points_for_what_is_stated(self) -> Self:
        for name in self.points.rules if self.points else ():
            section, key = ASKED.get(name, ("", ""))
            if section and not getattr(getattr(self, section), key):
                raise ValueError(f"'{section}.{key}' too, since 'points' has a rule {name!r}")
        return self
