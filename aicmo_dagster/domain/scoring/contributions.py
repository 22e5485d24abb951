"""What makes up a score, as it is stored: one JSON object a lead. Not here: what gives how much."""

import json
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow
import pyarrow.compute as pc

_CHUNK = 100_000
"""Leads written at a time, since one Arrow array holds 2 GiB of text at most."""


def as_json(names: Sequence[str], parts: npt.NDArray[np.float64]) -> pd.arrays.ArrowExtensionArray:
    """One JSON object a lead: name to number, without those that are zero.

    Args:
        names: What the contributions are called.
        parts: Names by leads; finite.
    """
    labels = [f"{json.dumps(name, ensure_ascii=False)}:" for name in names]
    chunks = [
        _objects(labels, parts[:, start : start + _CHUNK])
        for start in range(0, parts.shape[1], _CHUNK)
    ]
    return pd.arrays.ArrowExtensionArray(pyarrow.chunked_array(chunks, pyarrow.string()))


def _objects(labels: Sequence[str], parts: npt.NDArray[np.float64]) -> pyarrow.Array:
    members = [_members(label, part) for label, part in zip(labels, parts, strict=True)]
    joined = pc.utf8_rtrim(pc.binary_join_element_wise(*members, ""), characters=",")
    return pc.binary_join_element_wise("{", joined, "}", "")


def _members(label: str, part: npt.NDArray[np.float64]) -> pyarrow.Array:
    """`label` and the number, or nothing; written once for each number that differs."""
    # Adding zero makes minus zero plain, which is nothing either.
    encoded = pyarrow.array(part + 0.0).dictionary_encode()
    numbers = encoded.dictionary
    written = pc.binary_join_element_wise(label, numbers.cast(pyarrow.string()), ",", "")
    return pc.if_else(pc.equal(numbers, 0.0), "", written).take(encoded.indices)
