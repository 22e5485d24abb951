"""Frames of only those columns that a test is about: whole leads take long to make."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import pyarrow

from aicmo_dagster.domain.schemas import dtypes

TYPES = {
    **dtypes("raw_leads"),
    "score": pd.ArrowDtype(pyarrow.float64()),
    "band": pd.ArrowDtype(pyarrow.string()),
}


def lead_columns(columns: dict[str, Sequence[Any]]) -> pd.DataFrame:
    """Columns of leads, or their score and band, with the types that they have everywhere."""
    return pd.DataFrame(
        {name: pd.array(list(values), TYPES[name]) for name, values in columns.items()}
    )
