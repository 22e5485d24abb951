"""Models written down: one canonical JSON document, whose content is its address.

The document holds all that scoring needs, in plain numbers and texts: it is read by any language,
compared line by line, and survives every upgrade of a library. Nothing is pickled. Not here: where
documents are kept (`store`).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from aicmo_dagster.domain.scoring.binning import bins_from_data, bins_to_data
from aicmo_dagster.domain.scoring.dimensions import Dimension
from aicmo_dagster.domain.scoring.model import Model, Table
from aicmo_dagster.errors import BadInput, Problem

FORMAT = 1
"""Of the document; another number is another way to write models down."""

VERSION_LENGTH = 16


def to_document(model: Model) -> str:
    """The model as canonical JSON: keys sorted, no blanks, numbers that read back as they were."""
    data = {
        "format": FORMAT,
        "kind": model.kind,
        "tables": [_table_to_data(table) for table in model.tables],
        "base": model.base,
        "base_rate": model.base_rate,
        "shift": model.shift,
        "score_edges": model.score_edges,
        "score_leads": model.score_leads,
        "window": model.window,
        "data_hash": model.data_hash,
        "metrics": model.metrics,
        "provenance": model.provenance,
    }
    return json.dumps(
        data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def from_document(document: str) -> Model:
    """The model that `to_document` wrote.

    Raises:
        BadInput: It is no such document.
    """
    try:
        data = json.loads(document)
        if data["format"] != FORMAT:
            raise _unreadable(f"format {data['format']}")
        return _model_from_data(data)
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable(type(error).__name__) from error


def version(model: Model) -> str:
    """The model's name: the first 16 hexadecimal digits of its document's SHA-256."""
    return hashlib.sha256(to_document(model).encode()).hexdigest()[:VERSION_LENGTH]


def _table_to_data(table: Table) -> dict[str, Any]:
    return {
        "dimension": asdict(table.dimension),
        "bins": bins_to_data(table.bins),
        "contributions": table.contributions,
        "leads": table.leads,
    }


def _table_from_data(data: Mapping[str, Any]) -> Table:
    table = Table(
        Dimension(**data["dimension"]),
        bins_from_data(data["bins"]),
        tuple(float(each) for each in data["contributions"]),
        tuple(int(each) for each in data["leads"]),
    )
    if not len(table.contributions) == len(table.leads) == table.bins.count:
        raise _unreadable(f"a table of {table.dimension.name} that does not fit its bins")
    return table


def _model_from_data(data: Mapping[str, Any]) -> Model:
    return Model(
        kind=data["kind"],
        tables=tuple(_table_from_data(table) for table in data["tables"]),
        base=float(data["base"]),
        base_rate=float(data["base_rate"]),
        shift=float(data["shift"]),
        score_edges=tuple(float(edge) for edge in data["score_edges"]),
        score_leads=tuple(int(each) for each in data["score_leads"]),
        window=data["window"],
        data_hash=data["data_hash"],
        metrics=data["metrics"],
        provenance=data["provenance"],
    )


def _unreadable(found: str) -> BadInput:
    return BadInput(Problem("model", "document", found, f"a model document of format {FORMAT}"))
