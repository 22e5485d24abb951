"""Which dimensions every lead has, whatever its campaign. Not here: how they are measured."""

from typing import Literal

from aicmo_dagster.domain.scoring.dimensions import Dimension

YES_OR_NO = "yes or no"
SHARE = "share"
CATEGORY = "category"

_Row = tuple[str, str, str, Literal[-1, 0, 1]]

_ROWS: dict[str, tuple[_Row, ...]] = {
    "fit": (
        ("title_match", "The job title holds one of the campaign's titles.", YES_OR_NO, 1),
        ("seniority_match", "The seniority is one of the campaign's.", YES_OR_NO, 1),
        ("industry_match", "The industry holds one of the campaign's.", YES_OR_NO, 1),
        ("size_match", "The headcount is within the campaign's bounds.", YES_OR_NO, 1),
        ("country_match", "The country is one of the campaign's.", YES_OR_NO, 1),
        ("size_gap", "How far the headcount is outside the campaign's bounds.", "doublings", -1),
    ),
    "budget": (
        ("revenue_match", "The annual revenue is within the campaign's bounds.", YES_OR_NO, 1),
        ("technology_match", "The campaign's technologies that the company uses.", SHARE, 1),
        ("annual_revenue", "The company's revenue a year.", "currency", 0),
        ("revenue_per_employee", "Revenue a year for each employee.", "currency", 0),
        ("technologies_used", "Technologies that the company is known to use.", "technologies", 0),
    ),
    "company": (
        ("company_known", "The company's name is known.", YES_OR_NO, 0),
        ("own_domain", "The company's domain is not a free mail provider's.", YES_OR_NO, 0),
        ("employees", "The company's headcount.", "people", 0),
        ("company_age", "Years since the company was founded.", "years", 0),
        ("industry", "The industry, as written.", CATEGORY, 0),
        ("country", "The country.", CATEGORY, 0),
        ("city", "The city, as written.", CATEGORY, 0),
        ("top_level_domain", "The last part of the company's domain.", CATEGORY, 0),
    ),
    "role": (
        ("title", "The job title, as written.", CATEGORY, 0),
        ("title_words", "Words of the job title.", "words", 0),
        ("department", "The department, as written.", CATEGORY, 0),
        ("seniority_rank", "Steps above an intern, up to an owner.", "steps", 0),
        (
            "decides",
            "Owner, founder, partner, c-suite, vice president, head or director.",
            YES_OR_NO,
            0,
        ),
    ),
    "engagement": (
        ("engaged", "Has been seen to do something.", YES_OR_NO, 1),
        ("recent_engagement", "Did something lately; halved every 30 days since.", SHARE, 1),
        ("days_since_engagement", "Days since the lead last did something.", "days", -1),
        ("visits", "Visits to our site.", "visits", 1),
        ("recent_visits", "Visits, halved every 30 days since the last thing done.", "visits", 1),
        ("channel", "Where its source had the lead from.", CATEGORY, 0),
    ),
    "data_quality": (
        ("address_known", "There is an address.", YES_OR_NO, 0),
        ("name_known", "The given name is known.", YES_OR_NO, 0),
        ("title_known", "The job title is known.", YES_OR_NO, 0),
        ("country_known", "The country is known.", YES_OR_NO, 0),
        ("phone_known", "There is a telephone number.", YES_OR_NO, 0),
        ("profile_known", "There is a LinkedIn profile.", YES_OR_NO, 0),
        (
            "role_address",
            "The address is a function's, such as info@, not a person's.",
            YES_OR_NO,
            0,
        ),
        ("address_at_company", "The address is at the company's own domain.", YES_OR_NO, 0),
        ("completeness", "Fields of the lead that are known.", SHARE, 0),
        ("source", "Which of the campaign's sources named it.", CATEGORY, 0),
    ),
}

DIMENSIONS = tuple(
    Dimension(name, family, description, unit, direction)
    for family, rows in _ROWS.items()
    for name, description, unit, direction in rows
)
"""All of them, family by family; a campaign's own columns come on top, in the family `custom`."""

BY_NAME = {dimension.name: dimension for dimension in DIMENSIONS}
