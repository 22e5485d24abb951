"""The frames of the five stages: every column named, typed and described once.

Everything else (tables, conditions, templates, the Columns tab) refers to these models. Columns are
Arrow-backed, since validating object strings costs seven times as much.

Not here: how a frame is made or stored.
"""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Annotated

import pandas as pd
import pandera.pandas as pa
import pyarrow
from pandas.api.extensions import ExtensionArray
from pandera.typing.pandas import Series

Text = Annotated[pd.ArrowDtype, pyarrow.string()]
Whole = Annotated[pd.ArrowDtype, pyarrow.int64()]
Real = Annotated[pd.ArrowDtype, pyarrow.float64()]
Truth = Annotated[pd.ArrowDtype, pyarrow.bool_()]
Instant = Annotated[pd.ArrowDtype, pyarrow.timestamp("us", tz="UTC")]

LEAD_ID = r"^[0-9a-f]{20}$"
ADDRESS = r"^[^@\s]+@[^@\s]+\.[^@\s]+$"
COUNTRY = r"^[A-Z]{2}$"
SENIORITIES = (
    "owner",
    "founder",
    "c_suite",
    "partner",
    "vp",
    "head",
    "director",
    "manager",
    "senior",
    "entry",
    "intern",
)
"""Seniority, highest first: Apollo's vocabulary (`person_seniorities`)."""

ADDRESS_KINDS = ("disposable", "role", "free", "company")
"""What an address may be, the telling ones first: nobody's for long, many people's, anybody's."""

BANDS = ("A", "B", "C", "D")
"""Bands of rank among the leads that arrived together, best first."""

SEND_STATES = (
    "planned",
    "claimed",
    "attempting",
    "accepted",
    "deferred",
    "rejected",
    "unknown",
    "cancelled",
)
"""The states of a send. `accepted`, `rejected` and `cancelled` are final; `unknown` is held."""


class Stage(pa.DataFrameModel):
    """What the frames of all stages share: one row a lead, strict columns."""

    lead_id: Series[Text] = pa.Field(
        str_matches=LEAD_ID, unique=True, description="The lead, the same over runs and machines."
    )

    class Config:
        """Exactly these columns, in any order."""

        strict = True


class RawLeads(Stage):
    """Leads as harvested: normalised, one row a person, whatever their source."""

    external_id: Series[Text] = pa.Field(nullable=True, description="The id its source gave it.")
    email: Series[Text] = pa.Field(
        nullable=True, str_matches=ADDRESS, description="Address, lower case, IDNA domain."
    )
    address_kind: Series[Text] = pa.Field(
        nullable=True, isin=ADDRESS_KINDS, description="Whose address it is, told from it."
    )
    first_name: Series[Text] = pa.Field(nullable=True, description="Given name.")
    last_name: Series[Text] = pa.Field(nullable=True, description="Family name.")
    title: Series[Text] = pa.Field(nullable=True, description="Job title, as written.")
    seniority: Series[Text] = pa.Field(
        nullable=True, isin=SENIORITIES, description="Level, given or told from the title."
    )
    department: Series[Text] = pa.Field(nullable=True, description="Department, as written.")
    phone: Series[Text] = pa.Field(nullable=True, description="Telephone number, as written.")
    linkedin_url: Series[Text] = pa.Field(
        nullable=True, description="LinkedIn profile, normalised."
    )
    company: Series[Text] = pa.Field(nullable=True, description="Company name.")
    domain: Series[Text] = pa.Field(
        nullable=True, description="The company's domain: given, else the address's."
    )
    industry: Series[Text] = pa.Field(nullable=True, description="Industry, as written.")
    employees: Series[Whole] = pa.Field(
        nullable=True,
        ge=0,
        description="Headcount; the middle of a range, the bound of an open one.",
    )
    annual_revenue: Series[Real] = pa.Field(
        nullable=True, ge=0, description="Revenue a year, in the campaign's currency."
    )
    technologies: Series[Text] = pa.Field(
        nullable=True, description="Technologies in use, lower case, separated by ';'."
    )
    founded_year: Series[Whole] = pa.Field(
        nullable=True, in_range={"min_value": 1000, "max_value": 2200}, description="Year founded."
    )
    country: Series[Text] = pa.Field(
        nullable=True, str_matches=COUNTRY, description="ISO 3166-1 alpha-2 code."
    )
    region: Series[Text] = pa.Field(nullable=True, description="State or region, as written.")
    city: Series[Text] = pa.Field(nullable=True, description="City, as written.")
    timezone: Series[Text] = pa.Field(nullable=True, description="IANA time zone, if given.")
    visits: Series[Whole] = pa.Field(nullable=True, ge=0, description="Visits to our site.")
    last_engaged_at: Series[Instant] = pa.Field(
        nullable=True, description="When the lead last did something, as its source says."
    )
    source: Series[Text] = pa.Field(description="Type and position of the source, such as csv-1.")
    sources: Series[Text] = pa.Field(
        description="Every source that ever held the lead, sorted, separated by ';'."
    )
    origins: Series[Text] = pa.Field(
        description="JSON: field to its source, of each field that is from another than `source`."
    )
    source_detail: Series[Text] = pa.Field(
        nullable=True, description="Where the source had it from."
    )
    arrived: Series[Text] = pa.Field(
        nullable=True, description="Order or time of arrival, as given."
    )
    won: Series[Truth] = pa.Field(nullable=True, description="Outcome; missing while unknown.")
    won_at: Series[Instant] = pa.Field(nullable=True, description="When it was won, if known.")
    custom: Series[Text] = pa.Field(description="Columns of the source that are not ours, as JSON.")
    first_seen_at: Series[Instant] = pa.Field(description="First harvest that held this lead.")
    last_seen_at: Series[Instant] = pa.Field(description="Latest harvest that held this lead.")


