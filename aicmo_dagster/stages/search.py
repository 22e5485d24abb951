"""Leads from Apollo's people search: every page up to the campaign's `max_leads`. Free of charge.

Not here: addresses, which the search does not give (`enrich`).
"""

from functools import partial

import pandas as pd
import pyarrow

from aicmo_dagster.domain.campaigns import ApolloSource
from aicmo_dagster.sources.apollo import LARGEST_PAGE
from aicmo_dagster.sources.csv_files import Harvested
from aicmo_dagster.stages.providers import Providers, key_of

TEXT = pd.ArrowDtype(pyarrow.string())


def search_people(providers: Providers, source: ApolloSource, name: str) -> Harvested:
    """Whom the search finds, as rows for intake; a person on two pages is one row.

    Args:
        providers: With a key for Apollo.
        source: The source of the campaign document.
        name: The source's type and position, such as apollo-2.
    """
    key = key_of(providers.workspace.settings, "apollo")
    client = providers.apollo
    assert client is not None
    found: dict[str, dict[str, str]] = {}
    page = 1
    while len(found) < source.max_leads:
        ask = partial(client.search, source.search, page, LARGEST_PAGE)
        answer = providers.within_limits("apollo/search", key, ask)
        found |= {person["external_id"]: person for person in answer.people}
        if answer.truncated or len(answer.people) < LARGEST_PAGE:
            break
        page += 1
    people = list(found.values())[: source.max_leads]
    rows = pd.DataFrame(people, dtype=TEXT).assign(source=name, file="api_search", custom="{}")
    rows = rows.astype(TEXT).assign(row=range(1, len(rows) + 1))
    return Harvested(rows, _no_rejects(), files=page, read=len(rows))


def _no_rejects() -> pd.DataFrame:
    columns = ["source", "file", "row", "reason", "content"]
    return pd.DataFrame(columns=columns).astype({name: TEXT for name in columns if name != "row"})
