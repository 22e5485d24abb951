"""The Columns tab of each asset, made from its frame's Pandera model."""

import warnings

import dagster as dg
from dagster_pandera import pandera_schema_to_dagster_type

from aicmo_dagster.domain.schemas import SCHEMAS


def column_schema(stage: str) -> dg.TableSchema:
    """Names, types, descriptions and constraints of the columns of `stage`."""
    with warnings.catch_warnings():
        # dagster-pandera calls itself beta on every use; its one function is unchanged since 2024.
        warnings.simplefilter("ignore", dg.BetaWarning)
        metadata = pandera_schema_to_dagster_type(SCHEMAS[stage]).metadata
    schema = metadata["schema"]
    assert isinstance(schema, dg.TableSchemaMetadataValue)
    return schema.schema