class ScoredLeads(Stage):
    """Every lead with its score and what makes it up."""

    score: Series[Real] = pa.Field(
        ge=0, le=100, description="0-100: points, or 100 times the probability of being won."
    )
    band: Series[Text] = pa.Field(
        nullable=True,
        isin=BANDS,
        description="Rank among the leads that arrived together: A is the top tenth.",
    )
    scale: Series[Text] = pa.Field(
        isin=("points", "probability"), description="What the score counts."
    )
    model: Series[Text] = pa.Field(description="Version of the scorecard or model.")
    base: Series[Real] = pa.Field(
        nullable=True, description="Logit that every lead starts from; missing for points."
    )
    contributions: Series[Text] = pa.Field(
        description="JSON: dimension to points, which sum to the score, or logits beside the base."
    )


class QualifiedLeads(Stage):
    """Leads that go on, and why. The others' reasons stand in `decisions`."""

    score: Series[Real] = pa.Field(ge=0, le=100, description="The score it was judged by.")
    decided_by: Series[Text] = pa.Field(
        isin=("threshold", "rules", "tree", "override"), description="What had the last word."
    )
    reason: Series[Text] = pa.Field(description="The decision in words.")


class RoutedLeads(Stage):
    """Leads in a sequence. A routed lead keeps its sequence, its version and its seed."""

    sequence: Series[Text] = pa.Field(description="The sequence it runs through.")
    campaign_version: Series[Whole] = pa.Field(
        ge=1, description="Version of the campaign document whose sequence it follows."
    )
    seed: Series[Whole] = pa.Field(
        in_range={"min_value": 0, "max_value": 9999},
        description="Draws its place in a window, 0-9999.",
    )
    position: Series[Whole] = pa.Field(ge=1, description="Order of routing within the campaign.")
    score: Series[Real] = pa.Field(ge=0, le=100, description="The score when it was routed.")
    among: Series[Text] = pa.Field(
        nullable=True,
        description="The sequences it took its turn among, with their weights; missing otherwise.",
    )
    reason: Series[Text] = pa.Field(description="The decision in words.")
    routed_at: Series[Instant] = pa.Field(description="When it was routed.")


class NurtureSends(pa.DataFrameModel):
    """The ledger of sends: one row a campaign, lead and step, appended to and advanced."""

    lead_id: Series[Text] = pa.Field(str_matches=LEAD_ID, description="The lead.")
    sequence: Series[Text] = pa.Field(description="The sequence the step belongs to.")
    step: Series[Text] = pa.Field(description="The step's id within its sequence.")
    variant: Series[Text] = pa.Field(nullable=True, description="The variant drawn, if any.")
    campaign_version: Series[Whole] = pa.Field(
        ge=1, description="Version of the campaign document that the message is rendered from."
    )
    message_id: Series[Text] = pa.Field(
        unique=True, description="Message-ID, derived from campaign, lead and step."
    )
    recipient_domain: Series[Text] = pa.Field(description="Domain of the recipient, for the caps.")
    state: Series[Text] = pa.Field(isin=SEND_STATES, description="Where the send stands.")
    due_at: Series[Instant] = pa.Field(description="Not before this instant.")
    sent_at: Series[Instant] = pa.Field(nullable=True, description="When it was handed over.")
    reason: Series[Text] = pa.Field(nullable=True, description="Why it stands where it stands.")

    class Config:
        """Exactly these columns; one send a lead and step."""

        strict = True
        unique: list[str] = ["lead_id", "step"]  # noqa: RUF012 - Pandera reads it as a setting


SCHEMAS: dict[str, type[pa.DataFrameModel]] = {
    "raw_leads": RawLeads,
    "scored_leads": ScoredLeads,
    "qualified_leads": QualifiedLeads,
    "routed_leads": RoutedLeads,
    "nurture_sends": NurtureSends,
}
"""The stages in order, each with its frame."""

STAGES = tuple(SCHEMAS)


@cache
def dtypes(stage: str) -> Mapping[str, pd.ArrowDtype]:
    """Column name to Arrow-backed dtype, in the order of the stage's model."""
    columns = SCHEMAS[stage].to_schema().columns
    return MappingProxyType({name: column.dtype.type for name, column in columns.items()})


def typed(stage: str, columns: dict[str, object]) -> pd.DataFrame:
    """A frame of `stage` from arrays, series or scalars; a column left out is all missing."""
    index = next((c.index for c in columns.values() if isinstance(c, pd.Series)), None)
    given = pd.DataFrame(columns, index=index)
    # Not by `assign` and `astype` of the whole frame, each of which takes milliseconds.
    made = {name: _typed(given, name, dtype) for name, dtype in dtypes(stage).items()}
    return pd.DataFrame(made, index=given.index, copy=False)


def _typed(given: pd.DataFrame, name: str, dtype: pd.ArrowDtype) -> ExtensionArray:
    """A column of `given` as `dtype`; all missing if there is none of that name."""
    if name not in given:
        nothing = pyarrow.nulls(len(given), dtype.pyarrow_dtype)
        return pd.arrays.ArrowExtensionArray(nothing)
    column = given[name]
    return column.array if column.dtype == dtype else column.astype(dtype).array


_KINDS = {"string": "text", "int64": "number", "double": "number", "bool": "truth"}


def field_kinds() -> dict[str, str]:
    """What conditions and templates may name: field to `text`, `number`, `truth` or `instant`."""
    raw = {
        name: _KINDS.get(str(dtype.pyarrow_dtype), "instant")
        for name, dtype in dtypes("raw_leads").items()
        if name not in ("custom", "origins")
    }
    return {**raw, "score": "number", "band": "text"}
