"""A campaign's own columns as dimensions: `custom.<Column>`, out of the JSON that leads carry.

Not here: the dimensions that every lead has (`features`), or which columns tell too much (`leaks`).
"""

import json
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.compute as pc
from pyarrow import json as arrow_json

from aicmo_dagster.domain.scoring.catalogue import CATEGORY
from aicmo_dagster.domain.scoring.columns import Numbers, over_distinct, text
from aicmo_dagster.domain.scoring.dimensions import CUSTOM, Dimension

FEWEST = 20
"""Leads that must hold a column: of fewer, nothing can be learned."""

NUMERIC = 0.95
"""The share of a column's values that must be numbers for the others to be slips of the pen."""

_SERIAL = 50
"""Leads from which on whole numbers of one length that never repeat are serial numbers."""


def custom_columns(leads: pd.DataFrame, like: Mapping[str, str] | None = None) -> pd.DataFrame:
    """One column `custom.<Column>` each, in the order and with the index of `leads`.

    Args:
        leads: Leads with their column `custom`.
        like: The columns wanted, `custom.<Column>` to "number" or "category", as a model knows
            them; a column that no lead holds is missing throughout. Unless given, the columns that
            something can be learned from: those in which at least 20 leads have a value, not all
            the same, and which do not tell one lead from the next, as names and serial numbers do.

    Returns:
        float64 with NaN where (nearly) all values are numbers, else Arrow text with nulls.
    """
    names = None if like is None else [name.removeprefix(CUSTOM) for name in like]
    held = _parsed(text(leads, "custom"), names)
    if like is not None:
        kinds = {name.removeprefix(CUSTOM): kind for name, kind in like.items()}
        columns = {n: _number(held[n]) if kinds[n] == "number" else held[n] for n in held}
    else:
        typed = {n: _told(values) for n, values in held.items() if _filled(values) >= FEWEST}
        columns = {n: values for n, values in typed.items() if _tells(values)}
    shown = {
        f"{CUSTOM}{name}": values
        if isinstance(values, np.ndarray)
        else pd.arrays.ArrowExtensionArray(values)
        for name, values in columns.items()
    }
    return pd.DataFrame(shown, index=leads.index)


def custom_dimensions(columns: pd.DataFrame) -> tuple[Dimension, ...]:
    """What each of `custom_columns` is."""
    return tuple(
        Dimension(
            name,
            "custom",
            f"The campaign's own column '{name.removeprefix(CUSTOM)}'.",
            "number" if columns[name].dtype == np.float64 else CATEGORY,
        )
        for name in map(str, columns)
    )


def _parsed(objects: pyarrow.Array, names: list[str] | None) -> dict[str, pyarrow.Array]:
    """Each column of the JSON `objects` as text; `names` or, in order of their names, all."""
    if not len(objects):
        return {name: pyarrow.nulls(0, pyarrow.string()) for name in names or ()}
    try:
        return _read(objects, names)
    except pyarrow.ArrowInvalid:  # not all values are text, or a key is there twice
        return _loaded(objects, names)


def _read(objects: pyarrow.Array, names: list[str] | None) -> dict[str, pyarrow.Array]:
    lines = "\n".join(objects.to_pylist()).encode()
    options = arrow_json.ReadOptions(use_threads=False, block_size=len(lines) + 1)
    if names is None:
        names = sorted(arrow_json.read_json(pyarrow.BufferReader(lines), options).column_names)
    # Told in advance that all is text: Arrow would take some of it for instants.
    schema = pyarrow.schema([(name, pyarrow.string()) for name in names])
    parsing = arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    if not names:
        return {}
    table = arrow_json.read_json(pyarrow.BufferReader(lines), options, parsing)
    return {name: _present(table.column(name).combine_chunks()) for name in names}


def _loaded(objects: pyarrow.Array, names: list[str] | None) -> dict[str, pyarrow.Array]:
    encoded = objects.dictionary_encode()
    rows = [json.loads(held) for held in encoded.dictionary.to_pylist()]
    wanted = sorted({name for row in rows for name in row}) if names is None else names
    texts = {name: [_as_text(row.get(name)) for row in rows] for name in wanted}
    return {
        name: _present(pyarrow.array(values, pyarrow.string()).take(encoded.indices))
        for name, values in texts.items()
    }


def _as_text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _present(values: pyarrow.Array) -> pyarrow.Array:
    """`values`, of which empty text is none."""
    return pc.if_else(pc.equal(values, ""), pyarrow.scalar(None, pyarrow.string()), values)


def _filled(values: pyarrow.Array) -> int:
    return len(values) - int(values.null_count)


def _told(values: pyarrow.Array) -> Numbers | pyarrow.Array:
    """Numbers, where nearly all values are."""
    numbers = _number(values)
    is_numeric = np.isfinite(numbers).sum() >= NUMERIC * _filled(values)
    return numbers if is_numeric else values


def _number(values: pyarrow.Array) -> Numbers:
    read = over_distinct(values, lambda texts: pyarrow.array(_floats(texts), from_pandas=True))
    return np.asarray(read.to_numpy(zero_copy_only=False), np.float64)


def _floats(texts: pyarrow.Array) -> Numbers:
    numbers = pd.to_numeric(texts.to_pandas(), errors="coerce").to_numpy(np.float64)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _tells(values: Numbers | pyarrow.Array) -> bool:
    """Whether leads can be compared by the column: it varies, and groups them."""
    if isinstance(values, np.ndarray):
        present = values[~np.isnan(values)]
        return len(np.unique(present)) > 1 and not _are_serial(present)
    present = values.drop_null()
    return 1 < len(present.unique()) <= len(present) / 2


def _are_serial(numbers: Numbers) -> bool:
    if len(numbers) < _SERIAL or len(np.unique(numbers)) < len(numbers):
        return False
    lengths = np.floor(np.log10(np.maximum(np.abs(numbers), 1)))
    return bool((numbers == np.floor(numbers)).all() and lengths.min() == lengths.max() >= 2)
