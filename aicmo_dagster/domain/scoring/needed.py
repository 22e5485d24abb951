"""The columns of leads that the scorecard looks at, so that the others need not be read.

Not here: what is made of them (`families`), or models, which look at nearly all.
"""

from aicmo_dagster.domain.scoring.dimensions import CUSTOM
from aicmo_dagster.domain.scoring.families.data_quality import DESCRIBING
from aicmo_dagster.domain.scoring.scorecard import counted_rules
from aicmo_dagster.domain.sections.scoring import Scoring

NEEDED: dict[str, tuple[str, ...]] = {
    "title_match": ("title",),
    "seniority_match": ("seniority",),
    "industry_match": ("industry",),
    "size_match": ("employees",),
    "country_match": ("country",),
    "size_gap": ("employees",),
    "revenue_match": ("annual_revenue",),
    "technology_match": ("technologies",),
    "annual_revenue": ("annual_revenue",),
    "revenue_per_employee": ("annual_revenue", "employees"),
    "technologies_used": ("technologies",),
    "company_known": ("company",),
    "own_domain": ("domain",),
    "employees": ("employees",),
    "company_age": ("founded_year",),
    "industry": ("industry",),
    "country": ("country",),
    "city": ("city",),
    "top_level_domain": ("domain",),
    "title": ("title",),
    "title_words": ("title",),
    "department": ("department",),
    "seniority_rank": ("seniority",),
    "decides": ("seniority",),
    "engaged": ("last_engaged_at", "visits"),
    "recent_engagement": ("last_engaged_at",),
    "days_since_engagement": ("last_engaged_at",),
    "visits": ("visits",),
    "recent_visits": ("last_engaged_at", "visits"),
    "channel": ("source_detail",),
    "address_known": ("email",),
    "name_known": ("first_name",),
    "title_known": ("title",),
    "country_known": ("country",),
    "phone_known": ("phone",),
    "profile_known": ("linkedin_url",),
    "role_address": ("email",),
    "address_at_company": ("email", "domain"),
    "completeness": DESCRIBING,
    "source": ("source",),
}
"""Dimension to what it is measured by."""

_RANKED_BY = ("lead_id", "arrived", "first_seen_at")
_AGED_BY = ("last_engaged_at", "visits")


def needed_columns(scoring: Scoring) -> set[str]:
    """What `scorecard.score` looks at in a campaign of this `scoring` section."""
    needed = {*_RANKED_BY}
    for name, rule in counted_rules(scoring).items():
        needed.update(["custom"] if name.startswith(CUSTOM) else NEEDED[name])
        if rule.half_life_days is not None or rule.within_days is not None:
            needed.update(_AGED_BY)
    return needed
