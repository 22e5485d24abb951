"""How much is known of a lead, and whether it can be reached."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.compute as pc

from aicmo_dagster.domain.scoring.columns import Now, Numbers, Values, as_numbers, known, text
from aicmo_dagster.domain.sections.scoring import Scoring

ROLES = (
    *("accounts", "admin", "billing", "careers", "contact", "enquiries", "finance", "hello"),
    *("help", "hr", "info", "inquiries", "jobs", "kontakt", "mail", "marketing", "noreply"),
    *("no-reply", "office", "post", "postmaster", "press", "reception", "sales", "service"),
    *("support", "team", "webmaster"),
)
"""Names before the @ that belong to a function: RFC 2142's and those of daily use."""

DESCRIBING = (
    *("email", "first_name", "last_name", "title", "seniority", "department", "phone"),
    *("linkedin_url", "company", "domain", "industry", "employees", "annual_revenue"),
    *("technologies", "founded_year", "country", "region", "city"),
)
"""The fields that completeness counts."""


def _role_address(leads: pd.DataFrame, _: Scoring, __: Now) -> Numbers:
    names = pc.extract_regex(text(leads, "email"), r"^(?P<local>[^@+]+)").field("local")
    told = pc.is_in(names, value_set=pyarrow.array(ROLES))
    return np.where(known(leads, "email") > 0, as_numbers(told), np.nan)


def _address_at_company(leads: pd.DataFrame, _: Scoring, __: Now) -> Numbers:
    theirs = pc.extract_regex(text(leads, "email"), r"@(?P<domain>.+)$").field("domain")
    return as_numbers(pc.equal(theirs, text(leads, "domain")))


def _completeness(leads: pd.DataFrame, _: Scoring, __: Now) -> Numbers:
    return np.mean([known(leads, column) for column in DESCRIBING], axis=0)


MEASURES: dict[str, Callable[[pd.DataFrame, Scoring, Now], Values]] = {
    "address_known": lambda leads, _, __: known(leads, "email"),
    "name_known": lambda leads, _, __: known(leads, "first_name"),
    "title_known": lambda leads, _, __: known(leads, "title"),
    "country_known": lambda leads, _, __: known(leads, "country"),
    "phone_known": lambda leads, _, __: known(leads, "phone"),
    "profile_known": lambda leads, _, __: known(leads, "linkedin_url"),
    "role_address": _role_address,
    "address_at_company": _address_at_company,
    "completeness": _completeness,
    "source": lambda leads, _, __: text(leads, "source"),
}
